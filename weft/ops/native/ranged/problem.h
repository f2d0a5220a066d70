// What both passes of ranged attention share: the tensors, the cut into tiles, and who sees what.
//
// Legend: B batch, Tq queries, Tk keys, H query heads, G groups, R = H/G, Dk and Dv head dims.
// Query (b, t) sees keys [sink_lo, sink_hi) and [lo, hi) of batch row b, which do not overlap. A tile is a run of
// neighbouring queries of one (b, g); its rows are (query, head), the R heads of a query side by side.
//
// Scores of a tile are kept as keys by rows: lanes are rows, so that maxima and sums need no step across lanes, and
// neither keys nor values are ever transposed, only the queries, once a tile.
#pragma once
#include <algorithm>
#include <climits>
#include <cmath>

#include "../include/gemm.h"
#include "../include/parallel.h"
#include "../include/tensor.h"

namespace weft {
namespace ranged {

constexpr float LOG2_E = 1.4426950408889634f;

inline int64_t padded(int64_t rows) { return (rows + LANES - 1) / LANES * LANES; }

// Row stride of a plane with `rows` columns: one vector more than needed keeps cache lines from colliding.
inline int64_t stride_of(int64_t rows) { return padded(rows) + LANES; }

struct Run {
    int64_t first, end;
    int64_t size() const { return std::max<int64_t>(end - first, 0); }
};

struct Problem {
    const Tensor *q, *k, *v;
    const int32_t* ranges;  // (4, B, Tq): sink_lo, sink_hi, lo, hi
    float scale;
    int64_t tile_queries, tile_keys;

    int64_t batch() const { return q->size[0]; }
    int64_t queries() const { return q->size[1]; }
    int64_t heads() const { return q->size[2]; }
    int64_t groups() const { return k->size[2]; }
    int64_t per_group() const { return heads() / groups(); }
    int64_t width() const { return q->size[3]; }
    int64_t v_width() const { return v->size[3]; }
    int64_t tiles() const { return (queries() + tile_queries - 1) / tile_queries; }
    int64_t max_rows() const { return std::min(tile_queries, queries()) * per_group(); }

    // Edge 0..3 (sink_lo, sink_hi, lo, hi) of the queries of a batch row.
    const int32_t* edge(int which, int64_t b) const { return ranges + (which * batch() + b) * queries(); }
};

// The one or two runs of keys that any of the queries [q0, q1) sees; runs[0] comes first, either may be empty.
inline void find_runs(const Problem& p, int64_t b, int64_t q0, int64_t q1, Run runs[2]) {
    for (int part = 0; part < 2; ++part) {
        const int32_t *lo = p.edge(2 * part, b), *hi = p.edge(2 * part + 1, b);
        int64_t first = INT_MAX, end = 0;
        for (int64_t t = q0; t < q1; ++t)
            if (lo[t] < hi[t]) first = std::min<int64_t>(first, lo[t]), end = std::max<int64_t>(end, hi[t]);
        runs[part] = end ? Run{first, end} : Run{0, 0};
    }
    if (runs[0].size() && runs[1].size() && runs[0].end >= runs[1].first) {  // one run, so that no key is met twice
        runs[0] = {std::min(runs[0].first, runs[1].first), std::max(runs[0].end, runs[1].end)};
        runs[1] = {0, 0};
    }
}

// Queries [q0, q1) of (b, g), their rows and what each row sees.
struct Tile {
    int64_t b, g, q0, q1, rows;
    int32_t* edges[4];  // for each row, in whole vectors; rows past the last one see nothing

    void place(const Problem& p, int64_t batch, int64_t group, int64_t first, int64_t end) {
        b = batch, g = group, q0 = first, q1 = end;
        const int64_t R = p.per_group();
        rows = (q1 - q0) * R;
        for (int e = 0; e < 4; ++e) {
            const int32_t* edge = p.edge(e, b);
            for (int64_t t = q0; t < q1; ++t) std::fill_n(edges[e] + (t - q0) * R, R, edge[t]);
            std::fill(edges[e] + rows, edges[e] + padded(rows), 0);
        }
    }

    // x[t, h] of the tile's rows as consecutive float32 rows, times `factor`.
    void read(const Tensor& x, float* out, float factor) const {
        const int64_t width = x.size[3], R = rows / (q1 - q0);
        for (int64_t m = 0; m < rows; ++m) x.read(out + m * width, b, q0 + m / R, g * R + m % R, width);
        if (factor != 1)
            for (int64_t i = 0; i < rows * width; ++i) out[i] *= factor;
    }

    // Rows [first, end) that see any of the keys [k0, k1), in whole vectors, and whether all of them see all keys.
    // False if no row does.
    bool columns(int64_t k0, int64_t k1, int64_t* first, int64_t* end, bool* whole) const {
        const int64_t step = rows / (q1 - q0);
        int64_t low = -1, high = 0, full = 0;
        for (int64_t m = 0; m < rows; m += step) {
            const bool sink = edges[0][m] < k1 && edges[1][m] > k0 && edges[0][m] < edges[1][m];
            const bool band = edges[2][m] < k1 && edges[3][m] > k0 && edges[2][m] < edges[3][m];
            if (!sink && !band) continue;
            if (low < 0) low = m;
            high = m + step;
            full += (edges[2][m] <= k0 && edges[3][m] >= k1) || (edges[0][m] <= k0 && edges[1][m] >= k1);
        }
        if (low < 0) return false;
        *first = low / LANES * LANES;
        *end = padded(high);
        *whole = full * step == high - low && *first == low && (*end == high || high == rows);
        return true;
    }

    // Which of the keys [k0, k1) any row sees: `seen` (k1 - k0 + 1) counts its queries.
    void mark(int64_t k0, int64_t k1, int32_t* seen) const {
        std::fill_n(seen, k1 - k0 + 1, 0);
        for (int64_t m = 0; m < rows; m += rows / (q1 - q0))
            for (int part = 0; part < 4; part += 2) {
                const int64_t lo = std::max<int64_t>(edges[part][m], k0), hi = std::min<int64_t>(edges[part + 1][m], k1);
                if (lo < hi) ++seen[lo - k0], --seen[hi - k0];
            }
        for (int64_t j = 1; j < k1 - k0; ++j) seen[j] += seen[j - 1];
    }

    // Keys or values [k0, k1) as consecutive float32 rows; zeros for those that no row sees: they may hold anything.
    void read_keys(const Tensor& x, float* out, int64_t k0, int64_t k1, const int32_t* seen) const {
        const int64_t width = x.size[3];
        for (int64_t j = k0; j < k1; ++j, out += width)
            if (!seen || seen[j - k0])
                x.read(out, b, j, g, width);
            else
                std::fill_n(out, width, 0.0f);
    }

    // Lanes m .. m + LANES - 1 of the rows that see key j.
    ivec sees(int64_t m, int32_t j) const {
        const ivec key = splat_int(j);
        return ((key >= load(edges[0] + m)) & (key < load(edges[1] + m))) |
               ((key >= load(edges[2] + m)) & (key < load(edges[3] + m)));
    }
};


}  // namespace ranged
}  // namespace weft
