#include "task_thread.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
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
  std::atomic<bool> has_news = false;  // a task, or closed, since the last look

  void Tell() {
    has_news.store(true, std::memory_order_release);
    changed.notify_one();
  }
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
  queue_->Tell();
  return true;
}

void TaskThread::Close() {
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    queue_->closed = true;
  }
  queue_->Tell();
}

void TaskThread::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard<std::mutex> lock(queue_->mutex);
    queue_->closed = true;
    dropped.swap(queue_->tasks);
  }
  queue_->Tell();
  if (thread_.joinable()) thread_.join();
}

// What a task leads to in JavaScript is often another task, some tens of microseconds later. Until then the core is
// kept awake and offered to whoever can run, above all to the thread that runs JavaScript: waking up a core costs more
// than that.
void TaskThread::AwaitNext(Queue& queue, std::unique_lock<std::mutex>* lock) {
  constexpr std::chrono::microseconds kOfferTime{200};
  queue.has_news.store(false, std::memory_order_relaxed);
  lock->unlock();
  const auto end = std::chrono::steady_clock::now() + kOfferTime;
  while (!queue.has_news.load(std::memory_order_acquire) && std::chrono::steady_clock::now() < end) sched_yield();
  lock->lock();
}

void TaskThread::Run(Queue& queue) {
  std::unique_lock<std::mutex> lock(queue.mutex);
  while (true) {
    if (queue.tasks.empty() && !queue.closed) AwaitNext(queue, &lock);
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
