// TaskThread: order, closing, stopping, and the last reference falling inside a task.
#include "../../native/common/task_thread.h"

#include <atomic>
#include <chrono>
#include <future>
#include <vector>

#include "check.h"

namespace shardrun {

TEST("TaskThread: tasks run in order, all of them before the destructor returns") {
  std::vector<int> seen;
  {
    TaskThread thread("test");
    for (int i = 0; i < 100; ++i) CHECK(thread.Post([&seen, i] { seen.push_back(i); }));
  }
  CHECK_EQUAL(seen.size(), size_t{100});
  for (int i = 0; i < 100; ++i) CHECK_EQUAL(seen[i], i);
}

TEST("TaskThread: Close refuses later tasks and runs the earlier ones") {
  std::promise<void> go;
  std::atomic<int> num_run{0};
  {
    TaskThread thread("test");
    thread.Post([&] { go.get_future().wait(); });
    thread.Post([&] { ++num_run; });
    thread.Close();
    CHECK(!thread.Post([&] { ++num_run; }));
    go.set_value();
  }
  CHECK_EQUAL(num_run.load(), 1);
}

TEST("TaskThread: Stop waits for the task under way and drops the others") {
  std::promise<void> begun;
  std::atomic<bool> ended{false};
  std::atomic<int> num_run{0};
  TaskThread thread("test");
  thread.Post([&] {
    begun.set_value();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ended = true;
  });
  thread.Post([&] { ++num_run; });
  begun.get_future().wait();
  thread.Stop();
  CHECK(ended);
  CHECK_EQUAL(num_run.load(), 0);
}

TEST("TaskThread: the last reference may fall inside a task") {
  std::promise<void> done;
  auto thread = std::make_shared<TaskThread>("test");
  TaskThread& same = *thread;
  std::promise<void> released;
  same.Post([thread = std::move(thread), &released, &done]() mutable {
    released.get_future().wait();
    thread.reset();
    done.set_value();
  });
  released.set_value();
  done.get_future().wait();
}

}  // namespace shardrun

int main() { return check::RunAll(); }
