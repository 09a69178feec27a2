#include "task_thread.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace shardrun {

struct TaskThread::Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  bool closed = false;
};

TaskThread::TaskThread(const std::string& name) : queue_(std::make_shared<Queue>()) {
  thread_ = std::thread([queue = queue_, name = name.substr(0, 15)] {
    pthread_setname_np(pthread_self(), name.c_str());
    Run(*queue);
  });
}

TaskThread::~TaskThread() {
  Close();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

bool TaskThread::Post(std::function<void()> task) {
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    if (queue_->closed) return false;
    queue_->tasks.push_back(std::move(task));
  }
  queue_->changed.notify_one();
  return true;
}

void TaskThread::Close() {
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    queue_->closed = true;
  }
  queue_->changed.notify_one();
}

void TaskThread::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    queue_->closed = true;
    dropped.swap(queue_->tasks);
  }
  queue_->changed.notify_one();
  if (thread_.joinable()) thread_.join();
}

void TaskThread::Run(Queue& queue) {
  std::unique_lock<std::mutex> lock(queue.mutex);
  while (true) {
    queue.changed.wait(lock, [&] { return queue.closed || !queue.tasks.empty(); });
    if (queue.tasks.empty()) return;
    {
      const std::function<void()> task = std::move(queue.tasks.front());
      queue.tasks.pop_front();
      lock.unlock();
      task();
    }
    lock.lock();
  }
}

}  // namespace shardrun
