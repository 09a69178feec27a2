// The bounded spin before every wait in the kernel: peers that arrive together meet in it and save two context
// switches.
#pragma once

#include <sched.h>

#include <chrono>

namespace shardrun {

// Longer than the usual skew between ranks in a decode step, shorter than what a sleeping thread takes to wake.
inline constexpr std::chrono::microseconds kSpinTime{20};

inline void PauseCore() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spinning pays only when every rank on this host has a core of its own.
inline bool SpinPays(int ranks_on_host) {
  cpu_set_t cores;
  return sched_getaffinity(0, sizeof(cores), &cores) == 0 && CPU_COUNT(&cores) >= ranks_on_host;
}

// Polls `arrived` until it is true or the spin time is over; returns what it said last.
template <typename Arrived>
bool SpinUntil(bool spin, Arrived&& arrived) {
  if (arrived()) return true;
  if (!spin) return false;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 16; ++i) {
      PauseCore();
      if (arrived()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace shardrun
