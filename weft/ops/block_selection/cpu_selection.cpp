// Block selection, alone or from the same pass over the scores as the attention over compressed blocks.
#include "tile.h"

namespace {

using namespace weft;
using namespace weft::selection;

void solve(const Problem& p, int threads) {
    const Packed packed(p);
    {
        const Scratch<float> rows(threads, CHUNK * p.key_width());
        parallel_tasks(p.batch() * p.groups() * p.chunks(), threads, [&](int64_t task, int thread) {
            const int64_t c = task % p.chunks(), bg = task / p.chunks();
            packed.fill(p, bg / p.groups(), bg % p.groups(), c, rows[thread]);
        });
    }
    const int64_t bytes = Tile(p, packed, nullptr).bytes();
    const Scratch<char> memory(threads, bytes);
    const int64_t tiles = (p.tokens() + p.tile_tokens() - 1) / p.tile_tokens();
    parallel_tasks(p.batch() * p.groups() * tiles, threads, [&](int64_t task, int thread) {
        const int64_t bg = task / tiles, tile = tiles - 1 - task % tiles;  // the long ones first
        Tile(p, packed, memory[thread]).run(bg / p.groups(), bg % p.groups(), tile * p.tile_tokens());
    });
}

}  // namespace

// Lists (B, T, G, n) from q, compressed keys and the log-sum-exp of the attention over them.
extern "C" int weft_block_selection(const weft::Tensor* q, const weft::Tensor* k, const float* lse, int32_t* lists,
                                    const int32_t* ranges, const int64_t* positions, int64_t compress_block,
                                    int64_t compress_stride, int64_t select_block, int64_t num_selected, float scale,
                                    int64_t threads) {
    return weft::guarded([&] {
        const ChoiceSizes sizes{compress_block, compress_stride, select_block, num_selected};
        solve({q, k, nullptr, nullptr, lse, nullptr, lists, ranges, positions, sizes, scale}, (int)threads);
    });
}

// Attention over compressed blocks, its log-sum-exp, and the lists.
extern "C" int weft_compressed_choice(const weft::Tensor* q, const weft::Tensor* k, const weft::Tensor* v,
                                      const weft::Tensor* out, float* lse, int32_t* lists, const int32_t* ranges,
                                      const int64_t* positions, int64_t compress_block, int64_t compress_stride,
                                      int64_t select_block, int64_t num_selected, float scale, int64_t threads) {
    return weft::guarded([&] {
        const ChoiceSizes sizes{compress_block, compress_stride, select_block, num_selected};
        solve({q, k, v, out, nullptr, lse, lists, ranges, positions, sizes, scale}, (int)threads);
    });
}
