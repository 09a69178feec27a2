// Ends a communicator's waits from any thread, with a message; raised at most once, never lowered.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "file_descriptor.h"
#include "types.h"

namespace shardrun {

class AbortFlag {
 public:
  AbortFlag();

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
  std::atomic<bool> raised_{false};
  FileDescriptor event_;
  mutable std::mutex mutex_;
  std::string message_;
  int peer_ = -1;
  std::function<void()> wake_;
};

// Flags that are raised together: those that it has made, and those that it still makes.
class AbortGroup {
 public:
  std::shared_ptr<AbortFlag> CreateFlag();
  // The first message stays.
  void Raise(const std::string& message, int peer);

 private:
  struct Cause {
    std::string message;
    int peer;
  };

  std::mutex mutex_;
  std::optional<Cause> cause_;
  std::vector<std::weak_ptr<AbortFlag>> flags_;
};

}  // namespace shardrun
