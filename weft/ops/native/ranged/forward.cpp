// Ranged attention, forward: a tile of rows meets its keys tile by tile under a running maximum and sum.
#include "problem.h"

using namespace weft;
using namespace weft::ranged;

namespace {

// Everything one thread needs for a tile.
struct Work {
    Tile tile;
    int32_t* seen;
    float *q, *q_columns, *k, *v, *scores, *out, *peaks, *totals, *factors;

    Work(const Problem& p, Carver memory) {
        const int64_t rows = p.max_rows(), columns = padded(rows), stride = stride_of(rows);
        for (auto& edge : tile.edges) edge = memory.take<int32_t>(columns);
        seen = memory.take<int32_t>(p.tile_keys + 1);
        q = memory.take<float>(rows * p.width());
        q_columns = memory.take<float>(p.width() * stride);
        k = memory.take<float>(p.tile_keys * p.width());
        v = memory.take<float>(p.tile_keys * p.v_width());
        scores = memory.take<float>(p.tile_keys * stride);
        out = memory.take<float>(rows * p.v_width());
        peaks = memory.take<float>(columns);
        totals = memory.take<float>(columns);
        factors = memory.take<float>(columns);
        bytes = memory.bytes();
    }
    int64_t bytes;
};

// Scores of one vector of rows become weights under the new maximum; peaks, totals and factors are brought up to date.
// True if what was summed before has to be scaled.
template <bool WHOLE>
bool soften(const Work& w, int64_t m, int64_t stride, int64_t k0, int64_t keys) {
    float* column = w.scores + m;
    const vec before = load(w.peaks + m);
    vec most[4] = {before, before, before, before};
    if (!WHOLE) {
        const vec hidden = splat(-INFINITY);
        for (int64_t j = 0; j < keys; ++j)
            store(column + j * stride, select(w.tile.sees(m, (int32_t)(k0 + j)), load(column + j * stride), hidden));
    }
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4)
        for (int i = 0; i < 4; ++i) most[i] = max(most[i], load(column + (j + i) * stride));
    for (; j < keys; ++j) most[0] = max(most[0], load(column + j * stride));
    const vec peak = max(max(most[0], most[1]), max(most[2], most[3]));
    const vec base = select(peak == splat(-INFINITY), vec{}, peak);  // rows that see nothing yet
    vec sums[4] = {};
    for (j = 0; j + 4 <= keys; j += 4)
        for (int i = 0; i < 4; ++i) {
            const vec weight = exp2_approx(load(column + (j + i) * stride) - base);
            store(column + (j + i) * stride, weight);
            sums[i] += weight;
        }
    for (; j < keys; ++j) {
        const vec weight = exp2_approx(load(column + j * stride) - base);
        store(column + j * stride, weight);
        sums[0] += weight;
    }
    const vec factor = exp2_approx(before - base);
    store(w.peaks + m, peak);
    store(w.factors + m, factor);
    store(w.totals + m, load(w.totals + m) * factor + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
    for (int i = 0; i < LANES; ++i)
        if (w.factors[m + i] != 1) return true;
    return false;
}

void attend(const Problem& p, Work& w) {
    const Tile& tile = w.tile;
    const int64_t Dk = p.width(), Dv = p.v_width(), stride = stride_of(tile.rows);
    tile.read(*p.q, w.q, p.scale * LOG2_E);
    std::fill_n(w.q_columns, Dk * stride, 0.0f);
    transpose(w.q_columns, stride, w.q, Dk, (int)tile.rows, (int)Dk);
    std::fill_n(w.out, tile.rows * Dv, 0.0f);
    std::fill_n(w.peaks, padded(tile.rows), -INFINITY);
    std::fill_n(w.totals, padded(tile.rows), 0.0f);
    Run runs[2];
    find_runs(p, tile.b, tile.q0, tile.q1, runs);
    for (const Run& run : runs)
        for (int64_t k0 = run.first; k0 < run.end; k0 += p.tile_keys) {
            const int64_t k1 = std::min(k0 + p.tile_keys, run.end), keys = k1 - k0;
            int64_t first, end;
            bool whole;
            if (!tile.columns(k0, k1, &first, &end, &whole)) continue;
            const int32_t* seen = whole ? nullptr : w.seen;
            if (seen) tile.mark(k0, k1, w.seen);
            tile.read_keys(*p.k, w.k, k0, k1, seen);
            gemm(w.scores + first, stride, w.k, Dk, 1, w.q_columns + first, stride, (int)keys, (int)(end - first),
                 (int)Dk, false);
            const int64_t last = std::min(end, tile.rows);
            for (int64_t m = first; m < end; m += LANES) {
                const bool scale = whole ? soften<true>(w, m, stride, k0, keys) : soften<false>(w, m, stride, k0, keys);
                if (!scale) continue;
                for (int64_t row = m; row < std::min<int64_t>(m + LANES, last); ++row)
                    for (int64_t d = 0; d < Dv; ++d) w.out[row * Dv + d] *= w.factors[row];
            }
            tile.read_keys(*p.v, w.v, k0, k1, seen);
            gemm(w.out + first * Dv, Dv, w.scores + first, 1, stride, w.v, Dv, (int)(last - first), (int)Dv, (int)keys,
                 true);
        }
}

void write(const Work& w, const Tensor& out, const Tensor& lse, const Tensor* rest) {
    const Tile& tile = w.tile;
    const int64_t Dv = out.size[3], R = tile.rows / (tile.q1 - tile.q0);
    for (int64_t m = 0; m < tile.rows; ++m) {
        const int64_t t = tile.q0 + m / R, h = tile.g * R + m % R;
        const float total = w.totals[m], inverse = total == 0 ? 0 : 1 / total;
        float* row = w.out + m * Dv;
        for (int64_t d = 0; d < Dv; ++d) row[d] *= inverse;
        out.write(row, tile.b, t, h, Dv);
        *lse.at(tile.b, t, h) = total == 0 ? -INFINITY : (w.peaks[m] + std::log2(total)) / LOG2_E;
        if (!rest) continue;
        for (int64_t d = 0; d < Dv; ++d) row[d] -= bf16_to_float(float_to_bf16(row[d]));
        rest->write(row, tile.b, t, h, Dv);
    }
}

}  // namespace

// out (B, Tq, H, Dv), lse (B, Tq, H, 1) float32 natural log, and what rounding took from out, if asked for.
extern "C" int weft_ranged_forward(const Tensor* q, const Tensor* k, const Tensor* v, const int32_t* ranges,
                                   const Tensor* out, const Tensor* lse, const Tensor* rest, float scale,
                                   int64_t tile_queries, int64_t tile_keys, int64_t threads) {
    return guarded([&] {
        const Problem p{q, k, v, ranges, scale, tile_queries, tile_keys};
        const Scratch<char> scratch((int)threads, Work(p, Carver(nullptr)).bytes);
        const int64_t tiles = p.tiles(), each = p.batch() * p.groups();
        parallel_tasks(tiles * each, (int)threads, [&](int64_t task, int thread) {
            Work w(p, Carver(scratch[thread]));
            const int64_t q0 = (tiles - 1 - task / each) * tile_queries;  // the longest first
            const int64_t b = task % each / p.groups(), g = task % p.groups();
            w.tile.place(p, b, g, q0, std::min(q0 + tile_queries, p.queries()));
            attend(p, w);
            write(w, *out, *lse, rest);
        });
    });
}
