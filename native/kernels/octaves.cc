#include "octaves.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace shardrun {

namespace {

// Values of an octave are 64 to 128 steps of this one.
constexpr int kStepBits = 6;
constexpr int kOctaveOfOne = 32;
constexpr int64_t kLargestShare = 32;

// Of a float with this exponent, as it is stored.
int OctaveOf(int exponent) {
  constexpr int kExponentOfOne = 127;
  return std::clamp(exponent - kExponentOfOne + kOctaveOfOne, 0, static_cast<int>(kOctaves) - 1);
}

float BoundOfOctave(int octave) {
  if (octave == kOctaves - 1) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0F, octave - kOctaveOfOne + 1);
}

}  // namespace

void CountOctaves(const float* x, size_t count, int32_t* octaves) {
  std::fill_n(octaves, kOctaves, 0);
  const auto top = static_cast<int>(LargestMagnitude(x, count) >> 23);
  // counts[i]: of exponent top - i and larger
  int32_t counts[kExponentCounts];
  const int32_t num_values = CountExponents(x, count, top, counts);
  int32_t counted = 0;
  for (int i = 0; i < kFurthestOctave && top - i > 0; ++i) {
    octaves[OctaveOf(top - i)] += counts[i] - counted;
    counted = counts[i];
  }
  octaves[0] += num_values - counted;
}

float RowBound(const int32_t* octaves) {
  int top = static_cast<int>(kOctaves) - 1;
  while (top > 0 && octaves[top] == 0) --top;
  return BoundOfOctave(top);
}

float RowBound(uint32_t largest_magnitude) {
  return BoundOfOctave(OctaveOf(static_cast<int>(largest_magnitude >> 23)));
}

float RowStep(const int32_t* octaves) {
  if (octaves[kOctaves - 1] != 0) return std::numeric_limits<float>::quiet_NaN();
  int64_t num_values = 0;
  int top = 0;
  for (int i = 0; i < static_cast<int>(kOctaves); ++i) {
    num_values += octaves[i];
    if (octaves[i] != 0) top = i;
  }
  if (top == 0) return 0;
  int octave = top;
  int64_t num_above = octaves[top];
  while (octave > 1 && octave > top - kFurthestOctave && num_above * kLargestShare <= num_values) {
    num_above += octaves[--octave];
  }
  return std::ldexp(1.0F, octave - kOctaveOfOne - kStepBits);
}

}  // namespace shardrun
