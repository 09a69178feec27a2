// Where the chunks of a message lie: one per rank, or per host.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "../transport/transport.h"

namespace shardrun {

// Chunk `index` of `count` elements over `num_chunks` ranks or hosts: sizes differ by one at most.
inline Range EvenChunk(size_t count, size_t num_chunks, size_t index, size_t element_bytes) {
  const size_t first = count * index / num_chunks;
  const size_t last = count * (index + 1) / num_chunks;
  return {first * element_bytes, (last - first) * element_bytes};
}

inline Range Intersection(const Range& a, const Range& b) {
  const size_t first = std::max(a.offset, b.offset);
  const size_t last = std::min(a.offset + a.bytes, b.offset + b.bytes);
  return {first, last - std::min(first, last)};
}

inline uint8_t* At(void* data, size_t offset) { return static_cast<uint8_t*>(data) + offset; }
inline const uint8_t* At(const void* data, size_t offset) { return static_cast<const uint8_t*>(data) + offset; }

}  // namespace shardrun
