// e^x and tanh(x) as loops over floats compute them: of products and sums that are rounded one by one, so that the bits
// are the same on every CPU.
//
// x = n * ln(2) + r with n whole and |r| <= ln(2) / 2; e^x = 2^n * e^r, and e^r is its series up to r^7 / 7!, whose
// rest is smaller than a float tells. ln(2) is taken away in two parts, of which n times the first is exact.
#pragma once

#include <cstdint>

#include "../common/half.h"
#include "rounding.h"

namespace shardrun {

struct ExponentialParts {
  float power;  // 2^n
  float rest;   // e^r - 1
};

// Of |x| <= 88.
SHARDRUN_INLINE ExponentialParts SplitExponential(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  const float n = (x * kLog2E + kRoundingShift) - kRoundingShift;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float series = 1.0F / 5040;
  series = series * r + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  return {BitCast<float>((static_cast<int32_t>(n) + 127) << 23), series * r};
}

// For |x| <= 88, to within 2 units in the last place; of -88 it is 0.
SHARDRUN_INLINE float Exponential(float x) {
  const ExponentialParts parts = SplitExponential(x);
  return parts.power * (parts.rest + 1.0F);
}

// To within 4 units in the last place: -(e^-2|x| - 1) / (e^-2|x| + 1), with x's sign.
SHARDRUN_INLINE float Tanh(float x) {
  const float magnitude = BitCast<float>(BitCast<int32_t>(x) & 0x7fffffff);
  // From 10 on it is 1. A NaN that comes second is kept.
  const ExponentialParts parts = SplitExponential(-2.0F * (10.0F < magnitude ? 10.0F : magnitude));
  const float less = parts.power * parts.rest + (parts.power - 1.0F);  // e^-2|x| - 1
  const float positive = -less / (less + 2.0F);
  return BitCast<float>(BitCast<int32_t>(positive) | (BitCast<int32_t>(x) & INT32_MIN));
}

}  // namespace shardrun
