// How the quantised products of x86-64 ask memory for weights before they use them.
#pragma once

#include "packed_weight.h"

#if defined(__x86_64__)

#include "intrinsics.h"

namespace shardrun {

// How far ahead of its use a weight is asked for: the time that memory takes at the rate at which a core reads, and
// what passes between two tiles.
inline constexpr size_t kAheadBytes = 4096;

// Asks for a block's share of a tile of 4 bits: its groups, scales and minima. A tile is asked for from front to back,
// not in the three stretches in which it is used: a processor reads ahead by itself along a single one.
__attribute__((always_inline)) inline void PrefetchBlock(const uint8_t* tile, size_t block, size_t share_bytes) {
  constexpr size_t kMostBytes = kRowBlock * kTileOutputs / 2 + 2 * kTileOutputs * sizeof(uint16_t);
  const uint8_t* share = tile + block * share_bytes + kAheadBytes;
  SHARDRUN_UNROLL
  for (size_t i = 0; i < kMostBytes; i += kGroupBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(share + i), _MM_HINT_T0);
  }
}

}  // namespace shardrun

#endif
