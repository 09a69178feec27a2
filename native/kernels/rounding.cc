#include "rounding.h"

#include <algorithm>
#include <cstring>

#include "intrinsics.h"

namespace shardrun {

namespace {

uint32_t PlainLargestMagnitude(const float* x, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t magnitude;
    std::memcpy(&magnitude, x + i, sizeof(magnitude));
    largest = std::max(largest, magnitude & 0x7fffffff);
  }
  return largest;
}

// Adding 1.5 * 2^23 leaves no room for a fraction: the sum is rounded to a whole number, which its lowest bits are.
int32_t PlainRoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  constexpr float kShift = 12582912.0F;
  int32_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const float shifted = x[i] * factor + kShift;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    out[i] = static_cast<int8_t>(bits & 0xff);
    sum += out[i];
  }
  return sum;
}

#if defined(__x86_64__)

#define SHARDRUN_AVX512_ONLY __attribute__((target("avx512f,avx512bw,avx512vl")))
constexpr size_t kLanes = 16;

bool HasAvx512() {
  static const bool has =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return has;
}

// Of the lanes from i on, those before count.
__mmask16 MaskOf(size_t i, size_t count) {
  return static_cast<__mmask16>(count - i >= kLanes ? 0xffff : (1U << (count - i)) - 1);
}

SHARDRUN_AVX512_ONLY uint32_t Avx512LargestMagnitude(const float* x, size_t count) {
  __m512i largest = _mm512_setzero_si512();
  for (size_t i = 0; i < count; i += kLanes) {
    const __m512i bits = _mm512_maskz_loadu_epi32(MaskOf(i, count), x + i);
    largest = _mm512_max_epu32(largest, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  return _mm512_reduce_max_epu32(largest);
}

SHARDRUN_AVX512_ONLY int32_t Avx512RoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  __m512i sums = _mm512_setzero_si512();
  for (size_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = MaskOf(i, count);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(factor));
    const __m512i rounded = _mm512_cvtps_epi32(scaled);
    sums = _mm512_add_epi32(sums, rounded);
    _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(rounded));
  }
  return _mm512_reduce_add_epi32(sums);
}

#endif

}  // namespace

#if defined(__x86_64__)

uint32_t LargestMagnitude(const float* x, size_t count) {
  return HasAvx512() ? Avx512LargestMagnitude(x, count) : PlainLargestMagnitude(x, count);
}

int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  return HasAvx512() ? Avx512RoundToInt8(x, count, factor, out) : PlainRoundToInt8(x, count, factor, out);
}

#else

uint32_t LargestMagnitude(const float* x, size_t count) { return PlainLargestMagnitude(x, count); }

int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  return PlainRoundToInt8(x, count, factor, out);
}

#endif

}  // namespace shardrun
