// One thread that runs tasks one after the other, in the order in which they were posted.
//
// A communicator owns one: its collectives, and the sessions bound to it, never overlap and never run on libuv's pool.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace shardrun {

class TaskThread {
 public:
  // `name` is what debuggers and `ps -L` show; at most 15 characters of it.
  explicit TaskThread(const std::string& name);
  // Runs what was posted, then ends the thread.
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  // False, and the task is dropped, after Close.
  bool Post(std::function<void()> task);
  // Accepts no more tasks; those already posted still run. Does not wait for them.
  void Close();
  // Drops the tasks that have not begun, waits for the one under way, ends the thread. Not from a task.
  void Stop();

 private:
  struct Queue;
  static void Run(Queue& queue);
  static void AwaitNext(Queue& queue, std::unique_lock<std::mutex>* lock);

  // Shared with the thread, which may outlive this object when the last reference falls inside a task.
  std::shared_ptr<Queue> queue_;
  std::thread thread_;
};

}  // namespace shardrun
