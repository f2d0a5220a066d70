// Ranged attention, backward: probabilities again from lse, five products a tile.
//
// The queries of each (b, g) are cut into chunks, a number that depends on shapes only. A chunk is one task: it owns its
// rows of dq, and sums its share of dk and dv in a buffer of its own, over the keys it sees. A second pass adds the
// shares in the order of the chunks. So no sum depends on threads, and none is written by two.
#include "problem.h"

using namespace weft;
using namespace weft::ranged;

namespace {

struct Gradients {
    const Tensor *out, *rest, *lse, *grad_out, *grad_lse;  // rest and grad_lse may be null
    const Tensor *grad_q, *grad_k, *grad_v;
};

// The cut into chunks, and where each chunk's share lies in the workspace.
struct Chunks {
    int64_t count, queries;
    const int64_t* plan;  // (B, count, 5): both runs, and the keys of all chunks before it

    Run run(int64_t b, int64_t c, int part) const {
        const int64_t* entry = plan + (b * count + c) * 5;
        return {entry[2 * part], entry[2 * part + 1]};
    }
    int64_t keys(int64_t b, int64_t c) const { return run(b, c, 0).size() + run(b, c, 1).size(); }
    int64_t before(int64_t b, int64_t c) const { return plan[(b * count + c) * 5 + 4]; }
};

// A chunk's share of dk and dv: rows of its first run, then of its second; groups side by side, each in one piece.
struct Share {
    float *k, *v;
    Run runs[2];

    Share(const Problem& p, const Chunks& chunks, float* workspace, int64_t b, int64_t g, int64_t c)
        : runs{chunks.run(b, c, 0), chunks.run(b, c, 1)} {
        const int64_t keys = chunks.keys(b, c), width = p.width() + p.v_width();
        k = workspace + (chunks.before(b, c) * p.groups() + keys * g) * width;
        v = k + keys * p.width();
    }
    // Row of key j, -1 if the chunk does not see it.
    int64_t row(int64_t j) const {
        if (j >= runs[0].first && j < runs[0].end) return j - runs[0].first;
        return j >= runs[1].first && j < runs[1].end ? runs[0].size() + j - runs[1].first : -1;
    }
};

struct Work {
    Tile tile;
    int32_t* seen;
    float *q, *q_columns, *grad_out, *grad_out_columns, *grad_q, *k, *v, *weights, *slopes, *peaks, *shifts, *row;
    int64_t bytes;

    Work(const Problem& p, Carver memory) {
        const int64_t rows = p.max_rows(), columns = padded(rows), stride = stride_of(rows);
        for (auto& edge : tile.edges) edge = memory.take<int32_t>(columns);
        seen = memory.take<int32_t>(p.tile_keys + 1);
        q = memory.take<float>(rows * p.width());
        q_columns = memory.take<float>(p.width() * stride);
        grad_out = memory.take<float>(rows * p.v_width());
        grad_out_columns = memory.take<float>(p.v_width() * stride);
        grad_q = memory.take<float>(rows * p.width());
        k = memory.take<float>(p.tile_keys * p.width());
        v = memory.take<float>(p.tile_keys * p.v_width());
        weights = memory.take<float>(p.tile_keys * stride);
        slopes = memory.take<float>(p.tile_keys * stride);
        peaks = memory.take<float>(columns);
        shifts = memory.take<float>(columns);
        row = memory.take<float>(p.v_width());
        bytes = memory.bytes();
    }
};

// Rows of the tile, and for each what turns scores into probabilities and what their derivative subtracts.
void read_rows(const Problem& p, const Gradients& x, const Work& w) {
    const Tile& tile = w.tile;
    const int64_t Dk = p.width(), Dv = p.v_width(), stride = stride_of(tile.rows), R = p.per_group();
    tile.read(*p.q, w.q, p.scale * LOG2_E);
    std::fill_n(w.q_columns, Dk * stride, 0.0f);
    transpose(w.q_columns, stride, w.q, Dk, (int)tile.rows, (int)Dk);
    tile.read(*x.grad_out, w.grad_out, 1);
    std::fill_n(w.grad_out_columns, Dv * stride, 0.0f);
    transpose(w.grad_out_columns, stride, w.grad_out, Dv, (int)tile.rows, (int)Dv);
    std::fill_n(w.grad_q, tile.rows * Dk, 0.0f);
    std::fill_n(w.peaks, padded(tile.rows), INFINITY);
    std::fill_n(w.shifts, padded(tile.rows), 0.0f);
    for (int64_t m = 0; m < tile.rows; ++m) {
        const int64_t t = tile.q0 + m / R, h = tile.g * R + m % R;
        const float lse = *x.lse->at(tile.b, t, h), *grad = w.grad_out + m * Dv;
        w.peaks[m] = lse == -INFINITY ? INFINITY : lse * LOG2_E;  // nothing seen: all probabilities are 0
        float shift = x.grad_lse ? -*x.grad_lse->at(tile.b, t, h) : 0;
        for (const Tensor* part : {x.out, x.rest}) {
            if (!part) continue;
            part->read(w.row, tile.b, t, h, Dv);
            shift += dot(grad, w.row, Dv);
        }
        w.shifts[m] = shift;
    }
}

// Scores to probabilities, in place, and slopes of the loss by the probabilities to slopes by the scores.
template <bool WHOLE>
void derive(const Work& w, int64_t m, int64_t stride, int64_t k0, int64_t keys) {
    const vec peak = load(w.peaks + m), shift = load(w.shifts + m);
    for (int64_t j = 0; j < keys; ++j) {
        float *weight = w.weights + j * stride + m, *slope = w.slopes + j * stride + m;
        vec share = exp2_approx(load(weight) - peak);
        vec by_score = share * (load(slope) - shift);
        if (!WHOLE) {
            const ivec seen = w.tile.sees(m, (int32_t)(k0 + j));
            share = select(seen, share, vec{});
            by_score = select(seen, by_score, vec{});
        }
        store(weight, share);
        store(slope, by_score);
    }
}

void differentiate(const Problem& p, const Gradients& x, const Work& w, const Share& share) {
    const Tile& tile = w.tile;
    const int Dk = (int)p.width(), Dv = (int)p.v_width();
    const int64_t stride = stride_of(tile.rows), R = p.per_group();
    read_rows(p, x, w);
    Run runs[2];
    find_runs(p, tile.b, tile.q0, tile.q1, runs);
    for (const Run& run : runs)
        for (int64_t k0 = run.first; k0 < run.end; k0 += p.tile_keys) {
            const int64_t k1 = std::min(k0 + p.tile_keys, run.end);
            const int keys = (int)(k1 - k0);
            int64_t first, end;
            bool whole;
            if (!tile.columns(k0, k1, &first, &end, &whole)) continue;
            const int32_t* seen = whole ? nullptr : w.seen;
            if (seen) tile.mark(k0, k1, w.seen);
            const int columns = (int)(end - first), rows = (int)(std::min(end, tile.rows) - first);
            tile.read_keys(*p.k, w.k, k0, k1, seen);
            tile.read_keys(*p.v, w.v, k0, k1, seen);
            float *weights = w.weights + first, *slopes = w.slopes + first;
            gemm(weights, stride, w.k, Dk, 1, w.q_columns + first, stride, keys, columns, Dk, false);
            gemm(slopes, stride, w.v, Dv, 1, w.grad_out_columns + first, stride, keys, columns, Dv, false);
            for (int64_t m = first; m < end; m += LANES)
                whole ? derive<true>(w, m, stride, k0, keys) : derive<false>(w, m, stride, k0, keys);
            const int64_t row = share.row(k0);
            gemm(share.v + row * Dv, Dv, weights, stride, 1, w.grad_out + first * Dv, Dv, keys, Dv, rows, true);
            gemm(share.k + row * Dk, Dk, slopes, stride, 1, w.q + first * Dk, Dk, keys, Dk, rows, true);
            gemm(w.grad_q + first * Dk, Dk, slopes, 1, stride, w.k, Dk, rows, Dk, keys, true);
        }
    for (int64_t i = 0; i < tile.rows * Dk; ++i) w.grad_q[i] *= p.scale;
    for (int64_t m = 0; m < tile.rows; ++m)
        x.grad_q->write(w.grad_q + m * Dk, tile.b, tile.q0 + m / R, tile.g * R + m % R, Dk);
}

// dk and dv of keys [k0, k1) of (b, g): the sum of the chunks' shares, in the chunks' order.
void add_shares(const Problem& p, const Gradients& x, const Chunks& chunks, float* workspace, int64_t b, int64_t g,
                int64_t k0, int64_t k1, float* sum) {
    const int64_t Dk = p.width(), Dv = p.v_width();
    for (int64_t j = k0; j < k1; ++j) {
        std::fill_n(sum, Dk + Dv, 0.0f);
        for (int64_t c = 0; c < chunks.count; ++c) {
            const Share share(p, chunks, workspace, b, g, c);
            const int64_t row = share.row(j);
            if (row < 0) continue;
            for (int64_t d = 0; d < Dk; ++d) sum[d] += share.k[row * Dk + d];
            for (int64_t d = 0; d < Dv; ++d) sum[Dk + d] += share.v[row * Dv + d];
        }
        for (int64_t d = 0; d < Dk; ++d) sum[d] *= 1 / LOG2_E;  // q carried scale * log2(e)
        x.grad_k->write(sum, b, j, g, Dk);
        x.grad_v->write(sum + Dk, b, j, g, Dv);
    }
}

}  // namespace

extern "C" {

// Fills plan (B, count, 5) for chunks of `queries` queries; the last entry of all is followed by the keys of all chunks.
int weft_ranged_backward_plan(const Tensor* q, const Tensor* k, const int32_t* ranges, int64_t* plan, int64_t count,
                              int64_t queries) {
    const Problem p{q, k, k, ranges, 1, queries, 1};
    int64_t before = 0;
    for (int64_t b = 0; b < p.batch(); ++b)
        for (int64_t c = 0; c < count; ++c, plan += 5) {
            Run runs[2];
            find_runs(p, b, c * queries, std::min((c + 1) * queries, p.queries()), runs);
            plan[0] = runs[0].first, plan[1] = runs[0].end, plan[2] = runs[1].first, plan[3] = runs[1].end;
            plan[4] = before;
            before += runs[0].size() + runs[1].size();
        }
    *plan = before;
    return OK;
}

// workspace: keys of all chunks * G * (Dk + Dv) numbers.
int weft_ranged_backward(const Tensor* q, const Tensor* k, const Tensor* v, const int32_t* ranges, const Tensor* out,
                         const Tensor* rest, const Tensor* lse, const Tensor* grad_out, const Tensor* grad_lse,
                         const Tensor* grad_q, const Tensor* grad_k, const Tensor* grad_v, float* workspace,
                         const int64_t* plan, int64_t count, int64_t queries, float scale, int64_t tile_queries,
                         int64_t tile_keys, int64_t threads) {
    return guarded([&] {
        const Problem p{q, k, v, ranges, scale, tile_queries, tile_keys};
        const Gradients x{out, rest, lse, grad_out, grad_lse, grad_q, grad_k, grad_v};
        const Chunks chunks{count, queries, plan};
        const int64_t each = p.batch() * p.groups();
        const Scratch<char> scratch((int)threads, Work(p, Carver(nullptr)).bytes);
        parallel_tasks(count * each, (int)threads, [&](int64_t task, int thread) {
            const int64_t c = count - 1 - task / each, b = task % each / p.groups(), g = task % p.groups();
            const Share share(p, chunks, workspace, b, g, c);
            std::fill_n(share.k, chunks.keys(b, c) * (p.width() + p.v_width()), 0.0f);
            const int64_t q1 = std::min((c + 1) * queries, p.queries());
            for (int64_t t = c * queries; t < q1; t += tile_queries) {
                Work w(p, Carver(scratch[thread]));
                w.tile.place(p, b, g, t, std::min(t + tile_queries, q1));
                differentiate(p, x, w, share);
            }
        });
        constexpr int64_t PIECE = 256;
        const int64_t keys = k->size[1], pieces = (keys + PIECE - 1) / PIECE;
        const Scratch<float> sums((int)threads, p.width() + p.v_width());
        parallel_tasks(pieces * each, (int)threads, [&](int64_t task, int thread) {
            const int64_t k0 = task / each * PIECE, b = task % each / p.groups(), g = task % p.groups();
            add_shares(p, x, chunks, workspace, b, g, k0, std::min(k0 + PIECE, keys), sums[thread]);
        });
    });
}

}  // extern "C"
