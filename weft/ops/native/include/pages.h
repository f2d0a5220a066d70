// Requests about memory that the kernels are going to use. None of them changes a result.
#pragma once
#include <cstdint>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace weft {

// Asks for large pages where memory was not touched yet: fewer faults, and fewer misses of the address cache when rows
// are met out of order. The system may refuse.
inline void prefer_large_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t PAGE = (uintptr_t)2 << 20;
    const uintptr_t begin = ((uintptr_t)data + PAGE - 1) / PAGE * PAGE, end = ((uintptr_t)data + bytes) / PAGE * PAGE;
    if (end > begin) madvise((void*)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)data, (void)bytes;
#endif
}

// Fetches memory into the second-level cache piece by piece, while something else is computed.
class Ahead {
   public:
    void point(const void* data, int64_t bytes) {
        at_ = static_cast<const char*>(data);
        end_ = at_ + bytes;
    }
    void fetch(int64_t bytes) {
        const char* stop = end_ - at_ < bytes ? end_ : at_ + bytes;
        for (; at_ < stop; at_ += 64) __builtin_prefetch(at_, 0, 2);
    }

   private:
    const char *at_ = nullptr, *end_ = nullptr;
};

}  // namespace weft
