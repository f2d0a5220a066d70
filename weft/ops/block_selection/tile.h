// One tile of attention over compressed blocks with the choice of selection blocks, or of the choice alone.
//
// A tile is the R heads of some neighbouring tokens of one batch row and group, about 64 rows. It goes through the keys in
// chunks. With attention, the weights 2^(score - running peak) of all chunks stay in the second-level cache until a row's
// peak and total are known, and are then summed over the heads: scores are computed once. With the choice alone, the
// log-sum-exp is given and the heads are summed as they come.
#pragma once
#include <cmath>

#include "packed.h"

namespace weft::selection {

// A thread's memory for one tile, and what it computes with.
class Tile {
   public:
    Tile(const Problem& p, const Packed& packed, void* memory) : p_(p), packed_(packed), carver_(memory) {
        const int64_t rows = p.tile_tokens() * p.per_group(), chunks = p.chunks();
        const int64_t kept = p.v ? chunks : 1;  // chunks whose weights are kept
        queries_ = carver_.take<float>(rows * p.key_width());
        weights_ = carver_.take<float>(kept * rows * CHUNK);
        peaks_ = carver_.take<float>(kept * rows);
        out_ = carver_.take<float>(rows * round_up(p.value_width()));
        peak_ = carver_.take<float>(rows);
        total_ = carver_.take<float>(rows);
        shares_ = carver_.take<float>((p.v ? 1 : p.tile_tokens()) * chunks * CHUNK);
        importance_ = carver_.take<float>(chunks * CHUNK + CHUNK);
        best_ = carver_.take<float>(p.sizes.num_selected);
        kept_ = kept;
    }
    int64_t bytes() const { return carver_.bytes(); }

    void run(int64_t b, int64_t g, int64_t t0) {
        b_ = b, g_ = g, t0_ = t0;
        tokens_ = std::min(p_.tile_tokens(), p_.tokens() - t0);
        rows_ = tokens_ * p_.per_group();
        first_ = INT64_MAX, end_ = 0;
        for (int64_t t = t0; t < t0 + tokens_; ++t)
            if (seen_from(t) < seen_to(t)) first_ = std::min(first_, seen_from(t)), end_ = std::max(end_, seen_to(t));
        if (p_.v)
            attend();
        else if (chosen_from_scores())
            share();
        choose();
    }

   private:
    static int64_t round_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
    int64_t at(int64_t t) const { return b_ * p_.tokens() + t; }
    int64_t seen_from(int64_t t) const { return p_.first(b_, t); }
    int64_t seen_to(int64_t t) const { return p_.end(b_, t); }
    int64_t current(int64_t t) const { return p_.sizes.current(p_.positions[at(t)]); }
    bool chosen_from_scores() const {
        for (int64_t t = t0_; t < t0_ + tokens_; ++t)
            if (current(t) >= p_.sizes.num_selected) return true;
        return false;
    }
    int64_t first_chunk() const { return first_ / CHUNK; }
    int64_t end_chunk() const { return end_ > 0 ? (end_ + CHUNK - 1) / CHUNK : first_chunk(); }
    float* weights(int64_t c) const { return weights_ + (kept_ > 1 ? c - first_chunk() : 0) * rows_ * CHUNK; }
    float* peaks(int64_t c) const { return peaks_ + (kept_ > 1 ? c - first_chunk() : 0) * rows_; }

    void load_queries() {
        const int64_t R = p_.per_group(), width = p_.key_width();
        for (int64_t row = 0; row < rows_; ++row) {
            float* out = queries_ + row * width;
            p_.q->read(out, b_, t0_ + row / R, g_ * R + row % R, width);
            for (int64_t d = 0; d < width; ++d) out[d] *= p_.scale;
        }
    }

    // Scores of chunk c, -inf where a row does not see the entry; returns the columns in use.
    int64_t score(int64_t c) {
        const int64_t used = std::min(CHUNK, end_ - c * CHUNK), whole = round_up(used);
        float* w = weights(c);
        gemm(w, CHUNK, queries_, p_.key_width(), 1, packed_.key(p_, b_, g_, c), CHUNK, (int)rows_, (int)used,
             (int)p_.key_width(), false);
        for (int64_t row = 0; row < rows_; ++row) {
            const int64_t t = t0_ + row / p_.per_group();
            const int64_t a = std::clamp<int64_t>(seen_from(t) - c * CHUNK, 0, whole);
            const int64_t e = std::clamp<int64_t>(seen_to(t) - c * CHUNK, a, whole);
            std::fill(w + row * CHUNK, w + row * CHUNK + a, -INFINITY);
            std::fill(w + row * CHUNK + e, w + row * CHUNK + whole, -INFINITY);
        }
        return used;
    }

    void attend() {
        const int64_t width = p_.value_width(), ld = round_up(width);
        std::fill(out_, out_ + rows_ * ld, 0.0f);
        std::fill(peak_, peak_ + rows_, -INFINITY);
        std::fill(total_, total_ + rows_, 0.0f);
        if (end_ > 0) load_queries();
        for (int64_t c = first_chunk(); c < end_chunk(); ++c) {
            const int64_t used = score(c);
            float* w = weights(c);
            for (int64_t row = 0; row < rows_; ++row) weigh(row, w + row * CHUNK, round_up(used));
            std::copy(peak_, peak_ + rows_, peaks(c));
            gemm(out_, ld, w, CHUNK, 1, packed_.value(p_, b_, g_, c), width, (int)rows_, (int)width, (int)used, true);
        }
        for (int64_t row = 0; row < rows_; ++row) {
            const int64_t t = t0_ + row / p_.per_group(), h = g_ * p_.per_group() + row % p_.per_group();
            float* o = out_ + row * ld;
            const float inverse = total_[row] > 0 ? 1 / total_[row] : (total_[row] == 0 ? 0 : NAN);
            for (int64_t d = 0; d < width; ++d) o[d] *= inverse;
            p_.out->write(o, b_, t, h, width);
            p_.lse[at(t) * p_.heads() + h] = (peak_[row] + std::log2(total_[row])) * float(M_LN2);
        }
    }

    // Scores to weights over the row's new peak; what was summed before is put on the same scale.
    void weigh(int64_t row, float* w, int64_t whole) {
        vec most = load(w);
        for (int64_t i = LANES; i < whole; i += LANES) most = max(most, load(w + i));
        const float peak = std::max(reduce_max(most), peak_[row]);
        if (peak == -INFINITY) {
            std::fill(w, w + whole, 0.0f);
            return;
        }
        if (peak > peak_[row]) {
            const vec factor = exp2_approx(splat(peak_[row] - peak));
            float* o = out_ + row * round_up(p_.value_width());
            for (int64_t d = 0; d < round_up(p_.value_width()); d += LANES) store(o + d, load(o + d) * factor);
            total_[row] *= factor[0];
            peak_[row] = peak;
        }
        vec sum = {};
        for (int64_t i = 0; i < whole; i += LANES) {
            const vec x = exp2_approx(load(w + i) - peak);
            store(w + i, x);
            sum += x;
        }
        total_[row] += reduce_add(sum);
    }

    // For the choice alone: shares of each token, summed over heads as they come.
    void share() {
        const int64_t R = p_.per_group();
        load_queries();
        for (int64_t row = 0; row < rows_; ++row)
            peak_[row] = p_.given_lse[at(t0_ + row / R) * p_.heads() + g_ * R + row % R] * float(M_LOG2E);
        for (int64_t c = first_chunk(); c < end_chunk(); ++c) {
            const int64_t whole = round_up(score(c));
            for (int64_t token = 0; token < tokens_; ++token) {
                float* out = shares_ + (token * p_.chunks() + c) * CHUNK;
                for (int64_t i = 0; i < whole; i += LANES) {
                    vec sum = {};
                    for (int64_t row = token * R; row < (token + 1) * R; ++row)
                        sum += exp2_approx(load(weights_ + row * CHUNK + i) - peak_[row]);
                    store(out + i, sum);
                }
            }
        }
    }

    // Shares of one token from the kept weights, summed over heads.
    void sum_heads(int64_t token) {
        const int64_t R = p_.per_group(), t = t0_ + token;
        for (int64_t c = seen_from(t) / CHUNK; c * CHUNK < seen_to(t); ++c) {
            const float *w = weights(c) + token * R * CHUNK, *peak = peaks(c) + token * R;
            const int64_t whole = std::min(CHUNK, round_up(seen_to(t) - c * CHUNK));
            float* out = shares_ + c * CHUNK;
            for (int64_t r = 0; r < R; ++r) {
                const int64_t row = token * R + r;
                const vec factor = exp2_approx(splat(peak[r] - peak_[row])) / total_[row];
                for (int64_t i = 0; i < whole; i += LANES) {
                    const vec x = factor * load(w + r * CHUNK + i);
                    store(out + i, r ? load(out + i) + x : x);
                }
            }
        }
    }

    void choose() {
        const int64_t n = p_.sizes.num_selected;
        for (int64_t token = 0; token < tokens_; ++token) {
            const int64_t t = t0_ + token, own = current(t);
            int32_t* list = p_.lists + (at(t) * p_.groups() + g_) * n;
            if (own < n) {
                choose_all(list, own, n);
                continue;
            }
            const float* shares = shares_;
            if (p_.v)
                sum_heads(token);
            else
                shares += token * p_.chunks() * CHUNK;
            map_importance(importance_, shares + seen_from(t), own + 1, seen_to(t) - seen_from(t), p_.sizes);
            choose_best(list, best_, importance_, own, n);
        }
    }

    const Problem& p_;
    const Packed& packed_;
    Carver carver_;
    int64_t kept_, b_ = 0, g_ = 0, t0_ = 0, tokens_ = 0, rows_ = 0, first_ = 0, end_ = 0;
    float *queries_, *weights_, *peaks_, *out_, *peak_, *total_, *shares_, *importance_, *best_;
};

}  // namespace weft::selection
