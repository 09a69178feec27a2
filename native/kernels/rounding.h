// The two loops over floats that quantising consists of, for whatever the CPU is: the same results everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shardrun {

// The largest of the bit patterns of x[0 .. count) without their signs: as unsigned integers, the magnitudes of floats
// are in the order of the floats, and NaNs are above all.
uint32_t LargestMagnitude(const float* x, size_t count);

// out = x * factor rounded to the nearest, ties to even; |x * factor| < 128. Returns the sum of out.
int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out);

}  // namespace shardrun
