// How kernels spread their work: over whatever threads the caller has.
#pragma once

#include <cstddef>
#include <functional>

namespace shardrun {

class Threads {
 public:
  virtual ~Threads() = default;
  // How many may work at once.
  virtual int count() const = 0;
  // Calls body(0) ... body(num_tasks - 1), each once, in any order, and returns when all are done.
  virtual void Run(size_t num_tasks, const std::function<void(size_t)>& body) = 0;
};

// Threads that live for one Run.
class OwnThreads : public Threads {
 public:
  explicit OwnThreads(int count) : count_(count) {}
  int count() const override { return count_; }
  void Run(size_t num_tasks, const std::function<void(size_t)>& body) override;

 private:
  const int count_;
};

// threads->Run, without waking anybody where one thread does it all.
void RunTasks(size_t num_tasks, Threads* threads, const std::function<void(size_t)>& body);

// Calls body(row) for each of num_rows rows of row_values numbers, as many rows to a task as are worth waking a thread.
void RunRows(size_t num_rows, size_t row_values, Threads* threads, const std::function<void(size_t)>& body);

}  // namespace shardrun
