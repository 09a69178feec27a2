#include "rounding.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "intrinsics.h"

namespace shardrun {

namespace {

// Of the first of two parts.
constexpr int32_t kLargestLow = kHighStep / 2;

uint32_t PlainLargestMagnitude(const float* x, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t magnitude;
    std::memcpy(&magnitude, x + i, sizeof(magnitude));
    largest = std::max(largest, magnitude & 0x7fffffff);
  }
  return largest;
}

BlockMagnitudes PlainLargestMagnitudes(const float* x) {
  BlockMagnitudes magnitudes = {0, 0};
  for (size_t group = 0; group < kBlockGroups; ++group) {
    const uint32_t of_group = PlainLargestMagnitude(x + group * kGroupInputs, kGroupInputs);
    magnitudes.others = std::max(magnitudes.others, std::min(magnitudes.largest, of_group));
    magnitudes.largest = std::max(magnitudes.largest, of_group);
  }
  return magnitudes;
}

int32_t PlainRound(float x) {
  const float shifted = x + kRoundingShift;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  return static_cast<int32_t>(bits - kRoundingShiftBits);
}

int32_t PlainRoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  int32_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<int8_t>(PlainRound(x[i] * factor));
    sum += out[i];
  }
  return sum;
}

int32_t PlainCountExponents(const float* x, size_t count, int top, int32_t* counts) {
  std::fill_n(counts, kExponentCounts, 0);
  int32_t num_values = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    const auto exponent = static_cast<int>(bits >> 23 & 0xff);
    if (exponent == 0) continue;
    ++num_values;
    for (int below = top - exponent; below < kExponentCounts; ++below) ++counts[below];
  }
  return num_values;
}

// Divides value i into two parts, of which the second goes to the groups. Returns the first.
int8_t SplitValue(int32_t value, size_t i, HighGroup* high, size_t* num_high) {
  const int32_t part = (value + (value > 0 ? kLargestLow : -kLargestLow)) / kHighStep;
  const auto group = static_cast<uint32_t>(i / kGroupInputs);
  if (*num_high == 0 || high[*num_high - 1].group != group) high[(*num_high)++] = {group, {}};
  high[*num_high - 1].values[i % kGroupInputs] = static_cast<int8_t>(part);
  return static_cast<int8_t>(value - part * kHighStep);
}

RoundedParts PlainRoundToParts(const float* x, size_t count, float factor, int8_t* low, HighGroup* high) {
  RoundedParts parts = {0, 0};
  for (size_t i = 0; i < count; ++i) {
    const int32_t value = PlainRound(x[i] * factor);
    parts.sum += value;
    low[i] = std::abs(value) <= kLargestLow ? static_cast<int8_t>(value) : SplitValue(value, i, high, &parts.num_high);
  }
  return parts;
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

// Of two pairs, lane by lane.
struct MagnitudeLanes {
  __m512i largest;
  __m512i others;
};
SHARDRUN_AVX512_ONLY MagnitudeLanes Join(const MagnitudeLanes& a, const MagnitudeLanes& b) {
  const __m512i next = _mm512_min_epu32(a.largest, b.largest);
  return {_mm512_max_epu32(a.largest, b.largest), _mm512_max_epu32(next, _mm512_max_epu32(a.others, b.others))};
}

SHARDRUN_AVX512_ONLY BlockMagnitudes Avx512LargestMagnitudes(const float* x) {
  static_assert(kRowBlock == 2 * kLanes);
  __m512i maxima[2];  // each lane has that of its group
  for (size_t v = 0; v < 2; ++v) {
    const __m512i bits = _mm512_and_si512(_mm512_loadu_si512(x + v * kLanes), _mm512_set1_epi32(0x7fffffff));
    const __m512i pairs = _mm512_max_epu32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_CDAB));
    maxima[v] = _mm512_max_epu32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
  }
  MagnitudeLanes lanes = Join({maxima[0], _mm512_setzero_si512()}, {maxima[1], _mm512_setzero_si512()});
  lanes = Join(lanes, {_mm512_shuffle_i32x4(lanes.largest, lanes.largest, _MM_SHUFFLE(2, 3, 0, 1)),
                       _mm512_shuffle_i32x4(lanes.others, lanes.others, _MM_SHUFFLE(2, 3, 0, 1))});
  lanes = Join(lanes, {_mm512_shuffle_i32x4(lanes.largest, lanes.largest, _MM_SHUFFLE(1, 0, 3, 2)),
                       _mm512_shuffle_i32x4(lanes.others, lanes.others, _MM_SHUFFLE(1, 0, 3, 2))});
  return {static_cast<uint32_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(lanes.largest))),
          static_cast<uint32_t>(_mm_cvtsi128_si32(_mm512_castsi512_si128(lanes.others)))};
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

// The exponents of 64 values, a byte each, in no particular order.
SHARDRUN_AVX512_ONLY __m512i ExponentsOf(const float* x, size_t count) {
  constexpr size_t kVectors = 4;
  __m512i bits[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    const __mmask16 mask = v * kLanes < count ? MaskOf(v * kLanes, count) : 0;
    bits[v] = _mm512_srli_epi32(_mm512_slli_epi32(_mm512_maskz_loadu_epi32(mask, x + v * kLanes), 1), 24);
  }
  return _mm512_packus_epi16(_mm512_packus_epi32(bits[0], bits[1]), _mm512_packus_epi32(bits[2], bits[3]));
}

SHARDRUN_AVX512_ONLY int32_t AddBytes(__m512i bytes) {
  return static_cast<int32_t>(_mm512_reduce_add_epi64(_mm512_sad_epu8(bytes, _mm512_setzero_si512())));
}

SHARDRUN_AVX512_ONLY int32_t Avx512CountExponents(const float* x, size_t count, int top, int32_t* counts) {
  constexpr size_t kValues = 4 * kLanes;
  constexpr size_t kMostVectors = 255;  // that a byte can count
  // the last one counts all exponents but 0
  __m512i least[kExponentCounts + 1];
  for (int i = 0; i < kExponentCounts; ++i) least[i] = _mm512_set1_epi8(static_cast<char>(std::max(top - i, 1)));
  least[kExponentCounts] = _mm512_set1_epi8(1);
  int32_t totals[kExponentCounts + 1] = {};
  for (size_t begin = 0; begin < count; begin += kMostVectors * kValues) {
    const size_t end = std::min(count, begin + kMostVectors * kValues);
    __m512i numbers[kExponentCounts + 1];
    SHARDRUN_UNROLL
    for (__m512i& number : numbers) number = _mm512_setzero_si512();
    for (size_t i = begin; i < end; i += kValues) {
      const __m512i exponents = ExponentsOf(x + i, end - i);
      SHARDRUN_UNROLL
      for (int n = 0; n <= kExponentCounts; ++n) {
        const __mmask64 reached = _mm512_cmpge_epu8_mask(exponents, least[n]);
        numbers[n] = _mm512_mask_sub_epi8(numbers[n], reached, numbers[n], _mm512_set1_epi8(-1));
      }
    }
    for (int n = 0; n <= kExponentCounts; ++n) totals[n] += AddBytes(numbers[n]);
  }
  std::copy_n(totals, kExponentCounts, counts);
  return totals[kExponentCounts];
}

SHARDRUN_AVX512_ONLY RoundedParts Avx512RoundToParts(const float* x, size_t count, float factor, int8_t* low,
                                                     HighGroup* high) {
  __m512i sums = _mm512_setzero_si512();
  size_t num_high = 0;
  for (size_t i = 0; i < count; i += kLanes) {
    const __mmask16 mask = MaskOf(i, count);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(factor));
    const __m512i rounded = _mm512_cvtps_epi32(scaled);
    sums = _mm512_add_epi32(sums, rounded);
    _mm_mask_storeu_epi8(low + i, mask, _mm512_cvtepi32_epi8(rounded));
    unsigned large = _mm512_cmpgt_epi32_mask(_mm512_abs_epi32(rounded), _mm512_set1_epi32(kLargestLow));
    if (large == 0) continue;
    int32_t values[kLanes];
    _mm512_storeu_si512(values, rounded);
    for (; large != 0; large &= large - 1) {
      const auto lane = static_cast<size_t>(__builtin_ctz(large));
      low[i + lane] = SplitValue(values[lane], i + lane, high, &num_high);
    }
  }
  return {_mm512_reduce_add_epi32(sums), num_high};
}

#endif

}  // namespace

#if defined(__x86_64__)

uint32_t LargestMagnitude(const float* x, size_t count) {
  return HasAvx512() ? Avx512LargestMagnitude(x, count) : PlainLargestMagnitude(x, count);
}

BlockMagnitudes LargestMagnitudes(const float* x) {
  return HasAvx512() ? Avx512LargestMagnitudes(x) : PlainLargestMagnitudes(x);
}

int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  return HasAvx512() ? Avx512RoundToInt8(x, count, factor, out) : PlainRoundToInt8(x, count, factor, out);
}

int32_t CountExponents(const float* x, size_t count, int top, int32_t* counts) {
  return HasAvx512() ? Avx512CountExponents(x, count, top, counts) : PlainCountExponents(x, count, top, counts);
}

RoundedParts RoundToParts(const float* x, size_t count, float factor, int8_t* low, HighGroup* high) {
  return HasAvx512() ? Avx512RoundToParts(x, count, factor, low, high) : PlainRoundToParts(x, count, factor, low, high);
}

#else

uint32_t LargestMagnitude(const float* x, size_t count) { return PlainLargestMagnitude(x, count); }

BlockMagnitudes LargestMagnitudes(const float* x) { return PlainLargestMagnitudes(x); }

int32_t RoundToInt8(const float* x, size_t count, float factor, int8_t* out) {
  return PlainRoundToInt8(x, count, factor, out);
}

int32_t CountExponents(const float* x, size_t count, int top, int32_t* counts) {
  return PlainCountExponents(x, count, top, counts);
}

RoundedParts RoundToParts(const float* x, size_t count, float factor, int8_t* low, HighGroup* high) {
  return PlainRoundToParts(x, count, factor, low, high);
}

#endif

}  // namespace shardrun
