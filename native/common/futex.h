// Sleep on a word of memory until another thread, or a process that shares the memory, wakes the sleepers.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

namespace shardrun {

// Returns when woken, when the word no longer holds `value`, or after timeout_ms; the caller looks again at what it
// waits for.
inline void FutexWait(std::atomic<uint32_t>& word, uint32_t value, int timeout_ms) {
  const timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &timeout, nullptr, 0);
}

inline void FutexWakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace shardrun
