// The loops over floats that quantising consists of, for whatever the CPU is: the same results everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packed_weight.h"

namespace shardrun {

// 1.5 * 2^23. A sum with it has no room for a fraction: a number is rounded to a whole one, ties to even, which the
// lowest bits of the sum are.
inline constexpr float kRoundingShift = 12582912.0F;
inline constexpr uint32_t kRoundingShiftBits = 0x4b400000;

// The largest of the bit patterns of x[0 .. count) without their signs: as unsigned integers, the magnitudes of floats
// are in the order of the floats, and NaNs are above all.
uint32_t LargestMagnitude(const float* x, size_t count);

// The same of a block of kRowBlock values, and of those of its groups that have not the largest; of all if two have it.
struct BlockMagnitudes {
  uint32_t largest;
  uint32_t others;
};
BlockMagnitudes LargestMagnitudes(const float* x);

// out = x * factor rounded to the nearest, ties to even; |x * factor| < 128. Returns the sum of out.
int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out);

// counts[i] = how many of x have exponent top - i or a larger one, as floats store it, those of 0 (zeros, and what is
// next to it) never. Returns how many have another exponent. counts: [kExponentCounts]
inline constexpr int kExponentCounts = 7;
int32_t CountExponents(const float* x, size_t count, int top, int32_t* counts);

// The second parts of kGroupInputs values.
struct HighGroup {
  uint32_t group;  // of the row's
  int8_t values[kGroupInputs];
};
// What a step of a second part is worth, in steps of the first: so both parts are -127 .. 127.
inline constexpr int32_t kHighStep = 255;

// low + kHighStep * high = x * factor rounded to the nearest, ties to even; |x * factor| <= kLargestRounded. Most have
// no second part; high: the groups in which one has, in order, at most count / kGroupInputs rounded up.
inline constexpr float kLargestRounded = 1 << 14;
struct RoundedParts {
  int32_t sum;  // of low + kHighStep * high
  size_t num_high;
};
RoundedParts RoundToParts(const float* x, size_t count, float factor, int8_t* low, HighGroup* high);

}  // namespace shardrun
