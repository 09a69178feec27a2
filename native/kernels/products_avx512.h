// What the products of 8 and of 4 bits with AVX-512 and its VNNI have in common: one instruction multiplies a group of
// 64 values (16 outputs, 4 inputs) with 4 activations and adds the products per output.
//
// The weight is the unsigned factor of that instruction: q + 128 with 8 bits, q with 4 bits. What was added to it is
// taken away through the sum of the row's values, which quantising the row has left.
#pragma once

#include "intrinsics.h"
#include "products.h"

#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

namespace shardrun::avx512 {

#define SHARDRUN_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define SHARDRUN_AVX512_INLINE SHARDRUN_AVX512 inline __attribute__((always_inline))

// Products are computed for several tiles at a time where there are more than kStreamRows rows, kWideRows of them: each
// weight that is loaded then serves several rows and each activation several outputs. Else for one tile at a time, read
// as one stream.
inline constexpr size_t kWideRows = 6;
inline constexpr size_t kStreamRows = 8;

SHARDRUN_AVX512_INLINE __m512i Broadcast(const int8_t* values) {
  int32_t four;
  std::memcpy(&four, values, sizeof(four));
  return _mm512_set1_epi32(four);
}

// sum += the products of 4 weights and 4 values, for each of 16 outputs. (GCC 12 copies the sums of the intrinsic
// around.)
SHARDRUN_AVX512_INLINE void MultiplyAdd(__m512i* sum, __m512i weights, __m512i values) {
  asm("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weights), "v"(values));
}

// The outputs of a tile that exist.
SHARDRUN_AVX512_INLINE __mmask16 MaskOf(const Product& product, size_t tile) {
  const size_t num_outputs = std::min(kTileOutputs, product.layout.out_features - tile * kTileOutputs);
  return static_cast<__mmask16>((1U << num_outputs) - 1);
}

// Writes the sums of a row with a tile, or what they are worth: times the row's factor and those of the outputs.
SHARDRUN_AVX512_INLINE void Store(const Product& product, size_t row, size_t tile, __m512i sums, float row_factor) {
  const size_t place = row * product.layout.out_features + tile * kTileOutputs;
  const __mmask16 mask = MaskOf(product, tile);
  if (product.sums != nullptr) return _mm512_mask_storeu_epi32(product.sums + place, mask, sums);
  const __m512 output_factors = _mm512_loadu_ps(product.weight + tile * product.layout.tile_bytes());
  const __m512 factors = _mm512_mul_ps(_mm512_set1_ps(row_factor), output_factors);
  _mm512_mask_storeu_ps(product.y + place, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), factors));
}

// Calls multiply(row, count) for all rows of [first, last), most_rows at a time.
template <typename Body>
void ForRows(size_t first, size_t last, size_t most_rows, const Body& multiply) {
  for (size_t row = first; row < last; row += most_rows) multiply(row, std::min(most_rows, last - row));
}

// Kernels' members.
void MultiplyInt8(const Product& product, size_t first_tile, size_t last_tile);
void MultiplyInt4(const Product& product, size_t first_tile, size_t last_tile);

}  // namespace shardrun::avx512

#endif
