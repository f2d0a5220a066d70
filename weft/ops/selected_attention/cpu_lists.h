// Who reads which block: the lists of a call, and the queries of a tile sorted by the blocks they chose.
//
// Legend: B batch, Tq queries, Tk keys, G groups, n slots of a list, J blocks of the key axis, those of all documents
// counted through. A block's keys lie side by side on the key axis.
#pragma once
#include <cstdint>

#include "../native/include/parallel.h"

namespace weft {

// Mirrored by `CLists` of cpu.py. All arrays are contiguous.
struct Lists {
    const int32_t* chosen;  // (B, Tq, G, n), counted from the document's first block; below 0: nothing
    const int64_t* ends;    // (B, Tq), the query sees keys before this one only
    const int64_t* bases;   // (B, Tq), the first block of the query's document
    const int64_t* firsts;  // (J), a block's first key
    const int64_t* lasts;   // (B, J), the key after a block's last that any query may see
    const int64_t* panels;  // (J + 1), where a block begins if each is filled up to whole vectors
    int64_t batch, queries, groups, slots, blocks;

    // The block in a slot of a query's list, -1 if the query sees nothing of it or an earlier slot names it too.
    int64_t block(int64_t b, int64_t t, int64_t g, int64_t slot) const {
        const int64_t query = b * queries + t;
        const int32_t* list = chosen + (query * groups + g) * slots;
        const int32_t listed = list[slot];
        if (listed < 0) return -1;
        for (int64_t earlier = slot; earlier-- > 0;)
            if (list[earlier] == listed) return -1;
        const int64_t block = bases[query] + listed;
        return block < blocks && firsts[block] < ends[query] ? block : -1;
    }
    int64_t last(int64_t b, int64_t block) const { return lasts[b * blocks + block]; }
};

// Queries [t0, t1) of one batch row and group by block, in rising order, by a counting sort.
class Buckets {
   public:
    Buckets(Carver& memory, int64_t tile, int64_t slots, int64_t blocks)
        : begins_(memory.take<int32_t>(blocks + 1)), queries_(memory.take<int32_t>(tile * slots)) {}

    void sort(const Lists& lists, int64_t b, int64_t g, int64_t t0, int64_t t1) {
        first_ = lists.blocks;
        end_ = 0;
        each(lists, b, g, t0, t1, [&](int64_t, int64_t block) {
            first_ = block < first_ ? block : first_;
            end_ = block >= end_ ? block + 1 : end_;
        });
        if (end_ <= first_) return;
        for (int64_t j = first_; j <= end_; ++j) begins_[j] = 0;
        each(lists, b, g, t0, t1, [&](int64_t, int64_t block) { ++begins_[block]; });
        int32_t sum = 0;  // begins_[j] becomes the end of bucket j, and sinks to its beginning as it is filled
        for (int64_t j = first_; j <= end_; ++j) begins_[j] = sum += begins_[j];
        for (int64_t t = t1; t-- > t0;)
            for (int64_t slot = lists.slots; slot-- > 0;) {
                const int64_t block = lists.block(b, t, g, slot);
                if (block >= 0) queries_[--begins_[block]] = (int32_t)(t - t0);
            }
    }

    // body(block, queries of the tile counted from 0, how many): for every block that somebody chose.
    template <class F>
    void for_each(F body) const {
        for (int64_t j = first_; j < end_; ++j)
            if (begins_[j + 1] > begins_[j]) body(j, queries_ + begins_[j], begins_[j + 1] - begins_[j]);
    }

    // The next block after j that somebody chose, j itself if there is none.
    int64_t next(int64_t j) const {
        for (int64_t i = j + 1; i < end_; ++i)
            if (begins_[i + 1] > begins_[i]) return i;
        return j;
    }

   private:
    template <class F>
    static void each(const Lists& lists, int64_t b, int64_t g, int64_t t0, int64_t t1, F body) {
        for (int64_t t = t0; t < t1; ++t)
            for (int64_t slot = 0; slot < lists.slots; ++slot) {
                const int64_t block = lists.block(b, t, g, slot);
                if (block >= 0) body(t, block);
            }
    }

    int32_t* begins_;
    int32_t* queries_;
    int64_t first_ = 0, end_ = 0;
};

}  // namespace weft
