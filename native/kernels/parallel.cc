#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace shardrun {

namespace {

// Numbers that are worth waking another thread.
constexpr size_t kTaskValues = 16384;

}  // namespace

void OwnThreads::Run(size_t num_tasks, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t task = next++; task < num_tasks; task = next++) body(task);
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(static_cast<size_t>(count_), num_tasks); ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

void RunTasks(size_t num_tasks, Threads* threads, const std::function<void(size_t)>& body) {
  if (threads->count() > 1 && num_tasks > 1) return threads->Run(num_tasks, body);
  for (size_t task = 0; task < num_tasks; ++task) body(task);
}

void RunRows(size_t num_rows, size_t row_values, Threads* threads, const std::function<void(size_t)>& body) {
  const size_t rows_per_task = std::max<size_t>(1, kTaskValues / std::max<size_t>(1, row_values));
  const size_t num_tasks = (num_rows + rows_per_task - 1) / rows_per_task;
  const auto run = [&](size_t task) {
    for (size_t row = task * rows_per_task; row < std::min(num_rows, (task + 1) * rows_per_task); ++row) body(row);
  };
  RunTasks(num_tasks, threads, run);
}

}  // namespace shardrun
