// The products of 8 bits with AVX-512 VNNI.
#include <array>
#include <utility>

#include "products_avx512.h"
#include "read_ahead.h"

#if defined(__x86_64__)

namespace shardrun::avx512 {

namespace {

constexpr size_t kWideTiles8 = 4;

// sums[row][tile] += the products of 4 inputs.
template <size_t kRows, size_t kTiles>
SHARDRUN_AVX512_INLINE void AddGroup(const int8_t* values, size_t row_stride, const uint8_t* groups, size_t tile_stride,
                                     __m512i (&sums)[kRows][kTiles]) {
  __m512i weights[kTiles];
  SHARDRUN_UNROLL
  for (size_t t = 0; t < kTiles; ++t) {
    weights[t] = _mm512_loadu_si512(groups + t * tile_stride);
    _mm_prefetch(reinterpret_cast<const char*>(groups + t * tile_stride + kAheadBytes), _MM_HINT_T0);
  }
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    const __m512i four = Broadcast(values + r * row_stride);
    SHARDRUN_UNROLL
    for (size_t t = 0; t < kTiles; ++t) MultiplyAdd(&sums[r][t], weights[t], four);
  }
}

// kRows rows with kTiles tiles. kDepth groups at a time have sums of their own, where too few rows and tiles would
// leave the multipliers waiting for their last result.
// values: kRows rows, row_stride apart   groups: kTiles tiles, tile_stride apart   out: [kRows, kTiles, 16]
template <size_t kRows, size_t kTiles, size_t kDepth>
SHARDRUN_AVX512_INLINE void AddProducts(const int8_t* values, size_t row_stride, const uint8_t* groups,
                                        size_t tile_stride, size_t num_groups, int32_t* out) {
  __m512i sums[kDepth][kRows][kTiles];
  SHARDRUN_UNROLL
  for (size_t d = 0; d < kDepth; ++d) {
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      SHARDRUN_UNROLL
      for (size_t t = 0; t < kTiles; ++t) sums[d][r][t] = _mm512_setzero_si512();
    }
  }
  size_t group = 0;
  for (; group + kDepth <= num_groups; group += kDepth) {
    SHARDRUN_UNROLL
    for (size_t d = 0; d < kDepth; ++d) {
      AddGroup<kRows, kTiles>(values + (group + d) * kGroupInputs, row_stride, groups + (group + d) * kGroupBytes,
                              tile_stride, sums[d]);
    }
  }
  for (; kDepth > 1 && group < num_groups; ++group) {
    AddGroup<kRows, kTiles>(values + group * kGroupInputs, row_stride, groups + group * kGroupBytes, tile_stride,
                            sums[0]);
  }
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    SHARDRUN_UNROLL
    for (size_t t = 0; t < kTiles; ++t) {
      __m512i sum = sums[0][r][t];
      SHARDRUN_UNROLL
      for (size_t d = 1; d < kDepth; ++d) sum = _mm512_add_epi32(sum, sums[d][r][t]);
      _mm512_storeu_si512(out + (r * kTiles + t) * kTileOutputs, sum);
    }
  }
}

// The products of one row's high parts with kTiles tiles. Few tiles have several sums each, so that the multipliers do
// not wait for their last result.
template <size_t kTiles>
SHARDRUN_AVX512_INLINE void MultiplyHigh(const HighGroup* high, size_t num_high, const uint8_t* groups,
                                         size_t tile_stride, __m512i (&sums)[kTiles]) {
  constexpr size_t kDepth = kTiles < kHighStride ? kHighStride : 1;
  __m512i parts[kDepth][kTiles];
  SHARDRUN_UNROLL
  for (size_t d = 0; d < kDepth; ++d) {
    SHARDRUN_UNROLL
    for (size_t t = 0; t < kTiles; ++t) parts[d][t] = _mm512_setzero_si512();
  }
  for (const HighGroup* end = high + num_high; high < end; high += kHighStride) {
    SHARDRUN_UNROLL
    for (size_t i = 0; i < kHighStride; ++i) {
      const __m512i four = Broadcast(high[i].values);
      SHARDRUN_UNROLL
      for (size_t t = 0; t < kTiles; ++t) {
        MultiplyAdd(&parts[i % kDepth][t], _mm512_loadu_si512(groups + t * tile_stride + high[i].group * kGroupBytes),
                    four);
      }
    }
  }
  static_assert(kHighStep == (1 << 8) - 1);
  SHARDRUN_UNROLL
  for (size_t t = 0; t < kTiles; ++t) {
    sums[t] = parts[0][t];
    SHARDRUN_UNROLL
    for (size_t d = 1; d < kDepth; ++d) sums[t] = _mm512_add_epi32(sums[t], parts[d][t]);
    sums[t] = _mm512_sub_epi32(_mm512_slli_epi32(sums[t], 8), sums[t]);
  }
}

template <size_t kRows, size_t kTiles, size_t kDepth>
SHARDRUN_AVX512 void Multiply8(const Product& product, size_t row, size_t tile) {
  const size_t padded = product.layout.padded_inputs();
  const size_t tile_bytes = product.layout.tile_bytes();
  int32_t sums[kRows * kTiles * kTileOutputs];
  const uint8_t* weight = product.weight + tile * tile_bytes;
  const uint8_t* groups = weight + product.layout.groups_offset();
  AddProducts<kRows, kTiles, kDepth>(product.rows.values() + row * padded, padded, groups, tile_bytes,
                                     padded / kGroupInputs, sums);
  for (size_t r = 0; r < kRows; ++r) {
    __m512i high[kTiles];
    MultiplyHigh<kTiles>(product.rows.high(row + r), product.rows.num_high(row + r), groups, tile_bytes, high);
    const __m512i surplus = _mm512_set1_epi32(128 * product.rows.sums()[row + r]);
    for (size_t t = 0; t < kTiles; ++t) {
      const __m512i both = _mm512_add_epi32(_mm512_loadu_si512(sums + (r * kTiles + t) * kTileOutputs), high[t]);
      Store(product, row + r, tile + t, _mm512_sub_epi32(both, surplus), product.rows.scales()[row + r]);
    }
  }
}

// By number of rows.
using Multiply8Function = void (*)(const Product&, size_t row, size_t tile);

template <size_t... i>
constexpr std::array<Multiply8Function, kStreamRows> MakeStream8(std::index_sequence<i...>) {
  return {Multiply8 < i + 1, 1, i == 0 ? 4 : i < 4 ? 2 : 1 > ...};
}
template <size_t... i>
constexpr std::array<Multiply8Function, kWideRows> MakeWide8(std::index_sequence<i...>) {
  return {Multiply8<i + 1, kWideTiles8, 1>...};
}
constexpr auto kStream8 = MakeStream8(std::make_index_sequence<kStreamRows>());
constexpr auto kWide8 = MakeWide8(std::make_index_sequence<kWideRows>());

// As many rows as half of a core's second-level cache holds beside the tiles that they meet.
size_t RowsPerPass(const Product& product) {
  constexpr size_t kBytes = 1 << 19;
  const size_t rows = kBytes / std::max<size_t>(1, product.layout.padded_inputs());
  return std::max(kWideRows, rows / kWideRows * kWideRows);
}

}  // namespace

void MultiplyInt8(const Product& product, size_t first_tile, size_t last_tile) {
  const size_t num_rows = product.rows.num_rows();
  size_t narrow_tile = first_tile;
  if (num_rows > kStreamRows) {
    narrow_tile = last_tile - (last_tile - first_tile) % kWideTiles8;
    ForRows(0, num_rows, RowsPerPass(product), [&](size_t first_row, size_t count) {
      for (size_t tile = first_tile; tile < narrow_tile; tile += kWideTiles8) {
        ForRows(first_row, first_row + count, kWideRows,
                [&](size_t row, size_t rows) { kWide8[rows - 1](product, row, tile); });
      }
    });
  }
  for (size_t tile = narrow_tile; tile < last_tile; ++tile) {
    ForRows(0, num_rows, kStreamRows, [&](size_t row, size_t rows) { kStream8[rows - 1](product, row, tile); });
  }
}

}  // namespace shardrun::avx512

#endif
