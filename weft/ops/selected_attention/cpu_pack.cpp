// Copies of the chosen blocks' keys and values. What no query may see is not read.
#include "cpu_pack.h"

#include <vector>

#include "../native/include/gemm.h"

namespace weft {
namespace {

constexpr int64_t RUN = 64;  // blocks of a task

void fill_panel(float* out, const Tensor& x, int64_t b, int64_t g, int64_t first, int64_t last, int64_t columns,
                float factor, float* scratch) {
    const int64_t D = x.size[3];
    for (int64_t chunk = 0; chunk < columns; chunk += CHUNK) {
        const int64_t width = columns - chunk < CHUNK ? columns - chunk : CHUNK;
        for (int64_t i = 0; i < width; ++i) {
            const int64_t key = first + chunk + i;
            float* row = scratch + i * D;
            if (key < last)
                x.read(row, b, key, g, D);
            for (int64_t d = 0; d < D; ++d) row[d] = key < last ? row[d] * factor : 0.0f;
        }
        transpose(out + D * chunk, width, scratch, D, (int)width, (int)D);
    }
}

void fill_rows(const Rows& out, const Tensor& x, int64_t b, int64_t g, int64_t first, int64_t last) {
    const int64_t D = x.size[3];
    for (int64_t key = first; key < last; ++key) {
        float* row = out.at(b, g, key);
        x.read(row, b, key, g, D);
        for (int64_t d = D; d < out.stride; ++d) row[d] = 0.0f;
    }
}

}  // namespace

void pack(const Packing& packing, const Lists& lists, int threads) {
    const int64_t J = lists.blocks, groups = lists.groups, runs = (J + RUN - 1) / RUN;
    std::vector<uint8_t> chosen(lists.batch * groups * J, 0);
    parallel_tasks(lists.batch * groups, threads, [&](int64_t task, int) {
        const int64_t b = task / groups, g = task % groups;
        for (int64_t t = 0; t < lists.queries; ++t)
            for (int64_t slot = 0; slot < lists.slots; ++slot) {
                const int64_t block = lists.block(b, t, g, slot);
                if (block >= 0) chosen[task * J + block] = 1;
            }
    });
    const int64_t Dk = packing.k->size[3], Dv = packing.v->size[3];
    Scratch<float> scratch(threads, CHUNK * (Dk > Dv ? Dk : Dv));
    parallel_tasks(lists.batch * groups * runs, threads, [&](int64_t task, int thread) {
        const int64_t pair = task / runs, b = pair / groups, g = pair % groups, begin = task % runs * RUN;
        for (int64_t j = begin; j < begin + RUN && j < J; ++j) {
            if (!chosen[pair * J + j]) continue;
            const int64_t first = lists.firsts[j], last = lists.last(b, j);
            const int64_t columns = lists.panels[j + 1] - lists.panels[j];
            if (packing.k_panels)
                fill_panel(packing.k_panels->block(b, g, j), *packing.k, b, g, first, last, columns, packing.k_factor,
                           scratch[thread]);
            if (packing.v_panels)
                fill_panel(packing.v_panels->block(b, g, j), *packing.v, b, g, first, last, columns, 1.0f,
                           scratch[thread]);
            if (packing.k_rows) fill_rows(*packing.k_rows, *packing.k, b, g, first, last);
            if (packing.v_rows) fill_rows(*packing.v_rows, *packing.v, b, g, first, last);
        }
    });
}

}  // namespace weft
