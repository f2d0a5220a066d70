// Selected attention, forward, in key-major order: a tile's queries sorted by the blocks they chose meet each block's
// keys and values once, all together, while these are in the core's caches. One online softmax a row.
//
// Legend: rows are the R heads of a query, side by side; Dk and Dv head dims; scores are to base 2.
#include <cmath>

#include "../native/include/pages.h"
#include "../native/include/rows.h"
#include "cpu_pack.h"
#include "cpu_tiles.h"

namespace weft {
namespace {

constexpr float LOWEST = -1e30f;  // below every score: a row's peak before its first key

struct Forward {
    const Tensor &out, &residual, &q;
    float* lse;
    const Lists& lists;
    const Panels& k;
    const Rows& v;
    int64_t R, Dk, Dv, k_stride, v_stride;
};

// One thread's memory for one tile.
struct Tile {
    Buckets buckets;
    float *queries, *sums, *peaks, *totals;  // (rows, Dk), (rows, Dv), (rows), (rows)
    float* weights;                          // (BLOCK_ROWS, CHUNK)
    Ahead keys_ahead, values_ahead;          // the next block's
    int64_t ahead = 0;                       // bytes of each to fetch with each few rows

    Tile(Carver memory, const Forward& call, int64_t tile)
        : buckets(memory, tile, call.lists.slots, call.lists.blocks),
          queries(memory.take<float>(tile * call.R * call.k_stride)),
          sums(memory.take<float>(tile * call.R * call.v_stride)),
          peaks(memory.take<float>(tile * call.R)),
          totals(memory.take<float>(tile * call.R)),
          weights(memory.take<float>(BLOCK_ROWS * CHUNK)) {
        bytes = memory.bytes();
    }
    int64_t bytes;
};

// Up to BLOCK_ROWS rows against `most` keys of a chunk, of which row i sees the first visible[i].
void attend(const Forward& call, Tile& tile, const int64_t* row, const int64_t* visible, int rows, int64_t most,
            Panel keys, const float* values) {
    const float* query[BLOCK_ROWS];
    float *score[BLOCK_ROWS], *sum[BLOCK_ROWS];
    const float* weight[BLOCK_ROWS];
    float peak[BLOCK_ROWS], factor[BLOCK_ROWS];
    for (int i = 0; i < rows; ++i) {
        query[i] = tile.queries + row[i] * call.k_stride;
        sum[i] = tile.sums + row[i] * call.v_stride;
        weight[i] = score[i] = tile.weights + i * CHUNK;
    }
    const int vecs = (int)((most + LANES - 1) / LANES);
    rows_product(score, nullptr, query, keys.data, keys.width, rows, vecs, call.Dk);
    for (int i = 0; i < rows; ++i) {
        hide(score[i], visible[i], vecs);
        vec top = load(score[i]);
        for (int j = 1; j < vecs; ++j) top = max(load(score[i] + j * LANES), top);
        const float before = tile.peaks[row[i]], highest = reduce_max(top);
        peak[i] = highest > before ? highest : before;
        factor[i] = before - peak[i];
        tile.peaks[row[i]] = peak[i];
    }
    powers_of_two(factor, rows);
    for (int i = 0; i < rows; ++i) {
        vec total = {};
        for (int j = 0; j < vecs; ++j) {
            const vec p = exp2_approx(load(score[i] + j * LANES) - peak[i]);
            store(score[i] + j * LANES, p);
            total += p;
        }
        float& known = tile.totals[row[i]];
        known = known * factor[i] + reduce_add(total);
    }
    rows_product(sum, factor, weight, values, call.v_stride, rows, (int)(call.v_stride / LANES), most);
}

// A block's keys against the rows of the queries that chose it.
void meet(const Forward& call, Tile& tile, int64_t b, int64_t g, int64_t t0, int64_t block, const int32_t* queries,
          int64_t count) {
    const int64_t first = call.lists.firsts[block], last = call.lists.last(b, block);
    const int64_t* ends = call.lists.ends + b * call.lists.queries + t0;
    for (int64_t chunk = first; chunk < last; chunk += CHUNK) {
        const int64_t keys = last - chunk < CHUNK ? last - chunk : CHUNK;
        const Panel panel = call.k.chunk(b, g, block, chunk - first);
        const float* values = call.v.at(b, g, chunk);
        int64_t begin = 0;  // queries come in order: those before the chunk come first
        while (begin < count && ends[queries[begin]] <= chunk) ++begin;
        RowWalk walk(queries + begin, ends, call.R, chunk, keys);
        for (int64_t left = (count - begin) * call.R; left > 0;) {
            int64_t row[BLOCK_ROWS], visible[BLOCK_ROWS];
            const int rows = share(left);
            const int64_t most = walk.take(row, visible, rows);
            tile.keys_ahead.fetch(tile.ahead);
            tile.values_ahead.fetch(tile.ahead);
            attend(call, tile, row, visible, rows, most, panel, values);
            left -= rows;
        }
    }
}

void finish(const Forward& call, const Tile& tile, int64_t b, int64_t g, int64_t t0, int64_t t1) {
    for (int64_t t = t0, row = 0; t < t1; ++t)
        for (int64_t r = 0; r < call.R; ++r, ++row) {
            const int64_t head = g * call.R + r;
            float *sum = tile.sums + row * call.v_stride, total = tile.totals[row];
            const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
            for (int64_t d = 0; d < call.Dv; ++d) sum[d] *= inverse;
            call.out.write(sum, b, t, head, call.Dv);
            if (call.residual.data) {  // what rounding took away
                for (int64_t d = 0; d < call.Dv; ++d) sum[d] -= bf16_to_float(float_to_bf16(sum[d]));
                call.residual.write(sum, b, t, head, call.Dv);
            }
            call.lse[(b * call.lists.queries + t) * call.q.size[2] + head] =
                total == 0.0f ? -INFINITY : tile.peaks[row] + std::log2(total);
        }
}

// Lets the next block's keys and values come while `rows` rows meet the present one.
void look_ahead(const Forward& call, Tile& tile, int64_t b, int64_t g, int64_t next, int64_t rows) {
    const int64_t first = call.lists.firsts[next], keys = call.lists.last(b, next) - first;
    tile.keys_ahead.point(call.k.block(b, g, next), 4 * keys * call.Dk);
    tile.values_ahead.point(call.v.at(b, g, first), 4 * keys * call.v_stride);
    tile.ahead = 4 * keys * (call.Dk > call.v_stride ? call.Dk : call.v_stride) / (rows / BLOCK_ROWS + 1) + 64;
}

void run_tile(const Forward& call, Tile& tile, int64_t b, int64_t g, int64_t t0, int64_t t1) {
    const int64_t rows = (t1 - t0) * call.R;
    read_rows(tile.queries, call.k_stride, call.q, b, g, call.R, t0, t1);
    for (int64_t i = 0; i < rows * call.v_stride; ++i) tile.sums[i] = 0.0f;
    for (int64_t i = 0; i < rows; ++i) tile.peaks[i] = LOWEST;
    for (int64_t i = 0; i < rows; ++i) tile.totals[i] = 0.0f;
    tile.buckets.sort(call.lists, b, g, t0, t1);
    tile.buckets.for_each([&](int64_t block, const int32_t* queries, int64_t count) {
        look_ahead(call, tile, b, g, tile.buckets.next(block), count * call.R);
        meet(call, tile, b, g, t0, block, queries, count);
    });
    finish(call, tile, b, g, t0, t1);
}

}  // namespace
}  // namespace weft

using namespace weft;

// k_panels (B, G, Dk * panels[J]) and v_rows (B, G, Tk, Dv to whole vectors) are memory to work in. lse is to base 2,
// (B, Tq, H). residual is what out lost by rounding, or has no data.
extern "C" int weft_selected_forward(const Tensor* out, const Tensor* residual, float* lse, const Tensor* q,
                                     const Tensor* k, const Tensor* v, const Lists* lists, float* k_panels,
                                     float* v_rows, float scale, int64_t threads) {
    return guarded([&] {
        const int64_t G = lists->groups, R = q->size[2] / G, Dk = q->size[3], Dv = v->size[3];
        const int64_t pairs = lists->batch * G;
        prefer_large_pages(k_panels, 4 * pairs * Dk * lists->panels[lists->blocks]);
        prefer_large_pages(v_rows, 4 * pairs * v->size[1] * whole_vectors(Dv));
        prefer_large_pages(out->data, out->bytes());
        const Panels panels(k_panels, *lists, Dk);
        const Rows rows{v_rows, G, v->size[1], whole_vectors(Dv)};
        pack({k, v, &panels, nullptr, nullptr, &rows, scale * LOG2_E}, *lists, (int)threads);

        const Forward call{*out, *residual, *q, lse, *lists, panels, rows, R, Dk, Dv, whole_vectors(Dk), rows.stride};
        const Cut cut(lists->queries, tile_of(FORWARD_BYTES, R, Dk + Dv));
        const int64_t bytes = Tile(Carver(nullptr), call, cut.length).bytes;
        Scratch<char> scratch((int)threads, bytes);
        parallel_tasks(pairs * cut.parts, (int)threads, [&](int64_t task, int thread) {
            const int64_t pair = task / cut.parts, part = task % cut.parts;
            Tile tile(Carver(scratch[thread]), call, cut.length);
            run_tile(call, tile, pair / G, pair % G, cut.begin(part), cut.end(part));
        });
    });
}
