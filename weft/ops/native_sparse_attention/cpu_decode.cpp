// One decode step of native sparse attention: one query a batch row, all three branches and the choice of blocks.
//
// Legend: B batch, H query heads, G groups, R = H/G, Dk and Dv widths, n blocks in a list, t a query's position.
//
// What a query reads is cut into runs of keys, the same runs for any number of threads. Those of compressed entries and
// of the window come first; the weights on the entries choose the blocks, and the chosen blocks are the last runs. What
// the runs leave is put together in their order.
#include <utility>
#include <vector>

#include "../block_selection/choice.h"
#include "../native/include/parallel.h"
#include "decode_run.h"

namespace {

using namespace weft;
using namespace weft::decode;

enum Branch { COMPRESSED, SELECTED, SLIDING, BRANCHES };  // the order of the gates

struct Run {
    Branch branch;
    int64_t first, count;
};

struct Step {
    const Tensor* q;
    Cache keys[BRANCHES], values[BRANCHES];
    const Tensor *gates, *out;
    int32_t* lists;                   // (B, G, n)
    const int64_t* positions;         // (B,) t, -1 for a row that sees nothing
    const int64_t* window_positions;  // (B, slots), or null where slot i holds position i
    ChoiceSizes sizes;
    int64_t window;
    float scale;

    int64_t groups() const { return keys[0].x->size[2]; }
    int64_t heads() const { return q->size[2] / groups(); }  // R
    int64_t lanes() const { return whole_lanes(heads()); }
    int64_t key_width() const { return q->size[3]; }
    int64_t value_width() const { return out->size[3]; }
    int64_t result_size() const { return run_result_size(lanes(), heads(), value_width()); }
};

void add_runs(std::vector<Run>& runs, Branch branch, int64_t first, int64_t end) {
    for (; first < end; first += RUN) runs.push_back({branch, first, std::min(RUN, end - first)});
}

// One group of one batch row.
class Unit {
   public:
    Unit(const Step& step, int64_t b, int64_t g) : s_(&step), b_(b), g_(g), t_(step.positions[b]) {
        if (t_ < 0) return;
        entries_ = s_->sizes.visible(t_);
        add_runs(runs_, COMPRESSED, 0, entries_);
        if (s_->window_positions) {
            add_slots();
        } else {
            add_runs(runs_, SLIDING, std::max<int64_t>(0, t_ - s_->window + 1), t_ + 1);
        }
        first_selected_ = (int64_t)runs_.size();
        const int64_t per_block = (s_->sizes.select_block + RUN - 1) / RUN;
        runs_.reserve(runs_.size() + s_->sizes.num_selected * per_block);  // the tasks allocate nothing
    }

    const std::vector<Run>& runs() const { return runs_; }
    int64_t first_selected() const { return first_selected_; }

    // Lays out the unit's memory; with null it only counts, and returns the bytes.
    int64_t place(void* memory) {
        Carver carver(memory);
        const int64_t lanes = s_->lanes(), runs = (int64_t)runs_.capacity();
        queries_ = carver.take<float>(s_->key_width() * lanes);
        weights_ = carver.take<float>(entries_ * lanes);
        results_ = carver.take<float>(runs * s_->result_size());
        factor_ = carver.take<float>(runs * lanes);
        row_ = carver.take<float>(whole_lanes(std::max(s_->key_width(), s_->value_width())));
        shares_ = carver.take<float>(entries_);
        importance_ = carver.take<float>(s_->sizes.current(t_) + 1);
        best_ = carver.take<float>(s_->sizes.num_selected);
        return carver.bytes();
    }

    void load_queries() {
        const int64_t width = s_->key_width(), lanes = s_->lanes();
        std::fill(queries_, queries_ + width * lanes, 0.0f);
        for (int64_t r = 0; r < s_->heads(); ++r) {
            s_->q->read(row_, b_, 0, g_ * s_->heads() + r, width);
            for (int64_t d = 0; d < width; ++d) queries_[d * lanes + r] = row_[d] * s_->scale;
        }
    }

    // `scratch` has RUN * lanes + TILE * max(Dk, Dv) numbers.
    void attend(int64_t index, float* scratch) {
        const Run& run = runs_[index];
        const int64_t lanes = s_->lanes();
        float* weights = run.branch == COMPRESSED ? weights_ + run.first * lanes : scratch;
        attend_run({queries_, s_->heads(), lanes}, s_->keys[run.branch], s_->values[run.branch], b_, g_, run.first,
                   run.count, weights, result(index), scratch + RUN * lanes);
    }

    // Sums the weights over the heads, maps them to blocks, chooses, and adds the runs of the chosen blocks.
    void choose() {
        const ChoiceSizes& sizes = s_->sizes;
        const int64_t n = sizes.num_selected, current = sizes.current(t_), lanes = s_->lanes();
        int32_t* list = s_->lists + (b_ * s_->groups() + g_) * n;
        if (current < n) {
            choose_all(list, current, n);
            add_runs(runs_, SELECTED, 0, t_ + 1);
            return;
        }
        find_factors(COMPRESSED);
        for (int64_t i = 0; i < entries_; ++i) {
            vec sum = {};
            for (int64_t p = 0; p < lanes; p += LANES)
                sum += load(weights_ + i * lanes + p) * load(factor_ + i / RUN * lanes + p);
            shares_[i] = reduce_add(sum);
        }
        map_importance(importance_, shares_, current + 1, entries_, sizes);
        choose_best(list, best_, importance_, current, n);
        for (int64_t i = 0; i < n; ++i) {
            const int64_t first = list[i] * sizes.select_block;
            add_runs(runs_, SELECTED, first, std::min(first + sizes.select_block, t_ + 1));
        }
    }

    void finish() {
        const int64_t lanes = s_->lanes(), width = whole_lanes(s_->value_width());
        for (Branch branch : {COMPRESSED, SELECTED, SLIDING}) find_factors(branch);
        for (int64_t r = 0; r < s_->heads(); ++r) {
            float gates[BRANCHES];
            s_->gates->read(gates, b_, 0, g_ * s_->heads() + r, BRANCHES);
            std::fill(row_, row_ + width, 0.0f);
            for (int64_t i = 0; i < (int64_t)runs_.size(); ++i) {
                const float weight = gates[runs_[i].branch] * factor_[i * lanes + r];
                const float* part = result(i) + 2 * lanes + r * width;
                for (int64_t d = 0; d < width; d += LANES) store(row_ + d, load(row_ + d) + weight * load(part + d));
            }
            s_->out->write(row_, b_, 0, g_ * s_->heads() + r, s_->value_width());
        }
    }

   private:
    // Runs of neighbouring slots that hold visible positions.
    void add_slots() {
        const int64_t slots = s_->keys[SLIDING].x->size[1], *p = s_->window_positions + b_ * slots;
        const auto visible = [&](int64_t slot) { return p[slot] >= 0 && p[slot] <= t_ && p[slot] > t_ - s_->window; };
        for (int64_t slot = 0; slot < slots; ++slot) {
            const int64_t first = slot;
            while (slot < slots && visible(slot)) ++slot;
            add_runs(runs_, SLIDING, first, slot);
        }
    }

    float* result(int64_t index) const { return results_ + index * s_->result_size(); }

    // For each run of a branch 2^(its peak - the branch's peak) / the branch's total: factor_ (runs, lanes).
    void find_factors(Branch branch) {
        float* out = factor_;
        const int64_t lanes = s_->lanes(), count = (int64_t)runs_.size();
        for (int64_t p = 0; p < lanes; p += LANES) {
            vec peak = splat(-INFINITY), total = {};
            for (int64_t i = 0; i < count; ++i)
                if (runs_[i].branch == branch) peak = max(peak, load(result(i) + p));
            for (int64_t i = 0; i < count; ++i) {
                if (runs_[i].branch != branch) continue;
                const vec factor = exp2_approx(load(result(i) + p) - peak);
                store(out + i * lanes + p, factor);
                total += factor * load(result(i) + lanes + p);
            }
            for (int64_t i = 0; i < count; ++i)
                if (runs_[i].branch == branch) store(out + i * lanes + p, load(out + i * lanes + p) / total);
        }
        for (int64_t i = 0; i < count; ++i)  // lanes past the heads count for nothing
            if (runs_[i].branch == branch) std::fill(out + i * lanes + s_->heads(), out + (i + 1) * lanes, 0.0f);
    }

    const Step* s_;
    int64_t b_, g_, t_, entries_ = 0, first_selected_ = 0;
    std::vector<Run> runs_;
    float *queries_, *weights_, *results_, *factor_, *row_, *shares_, *importance_, *best_;
};

// Attends the runs of all units that are there and were not attended yet.
template <class F>
void attend_all(std::vector<Unit>& units, F first, const Scratch<float>& scratch, int threads) {
    std::vector<std::pair<Unit*, int64_t>> tasks;
    for (Unit& unit : units)
        for (int64_t i = first(unit); i < (int64_t)unit.runs().size(); ++i) tasks.push_back({&unit, i});
    parallel_tasks((int64_t)tasks.size(), threads, [&](int64_t task, int thread) {
        tasks[task].first->attend(tasks[task].second, scratch[thread]);
    });
}

void solve(const Step& step, int threads) {
    std::vector<Unit> units;
    for (int64_t b = 0; b < step.q->size[0]; ++b)
        for (int64_t g = 0; g < step.groups(); ++g) units.emplace_back(step, b, g);
    int64_t bytes = 0;
    for (Unit& unit : units) bytes += unit.place(nullptr);
    const Scratch<char> memory(1, bytes);
    bytes = 0;
    for (Unit& unit : units) bytes += unit.place(memory[0] + bytes);
    const Scratch<float> scratch(threads,
                                 RUN * step.lanes() + TILE * std::max(step.key_width(), step.value_width()));
    const int64_t count = (int64_t)units.size();
    parallel_tasks(count, threads, [&](int64_t unit, int) { units[unit].load_queries(); });
    attend_all(units, [](const Unit&) { return (int64_t)0; }, scratch, threads);
    parallel_tasks(count, threads, [&](int64_t unit, int) { units[unit].choose(); });
    attend_all(units, [](const Unit& unit) { return unit.first_selected(); }, scratch, threads);
    parallel_tasks(count, threads, [&](int64_t unit, int) { units[unit].finish(); });
}

}  // namespace

extern "C" int weft_native_sparse_decode(const weft::Tensor* q, const weft::Tensor* k_cmp, const weft::Tensor* v_cmp,
                                         const weft::Tensor* k_sel, const weft::Tensor* v_sel,
                                         const weft::Tensor* k_win, const weft::Tensor* v_win,
                                         const weft::Tensor* gates, const weft::Tensor* out, int32_t* lists,
                                         const int64_t* positions, const int64_t* window_positions,
                                         const int32_t* page_table, int64_t pages, int64_t compress_block,
                                         int64_t compress_stride, int64_t select_block, int64_t num_selected,
                                         int64_t window, float scale, int64_t threads) {
    return weft::guarded([&] {
        const ChoiceSizes sizes{compress_block, compress_stride, select_block, num_selected};
        const int64_t empty = compress_block / compress_stride - 1;
        const auto entries = [&](const weft::Tensor* x) { return Cache{x, page_table, pages, empty}; };
        const auto tokens = [&](const weft::Tensor* x) { return Cache{x, page_table, pages}; };
        const Step step{q, {entries(k_cmp), tokens(k_sel), {k_win}}, {entries(v_cmp), tokens(v_sel), {v_win}}, gates,
                        out, lists, positions, window_positions, sizes, window, scale};
        solve(step, (int)threads);
    });
}
