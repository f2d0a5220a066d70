// Tasks over OpenMP threads, scratch memory for each thread, and errors as status codes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace weft {

constexpr int OK = 0;
constexpr int OUT_OF_MEMORY = 1;

// body(task, thread) for every task; a thread takes the next task when it is free. What a task computes must depend on
// nothing but its index, so that results are the same to the bit whatever the number of threads and their pace.
// `body` must not throw: allocate before.
template <class F>
void parallel_tasks(int64_t tasks, int threads, F body) {
#if defined(_OPENMP)
    if (threads > 1 && tasks > 1) {
        const int team = tasks < threads ? (int)tasks : threads;
#pragma omp parallel num_threads(team)
        {
            const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1)
            for (int64_t task = 0; task < tasks; ++task) body(task, thread);
        }
        return;
    }
#endif
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
}

// `count` numbers of type T for each thread, uninitialised, each thread's on cache lines of its own.
template <class T>
class Scratch {
   public:
    Scratch(int threads, int64_t count) {
        stride_ = (count * (int64_t)sizeof(T) + 127) / 64 * 64;
        data_ = static_cast<char*>(std::aligned_alloc(64, (size_t)(stride_ * (threads > 0 ? threads : 1))));
        if (!data_) throw std::bad_alloc();
    }
    ~Scratch() { std::free(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    T* operator[](int thread) const { return reinterpret_cast<T*>(data_ + stride_ * thread); }

   private:
    char* data_;
    int64_t stride_;
};

// Hands out aligned pieces of a thread's scratch; `Carver(nullptr)` only counts, to learn how much is needed.
class Carver {
   public:
    explicit Carver(void* base) : base_(static_cast<char*>(base)) {}
    template <class T>
    T* take(int64_t count) {
        char* at = base_ ? base_ + used_ : nullptr;
        used_ += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
        return reinterpret_cast<T*>(at);
    }
    int64_t bytes() const { return used_; }

   private:
    char* base_;
    int64_t used_ = 0;
};

// Runs an entry point's body: no C++ exception may pass through its C interface.
template <class F>
int guarded(F body) {
    try {
        body();
    } catch (const std::bad_alloc&) {
        return OUT_OF_MEMORY;
    }
    return OK;
}

}  // namespace weft
