#include "largest.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "../common/half.h"
#include "../common/instruction_sets.h"

namespace shardrun {

namespace {

// Few enough to look through one after the other, many enough to make the others quick.
constexpr size_t kBlockValues = 512;

struct Extremes {
  int32_t order;      // of the largest value, in the order of floats
  int32_t magnitude;  // the largest without its sign: a NaN's is above infinity's
};

// The bits of floats as integers: those of negative ones run the other way. Maxima of integers are taken many at a
// time.
SHARDRUN_INLINE int32_t OrderOf(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

SHARDRUN_PER_INSTRUCTION_SET Extremes FindExtremes(const float* values, size_t count) {
  int32_t order = std::numeric_limits<int32_t>::min();
  int32_t magnitude = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto bits = BitCast<int32_t>(values[i]);
    order = std::max(order, OrderOf(bits));
    magnitude = std::max(magnitude, bits & 0x7fffffff);
  }
  return {order, magnitude};
}

}  // namespace

Largest FindLargest(const float* values, size_t count) {
  constexpr int32_t kInfinity = 0x7f800000;
  size_t best_block = 0;
  float value = -std::numeric_limits<float>::infinity();
  for (size_t begin = 0; begin < count; begin += kBlockValues) {
    const Extremes extremes = FindExtremes(values + begin, std::min(kBlockValues, count - begin));
    if (extremes.magnitude > kInfinity) return {begin, std::numeric_limits<float>::quiet_NaN()};
    const auto largest = BitCast<float>(OrderOf(extremes.order));
    if (largest > value) {
      best_block = begin;
      value = largest;
    }
  }
  // as a float: 0 and -0 are equal
  const float* end = values + std::min(count, best_block + kBlockValues);
  return {static_cast<size_t>(std::find(values + best_block, end, value) - values), value};
}

}  // namespace shardrun
