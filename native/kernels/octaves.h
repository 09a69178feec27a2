// How the values of a row are spread over the powers of two, and what follows from that: the step in which a product of
// 8 bits rounds them, and the bound from which a product of 4 bits has the unit of its sums (products.h).
//
// Some features of a model are a hundred times as large as the rest, so a step that lets the largest value fit into 8
// bits rounds all others coarsely. Here the step lets all but the largest 1/32 of the row's values fit; what does not
// fit gets a second part (quantised_rows.h).
//
// The step follows from counts alone. Where a row is spread over ranks, these add up their counts and find the step
// that one rank would have found: integer sums have no order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rounding.h"

namespace shardrun {

// Octave i has the values 2^(i - 32) <= |x| < 2^(i - 31). The first also has all smaller ones but 0, and whatever is
// kFurthestOctave or more octaves below the row's largest value; the last all larger ones, and what is no number.
inline constexpr size_t kOctaves = 64;

// How far below the largest value's octave the step may be chosen: parts of 8 bits hold 15.
inline constexpr int kFurthestOctave = kExponentCounts;

// How many of x[0 .. count) lie in each octave. octaves: [kOctaves]
void CountOctaves(const float* x, size_t count, int32_t* octaves);

// A power of two, of which all but 1/32 of the counted values are at most 128; none is more than 2^14. 0 when all are
// smaller than 2^-31; NaN when one is 2^31, infinite or no number.
float RowStep(const int32_t* octaves);

// A power of two that is above all counted values; NaN when one is 2^31, infinite or no number.
float RowBound(const int32_t* octaves);
// The same of values of which the largest has these bits.
float RowBound(uint32_t largest_magnitude);

}  // namespace shardrun
