// The pool of a session as the threads of a kernel that computes in one of its runs.
#pragma once

#include "../kernels/parallel.h"
#include "runtime.h"

namespace shardrun::ort {

class SessionThreads : public Threads {
 public:
  SessionThreads(int count, const KernelContext* context) : count_(count), context_(context) {}
  int count() const override { return count_; }
  void Run(size_t num_tasks, const std::function<void(size_t)>& body) override {
    const auto call = [](void* data, size_t task) { (*static_cast<const std::function<void(size_t)>*>(data))(task); };
    Check(GetApi().KernelContext_ParallelFor(context_, call, num_tasks, 0,
                                             const_cast<void*>(static_cast<const void*>(&body))),
          "Sharing a kernel's work among threads failed");
  }

 private:
  const int count_;
  const KernelContext* const context_;
};

}  // namespace shardrun::ort
