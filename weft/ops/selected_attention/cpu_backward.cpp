// Selected attention, backward, in key-major order as forward: for a tile's queries sorted by block, each block's keys,
// values and gradients are met once. The scores are computed again from lse.
//
// A strip is a fixed run of queries with its own sums for dk and dv: one thread at a time goes through its tiles, and the
// strips' sums are added in their order. Legend as in cpu_forward.cpp; P weights, S slopes of the loss by the scores.
#include <cmath>

#include "../native/include/pages.h"
#include "../native/include/rows.h"
#include "cpu_pack.h"
#include "cpu_strips.h"
#include "cpu_tiles.h"

namespace weft {
namespace {

constexpr int64_t BATCH = 48;  // rows whose P and S are held at once, a multiple of BLOCK_ROWS

constexpr float ONES[BLOCK_ROWS] = {1, 1, 1, 1, 1, 1};

struct Backward {
    const Tensor &grad_q, &grad_out, &q, &out, &residual;
    const float* lse;
    const Lists& lists;
    const Panels &k, &v;
    const Rows& k_rows;
    const Strips& strips;
    float scale;
    int64_t R, Dk, Dv, k_stride, v_stride;
};

// One thread's memory for one tile: q, dq (rows, Dk) and do (rows, Dv), each row filled up with zeros.
struct Tile {
    Buckets buckets;
    float *queries, *grads, *incoming;
    float *lse, *means;       // (rows); means are sum(do * out), the mean slope of a row
    float *weights, *slopes;  // (BATCH, CHUNK)
    float* row;               // (Dv)
    const float **batch_queries, **batch_incoming;  // (BATCH)
    int64_t bytes;

    Tile(Carver memory, const Backward& call, int64_t tile)
        : buckets(memory, tile, call.lists.slots, call.lists.blocks),
          queries(memory.take<float>(tile * call.R * call.k_stride)),
          grads(memory.take<float>(tile * call.R * call.k_stride)),
          incoming(memory.take<float>(tile * call.R * call.v_stride)),
          lse(memory.take<float>(tile * call.R)),
          means(memory.take<float>(tile * call.R)),
          weights(memory.take<float>(BATCH * CHUNK)),
          slopes(memory.take<float>(BATCH * CHUNK)),
          row(memory.take<float>(call.v_stride)),
          batch_queries(memory.take<const float*>(BATCH)),
          batch_incoming(memory.take<const float*>(BATCH)),
          bytes(memory.bytes()) {}
};

// What a batch of rows meets: some keys of a block.
struct Keys {
    Panel k, v;           // columns
    const float* k_rows;  // (keys, Dk)
    float *dk, *dv;       // the strip's sums
};

// P and S of up to BLOCK_ROWS rows that see the first visible[i] of `most` keys.
void slopes_of(const Backward& call, Tile& tile, const Keys& keys, int64_t at, const int64_t* row,
               const int64_t* visible, int rows, int64_t most) {
    float *weight[BLOCK_ROWS], *slope[BLOCK_ROWS];
    for (int i = 0; i < rows; ++i) {
        weight[i] = tile.weights + (at + i) * CHUNK;
        slope[i] = tile.slopes + (at + i) * CHUNK;
    }
    const int vecs = (int)((most + LANES - 1) / LANES);
    rows_product(weight, nullptr, tile.batch_queries + at, keys.k.data, keys.k.width, rows, vecs, call.Dk);
    rows_product(slope, nullptr, tile.batch_incoming + at, keys.v.data, keys.v.width, rows, vecs, call.Dv);
    for (int i = 0; i < rows; ++i) {
        hide(weight[i], visible[i], vecs);
        const float lse = tile.lse[row[i]], mean = tile.means[row[i]];
        for (int j = 0; j < vecs; ++j) {
            const vec p = exp2_approx(load(weight[i] + j * LANES) - lse);
            store(weight[i] + j * LANES, p);
            store(slope[i] + j * LANES, p * call.scale * (load(slope[i] + j * LANES) - mean));
        }
        for (int64_t j = visible[i]; j < (int64_t)vecs * LANES; ++j) slope[i][j] = 0.0f;
    }
}

// A batch of rows against some keys: adds to the strip's dk and dv and to the rows' dq.
void attend(const Backward& call, Tile& tile, const Keys& keys, const int64_t* row, const int64_t* visible, int64_t rows,
            int64_t most) {
    for (int64_t i = 0; i < rows; ++i) {
        tile.batch_queries[i] = tile.queries + row[i] * call.k_stride;
        tile.batch_incoming[i] = tile.incoming + row[i] * call.v_stride;
    }
    for (int64_t at = 0; at < rows;) {
        const int some = share(rows - at);
        slopes_of(call, tile, keys, at, row + at, visible + at, some, most);
        at += some;
    }
    const int k_vecs = (int)(call.k_stride / LANES), v_vecs = (int)(call.v_stride / LANES);
    columns_product(keys.dv, call.strips.stride, tile.weights, CHUNK, tile.batch_incoming, (int)most, v_vecs, rows);
    columns_product(keys.dk, call.strips.stride, tile.slopes, CHUNK, tile.batch_queries, (int)most, k_vecs, rows);
    for (int64_t at = 0; at < rows;) {
        const int some = share(rows - at);
        const float* slope[BLOCK_ROWS];
        float* grad[BLOCK_ROWS];
        for (int i = 0; i < some; ++i) {
            slope[i] = tile.slopes + (at + i) * CHUNK;
            grad[i] = tile.grads + row[at + i] * call.k_stride;
        }
        rows_product(grad, ONES, slope, keys.k_rows, call.k_stride, some, k_vecs, most);
        at += some;
    }
}

// A block's keys against the rows of the queries that chose it.
void meet(const Backward& call, Tile& tile, int64_t b, int64_t g, int64_t strip, int64_t t0, int64_t block,
          const int32_t* queries, int64_t count) {
    const int64_t first = call.lists.firsts[block], last = call.lists.last(b, block);
    const int64_t* ends = call.lists.ends + b * call.lists.queries + t0;
    float* sums = call.strips.open(b, g, strip, block);
    for (int64_t chunk = first; chunk < last; chunk += CHUNK, sums += CHUNK * call.strips.stride) {
        const int64_t width = last - chunk < CHUNK ? last - chunk : CHUNK;
        const Keys keys{call.k.chunk(b, g, block, chunk - first), call.v.chunk(b, g, block, chunk - first),
                        call.k_rows.at(b, g, chunk), sums, sums + call.k_stride};
        int64_t begin = 0;
        while (begin < count && ends[queries[begin]] <= chunk) ++begin;
        RowWalk walk(queries + begin, ends, call.R, chunk, width);
        for (int64_t left = (count - begin) * call.R; left > 0; left -= BATCH) {
            int64_t row[BATCH], visible[BATCH];
            const int64_t rows = left < BATCH ? left : BATCH;
            const int64_t most = walk.take(row, visible, rows);
            attend(call, tile, keys, row, visible, rows, most);
        }
    }
}

// lse and sum(do * out) of the tile's rows.
void read_statistics(const Backward& call, Tile& tile, int64_t b, int64_t g, int64_t t0, int64_t t1) {
    for (int64_t t = t0, row = 0; t < t1; ++t)
        for (int64_t r = 0; r < call.R; ++r, ++row) {
            const int64_t head = g * call.R + r;
            const float* incoming = tile.incoming + row * call.v_stride;
            tile.lse[row] = call.lse[(b * call.lists.queries + t) * call.q.size[2] + head];
            tile.means[row] = 0.0f;
            for (const Tensor* part : {&call.out, &call.residual}) {
                if (!part->data) continue;
                part->read(tile.row, b, t, head, call.Dv);
                vec sum = {};
                for (int64_t d = call.Dv; d < call.v_stride; ++d) tile.row[d] = 0.0f;
                for (int64_t d = 0; d < call.v_stride; d += LANES) sum += load(tile.row + d) * load(incoming + d);
                tile.means[row] += reduce_add(sum);
            }
        }
}

void run_strip(const Backward& call, Tile& tile, int64_t b, int64_t g, int64_t strip, const Cut& tiles, int64_t start) {
    for (int64_t part = 0; part < tiles.parts; ++part) {
        const int64_t t0 = start + tiles.begin(part), t1 = start + tiles.end(part);
        read_rows(tile.queries, call.k_stride, call.q, b, g, call.R, t0, t1);
        read_rows(tile.incoming, call.v_stride, call.grad_out, b, g, call.R, t0, t1);
        read_statistics(call, tile, b, g, t0, t1);
        for (int64_t i = 0; i < (t1 - t0) * call.R * call.k_stride; ++i) tile.grads[i] = 0.0f;
        tile.buckets.sort(call.lists, b, g, t0, t1);
        tile.buckets.for_each([&](int64_t block, const int32_t* queries, int64_t count) {
            meet(call, tile, b, g, strip, t0, block, queries, count);
        });
        for (int64_t t = t0, row = 0; t < t1; ++t)
            for (int64_t r = 0; r < call.R; ++r, ++row)
                call.grad_q.write(tile.grads + row * call.k_stride, b, t, g * call.R + r, call.Dk);
    }
}

}  // namespace
}  // namespace weft

using namespace weft;

// Memory to work in: k_panels (B, G, Dk * panels[J]), v_panels (B, G, Dv * panels[J]), k_rows (B, G, Tk, Dk to whole
// vectors), sums (B, G, strips, Tk, Dk and Dv to whole vectors).
extern "C" int weft_selected_backward(const Tensor* grad_q, const Tensor* grad_k, const Tensor* grad_v,
                                      const Tensor* grad_out, const Tensor* q, const Tensor* k, const Tensor* v,
                                      const Tensor* out, const Tensor* residual, const float* lse, const Lists* lists,
                                      float* k_panels, float* v_panels, float* k_rows, float* sums, int64_t num_strips,
                                      float scale, int64_t threads) {
    return guarded([&] {
        const int64_t G = lists->groups, R = q->size[2] / G, Dk = q->size[3], Dv = v->size[3], Tk = k->size[1];
        const int64_t pairs = lists->batch * G, columns = lists->panels[lists->blocks];
        prefer_large_pages(k_panels, 4 * pairs * Dk * columns);
        prefer_large_pages(v_panels, 4 * pairs * Dv * columns);
        prefer_large_pages(k_rows, 4 * pairs * Tk * whole_vectors(Dk));
        prefer_large_pages(sums, 4 * pairs * num_strips * Tk * (whole_vectors(Dk) + whole_vectors(Dv)));
        for (const Tensor* grad : {grad_q, grad_k, grad_v}) prefer_large_pages(grad->data, grad->bytes());
        const Panels columns_k(k_panels, *lists, Dk), columns_v(v_panels, *lists, Dv);
        const Rows rows{k_rows, G, Tk, whole_vectors(Dk)};
        const Strips strips(sums, *lists, num_strips, Tk, Dk, Dv);
        pack({k, v, &columns_k, &columns_v, &rows, nullptr, scale * LOG2_E}, *lists, (int)threads);

        const Backward call{*grad_q, *grad_out, *q,    *out, *residual, lse,        *lists,           columns_k, columns_v,
                            rows,    strips,    scale, R,    Dk,        Dv,         whole_vectors(Dk), whole_vectors(Dv)};
        const int64_t length = (lists->queries + num_strips - 1) / num_strips;
        const int64_t tile = tile_of(BACKWARD_BYTES, R, 2 * Dk + Dv), most = tile < length ? tile : length;
        Scratch<char> scratch((int)threads, Tile(Carver(nullptr), call, most).bytes);
        parallel_tasks(lists->batch * G * num_strips, (int)threads, [&](int64_t task, int thread) {
            const int64_t pair = task / num_strips, strip = task % num_strips, start = strip * length;
            const int64_t end = start + length < lists->queries ? start + length : lists->queries;
            if (end <= start) return;
            Tile tile(Carver(scratch[thread]), call, most);
            run_strip(call, tile, pair / G, pair % G, strip, Cut(end - start, most), start);
        });
        strips.write(*grad_k, *grad_v, (int)threads);
    });
}
