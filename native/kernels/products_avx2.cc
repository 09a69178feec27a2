// The products with AVX2, for CPUs without VNNI. Its one instruction that multiplies bytes adds two products in 16 bits
// and saturates there, so each of the two must be small enough: with 8 bits the factors are a magnitude and a value of
// at most 127 (2 * 127 * 127 < 32768), with 4 bits at most 15 and 127, of which four pairs may be added in 16 bits.
#include "intrinsics.h"
#include "products.h"
#include "read_ahead.h"

#if defined(__x86_64__)

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace shardrun {

namespace avx2 {

#define SHARDRUN_AVX2 __attribute__((target("avx2,fma,f16c")))
#define SHARDRUN_AVX2_INLINE SHARDRUN_AVX2 inline __attribute__((always_inline))

// A tile is two halves of 8 outputs.
constexpr size_t kHalves = 2;
constexpr size_t kHalfOutputs = kTileOutputs / kHalves;
constexpr size_t kHalfBytes = kGroupBytes / kHalves;
constexpr size_t kMostRows = 4;
SHARDRUN_AVX2_INLINE __m256i Load(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

SHARDRUN_AVX2_INLINE __m256i Broadcast(const int8_t* values) {
  int32_t four;
  std::memcpy(&four, values, sizeof(four));
  return _mm256_set1_epi32(four);
}

// Pairs of 16 bits to their sums.
SHARDRUN_AVX2_INLINE __m256i AddPairs(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

// Eight floats, of which the first num_outputs exist.
SHARDRUN_AVX2_INLINE void Store(float* out, size_t num_outputs, __m256 floats) {
  if (num_outputs >= kHalfOutputs) return _mm256_storeu_ps(out, floats);
  float all[kHalfOutputs];
  _mm256_storeu_ps(all, floats);
  std::copy_n(all, num_outputs, out);
}

// The outputs of one half of a tile that exist.
size_t CountOutputs(const Product& product, size_t tile, size_t half) {
  const size_t first = tile * kTileOutputs + half * kHalfOutputs;
  return std::min(kHalfOutputs, product.layout.out_features - std::min(first, product.layout.out_features));
}

// sum += the products of 4 inputs of 8 outputs, as magnitudes and signs of the weights, with 4 values.
SHARDRUN_AVX2_INLINE void AddGroup(const int8_t* values, __m256i weights, __m256i magnitudes, __m256i* sum) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(Broadcast(values), weights));
  *sum = _mm256_add_epi32(*sum, AddPairs(pairs));
}

// q of 8 outputs, 4 inputs each.
SHARDRUN_AVX2_INLINE __m256i LoadWeights(const uint8_t* groups) {
  return _mm256_xor_si256(Load(groups), _mm256_set1_epi8(static_cast<char>(128)));
}

// sums[half] += what the high parts of a row add
SHARDRUN_AVX2_INLINE void AddHigh(const HighGroup* high, size_t num_high, const uint8_t* groups,
                                  __m256i (&sums)[kHalves]) {
  SHARDRUN_UNROLL
  for (size_t half = 0; half < kHalves; ++half) {
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < num_high; ++i) {
      const __m256i weights = LoadWeights(groups + high[i].group * kGroupBytes + half * kHalfBytes);
      AddGroup(high[i].values, weights, _mm256_abs_epi8(weights), &sum);
    }
    sums[half] = _mm256_add_epi32(sums[half], _mm256_mullo_epi32(sum, _mm256_set1_epi32(kHighStep)));
  }
}

// Writes the sums of a row with half a tile, or what they are worth: times the row's factor and those of the outputs.
SHARDRUN_AVX2_INLINE void StoreSums(const Product& product, size_t row, size_t tile, size_t half, __m256i sums,
                                    float row_factor) {
  const PackedLayout& layout = product.layout;
  const size_t num_outputs = CountOutputs(product, tile, half);
  const size_t place = row * layout.out_features + tile * kTileOutputs + half * kHalfOutputs;
  if (product.sums != nullptr) {
    int32_t all[kHalfOutputs];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(all), sums);
    std::copy_n(all, num_outputs, product.sums + place);
  } else {
    const auto* output_factors = reinterpret_cast<const float*>(product.weight + tile * layout.tile_bytes());
    const __m256 factors =
        _mm256_mul_ps(_mm256_set1_ps(row_factor), _mm256_loadu_ps(output_factors + half * kHalfOutputs));
    Store(product.y + place, num_outputs, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), factors));
  }
}

template <size_t kRows>
SHARDRUN_AVX2 void Multiply8(const Product& product, size_t row, size_t tile) {
  const PackedLayout& layout = product.layout;
  const size_t padded = layout.padded_inputs();
  const int8_t* values = product.rows.values() + row * padded;
  const uint8_t* weight = product.weight + tile * layout.tile_bytes();
  const uint8_t* groups = weight + layout.groups_offset();
  __m256i sums[kRows][kHalves];
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    SHARDRUN_UNROLL
    for (size_t half = 0; half < kHalves; ++half) sums[r][half] = _mm256_setzero_si256();
  }
  for (size_t group = 0; group < padded / kGroupInputs; ++group) {
    _mm_prefetch(reinterpret_cast<const char*>(groups + group * kGroupBytes + kAheadBytes), _MM_HINT_T0);
    SHARDRUN_UNROLL
    for (size_t half = 0; half < kHalves; ++half) {
      const __m256i weights = LoadWeights(groups + group * kGroupBytes + half * kHalfBytes);
      const __m256i magnitudes = _mm256_abs_epi8(weights);
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        AddGroup(values + r * padded + group * kGroupInputs, weights, magnitudes, &sums[r][half]);
      }
    }
  }
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    AddHigh(product.rows.high(row + r), product.rows.num_high(row + r), groups, sums[r]);
  }
  SHARDRUN_UNROLL
  for (size_t half = 0; half < kHalves; ++half) {
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      StoreSums(product, row + r, tile, half, sums[r][half], product.rows.scales()[row + r]);
    }
  }
}

SHARDRUN_AVX2_INLINE __m256 LoadHalves(const uint8_t* halves, size_t half) {
  __m128i bits;
  std::memcpy(&bits, halves + half * sizeof(bits), sizeof(bits));
  return _mm256_cvtph_ps(bits);
}

// The integer products of kRows rows with a block of 32 inputs and one half of a tile.
// values: of the block   groups: 8 of them, two in each 64 bytes
template <size_t kRows>
SHARDRUN_AVX2_INLINE void MultiplyBlock(const int8_t* values, size_t row_stride, const uint8_t* groups,
                                        __m256i (&sums)[kRows]) {
  const __m256i lower = _mm256_set1_epi8(0xf);
  __m256i pairs[kRows];
  SHARDRUN_UNROLL
  for (size_t i = 0; i < kRowBlock / (2 * kGroupInputs); ++i) {
    const __m256i both = Load(groups + i * kGroupBytes);
    const __m256i first = _mm256_and_si256(both, lower);
    const __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), lower);
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const int8_t* eight = values + r * row_stride + 2 * i * kGroupInputs;
      const __m256i added = _mm256_add_epi16(_mm256_maddubs_epi16(first, Broadcast(eight)),
                                             _mm256_maddubs_epi16(second, Broadcast(eight + kGroupInputs)));
      // two of these, four pairs in all, are 4 * 2 * 15 * 127 at most
      if (i % 2 == 0) {
        pairs[r] = added;
      } else {
        sums[r] = _mm256_add_epi32(sums[r], AddPairs(_mm256_add_epi16(pairs[r], added)));
      }
    }
  }
}

// total += number * factor, rounded, with what the shift adds.
SHARDRUN_AVX2_INLINE void AddRounded(__m256i number, __m256 factor, __m256i* total) {
  const __m256 shifted = _mm256_fmadd_ps(_mm256_cvtepi32_ps(number), factor, _mm256_set1_ps(kRoundingShift));
  *total = _mm256_add_epi32(*total, _mm256_castps_si256(shifted));
}

// total += what a row's high parts add to one half of a tile. groups, scales: of this half
SHARDRUN_AVX2 void AddHighBlocks(const Product& product, size_t row, const uint8_t* groups, const uint8_t* scales,
                                 size_t half, __m256 per_bound, __m256i* total) {
  const size_t row_blocks = product.layout.padded_inputs() / kRowBlock;
  const size_t blocks_per_scale = product.layout.block_size / kRowBlock;
  const HighGroup* high = product.rows.high(row);
  for (const HighGroup* end = high + product.rows.num_high(row); high < end; ++high) {
    const size_t block = high->group / kBlockGroups;
    const __m256i both = Load(groups + high->group / 2 * kGroupBytes);
    const __m128i shift = _mm_cvtsi32_si128(high->group % 2 == 0 ? 0 : 4);
    const __m256i weights = _mm256_and_si256(_mm256_srl_epi16(both, shift), _mm256_set1_epi8(0xf));
    const __m256i sum = AddPairs(_mm256_maddubs_epi16(weights, Broadcast(high->values)));
    const __m256 row_scale = _mm256_set1_ps(kHighStep * product.rows.scales()[row * row_blocks + block]);
    const uint8_t* of_block = scales + block / blocks_per_scale * kTileOutputs * sizeof(uint16_t);
    AddRounded(sum, _mm256_mul_ps(row_scale, _mm256_mul_ps(LoadHalves(of_block, half), per_bound)), total);
    *total = _mm256_sub_epi32(*total, _mm256_set1_epi32(kRoundingShiftBits));
  }
}

template <size_t kRows>
SHARDRUN_AVX2 void Multiply4(const Product& product, size_t row, size_t tile) {
  const PackedLayout& layout = product.layout;
  const size_t padded = layout.padded_inputs();
  const size_t row_blocks = padded / kRowBlock;
  const size_t blocks_per_scale = layout.block_size / kRowBlock;
  const int8_t* values = product.rows.values() + row * padded;
  const float* row_scales = product.rows.scales() + row * row_blocks;
  const int32_t* row_sums = product.rows.sums() + row * row_blocks;
  const uint8_t* weight = product.weight + tile * layout.tile_bytes();
  // What the shifts of all blocks add is taken away first.
  const auto shifts =
      static_cast<int32_t>(static_cast<uint32_t>(row_blocks * (layout.has_minimum ? 2 : 1)) * kRoundingShiftBits);
  __m256i totals[kHalves][kRows];
  __m256 per_bound[kHalves];
  SHARDRUN_UNROLL
  for (size_t half = 0; half < kHalves; ++half) {
    const __m256 bounds = _mm256_loadu_ps(reinterpret_cast<const float*>(weight) + half * kHalfOutputs);
    per_bound[half] = _mm256_div_ps(_mm256_set1_ps(1), bounds);
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) totals[half][r] = _mm256_set1_epi32(-shifts);
  }
  const size_t share_bytes = layout.tile_bytes() / std::max<size_t>(1, row_blocks);
  for (size_t block = 0; block < row_blocks; ++block) {
    PrefetchBlock(weight, block, share_bytes);
    const uint8_t* groups = weight + layout.groups_offset() + block * (kRowBlock / kGroupInputs / 2) * kGroupBytes;
    const uint8_t* scales = weight + block / blocks_per_scale * kTileOutputs * sizeof(uint16_t);
    SHARDRUN_UNROLL
    for (size_t half = 0; half < kHalves; ++half) {
      __m256i sums[kRows];
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        sums[r] = _mm256_set1_epi32(layout.has_minimum ? 0 : -8 * row_sums[r * row_blocks + block]);
      }
      MultiplyBlock<kRows>(values + block * kRowBlock, padded, groups + half * kHalfBytes, sums);
      const __m256 scale = _mm256_mul_ps(LoadHalves(scales + layout.scales_offset(), half), per_bound[half]);
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        AddRounded(sums[r], _mm256_mul_ps(_mm256_set1_ps(row_scales[r * row_blocks + block]), scale), &totals[half][r]);
      }
      if (!layout.has_minimum) continue;
      const __m256 minimum = _mm256_mul_ps(LoadHalves(scales + layout.minima_offset(), half), per_bound[half]);
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const size_t place = r * row_blocks + block;
        const __m256 factors = _mm256_mul_ps(_mm256_set1_ps(row_scales[place]), minimum);
        AddRounded(_mm256_set1_epi32(row_sums[place]), factors, &totals[half][r]);
      }
    }
  }
  SHARDRUN_UNROLL
  for (size_t half = 0; half < kHalves; ++half) {
    for (size_t r = 0; r < kRows; ++r) {
      AddHighBlocks(product, row + r, weight + layout.groups_offset() + half * kHalfBytes,
                    weight + layout.scales_offset(), half, per_bound[half], &totals[half][r]);
      StoreSums(product, row + r, tile, half, totals[half][r], product.rows.units()[row + r]);
    }
  }
}

using MultiplyRows = void (*)(const Product&, size_t row, size_t tile);
constexpr MultiplyRows kMultiply8[kMostRows] = {Multiply8<1>, Multiply8<2>, Multiply8<3>, Multiply8<4>};
constexpr MultiplyRows kMultiply4[kMostRows] = {Multiply4<1>, Multiply4<2>, Multiply4<3>, Multiply4<4>};

// One tile after the other, each with all rows while it is in the cache.
void MultiplyTiles(const Product& product, size_t first_tile, size_t last_tile, const MultiplyRows* multiply) {
  const size_t num_rows = product.rows.num_rows();
  for (size_t tile = first_tile; tile < last_tile; ++tile) {
    for (size_t row = 0; row < num_rows; row += kMostRows) {
      multiply[std::min(kMostRows, num_rows - row) - 1](product, row, tile);
    }
  }
}

}  // namespace avx2

const Kernels kAvx2Kernels = {"avx2",
                              [] {
                                return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
                                       __builtin_cpu_supports("f16c") != 0;
                              },
                              [](const Product& product, size_t first_tile, size_t last_tile) {
                                avx2::MultiplyTiles(product, first_tile, last_tile, avx2::kMultiply8);
                              },
                              [](const Product& product, size_t first_tile, size_t last_tile) {
                                avx2::MultiplyTiles(product, first_tile, last_tile, avx2::kMultiply4);
                              },
                              avx2::floats::Multiply,
                              avx2::floats::AttendBlock};

}  // namespace shardrun

#endif
