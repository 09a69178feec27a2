// Ends a communicator's waits from any thread, with a message; raised at most once, never lowered.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "file_descriptor.h"
#include "types.h"

namespace shardrun {

class AbortFlag {
 public:
  // A flag that AbortAll reaches as long as it lives.
  static std::shared_ptr<AbortFlag> Create();

  // The first message stays. `peer` is the rank that caused it, or -1.
  void Raise(const std::string& message, int peer);
  bool raised() const { return raised_.load(std::memory_order_acquire); }
  // Readable once raised, for poll().
  int fd() const { return event_.get(); }
  // Error(kCollective) with the message of Raise. Only once raised.
  Error error() const;
  // Calls `wake` when the flag is raised (at once if it is); an empty function takes it back. For waits without poll().
  void OnRaise(std::function<void()> wake);

 private:
  AbortFlag();

  std::atomic<bool> raised_{false};
  FileDescriptor event_;
  mutable std::mutex mutex_;
  std::string message_;
  int peer_ = -1;
  std::function<void()> wake_;
};

// Raises every flag of this process.
void AbortAll(const std::string& message, int peer);

}  // namespace shardrun
