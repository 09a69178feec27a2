// When a call must have ended: a point in time, or never.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace shardrun {

class Deadline {
 public:
  // timeout_ms 0: never.
  explicit Deadline(int64_t timeout_ms) : start_(Clock::now()), timeout_ms_(timeout_ms) {}

  bool Passed() const { return timeout_ms_ > 0 && ElapsedMs() >= timeout_ms_; }
  int64_t ElapsedMs() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start_).count();
  }
  // Milliseconds to wait in the kernel before looking at the deadline again, at most `longest_ms`.
  int WaitMs(int longest_ms) const {
    if (timeout_ms_ == 0) return longest_ms;
    return static_cast<int>(std::clamp<int64_t>(timeout_ms_ - ElapsedMs(), 0, longest_ms));
  }
  int64_t timeout_ms() const { return timeout_ms_; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
  int64_t timeout_ms_;
};

}  // namespace shardrun
