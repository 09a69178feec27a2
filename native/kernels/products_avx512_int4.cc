// The products of 4 bits with AVX-512 VNNI.
#include <array>
#include <utility>
#include <vector>

#include "products_avx512.h"
#include "read_ahead.h"

#if defined(__x86_64__)

namespace shardrun::avx512 {

namespace {

constexpr size_t kWideTiles4 = 2;

// What all blocks of one product of 4 bits have in common.
struct BlockProduct {
  const int8_t* values;     // of the first row
  const float* row_scales;  // [rows, row_blocks], in the rows' units
  const int32_t* row_sums;
  const uint8_t* tiles;  // the first of kTiles
  size_t tile_bytes;
  size_t scales_offset;
  size_t minima_offset;   // 0: there are none
  const uint8_t* groups;  // packed: of the first tile; unpacked: [tiles, groups, 64]
  size_t groups_stride;   // from one tile's to the next
  size_t row_blocks;      // of 32 inputs
  size_t blocks_per_scale;
};

SHARDRUN_AVX512_INLINE __m512 LoadHalves(const uint8_t* halves) {
  __m256i bits;
  std::memcpy(&bits, halves, sizeof(bits));
  return _mm512_cvtph_ps(bits);
}

// sums[row] += the products of a block with one tile. groups: 8 of them, two in each 64 bytes when packed
template <size_t kRows, bool kPacked>
SHARDRUN_AVX512_INLINE void AddBlock(const int8_t* values, size_t row_stride, const uint8_t* groups, __m512i* sums) {
  const __m512i lower = _mm512_set1_epi8(0xf);
  SHARDRUN_UNROLL
  for (size_t pair = 0; pair < kRowBlock / (2 * kGroupInputs); ++pair) {
    __m512i first;
    __m512i second;
    if (kPacked) {
      const __m512i both = _mm512_loadu_si512(groups + pair * kGroupBytes);
      first = _mm512_and_si512(both, lower);
      second = _mm512_and_si512(_mm512_srli_epi16(both, 4), lower);
    } else {
      first = _mm512_loadu_si512(groups + 2 * pair * kGroupBytes);
      second = _mm512_loadu_si512(groups + (2 * pair + 1) * kGroupBytes);
    }
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      MultiplyAdd(&sums[r], first, Broadcast(values + r * row_stride + 2 * pair * kGroupInputs));
      MultiplyAdd(&sums[r], second, Broadcast(values + r * row_stride + (2 * pair + 1) * kGroupInputs));
    }
  }
}

// total += number * factor, rounded, with what the shift adds.
SHARDRUN_AVX512_INLINE void AddRounded(__m512i number, __m512 factor, __m512i* total) {
  const __m512 shifted = _mm512_fmadd_ps(_mm512_cvtepi32_ps(number), factor, _mm512_set1_ps(kRoundingShift));
  *total = _mm512_add_epi32(*total, _mm512_castps_si512(shifted));
}

// 1 / the bounds of a tile's outputs.
SHARDRUN_AVX512_INLINE __m512 PerBound(const BlockProduct& product, size_t tile) {
  const auto* bounds = reinterpret_cast<const float*>(product.tiles + tile * product.tile_bytes);
  return _mm512_div_ps(_mm512_set1_ps(1), _mm512_loadu_ps(bounds));
}

// out: [kRows, kTiles, 16]
template <size_t kRows, size_t kTiles, bool kPacked>
SHARDRUN_AVX512_INLINE void AddBlocks(const BlockProduct& product, int32_t* out) {
  constexpr size_t kBlockBytes = kRowBlock / kGroupInputs * kGroupBytes / (kPacked ? 2 : 1);
  const size_t row_stride = product.row_blocks * kRowBlock;
  // What the shifts of all blocks add is taken away first.
  const size_t num_shifts = product.row_blocks * (product.minima_offset == 0 ? 1 : 2);
  const auto shifts = static_cast<int32_t>(static_cast<uint32_t>(num_shifts) * kRoundingShiftBits);
  __m512i totals[kTiles][kRows];
  __m512 per_bound[kTiles];
  SHARDRUN_UNROLL
  for (size_t t = 0; t < kTiles; ++t) {
    per_bound[t] = PerBound(product, t);
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) totals[t][r] = _mm512_set1_epi32(-shifts);
  }
  const size_t share_bytes = product.tile_bytes / std::max<size_t>(1, product.row_blocks);
  for (size_t block = 0; block < product.row_blocks; ++block) {
    if (kPacked) PrefetchBlock(product.tiles, block, share_bytes);
    const size_t scale_offset = block / product.blocks_per_scale * kTileOutputs * sizeof(uint16_t);
    SHARDRUN_UNROLL
    for (size_t t = 0; t < kTiles; ++t) {
      __m512i sums[kRows];
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const int32_t surplus = product.minima_offset == 0 ? 8 * product.row_sums[r * product.row_blocks + block] : 0;
        sums[r] = _mm512_set1_epi32(-surplus);
      }
      AddBlock<kRows, kPacked>(product.values + block * kRowBlock, row_stride,
                               product.groups + t * product.groups_stride + block * kBlockBytes, sums);
      const uint8_t* tile = product.tiles + t * product.tile_bytes + scale_offset;
      const __m512 scales = _mm512_mul_ps(LoadHalves(tile + product.scales_offset), per_bound[t]);
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const __m512 row_scale = _mm512_set1_ps(product.row_scales[r * product.row_blocks + block]);
        AddRounded(sums[r], _mm512_mul_ps(row_scale, scales), &totals[t][r]);
      }
      if (product.minima_offset == 0) continue;
      const __m512 minima = _mm512_mul_ps(LoadHalves(tile + product.minima_offset), per_bound[t]);
      SHARDRUN_UNROLL
      for (size_t r = 0; r < kRows; ++r) {
        const size_t place = r * product.row_blocks + block;
        const __m512 factors = _mm512_mul_ps(_mm512_set1_ps(product.row_scales[place]), minima);
        AddRounded(_mm512_set1_epi32(product.row_sums[place]), factors, &totals[t][r]);
      }
    }
  }
  SHARDRUN_UNROLL
  for (size_t t = 0; t < kTiles; ++t) {
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) _mm512_storeu_si512(out + (r * kTiles + t) * kTileOutputs, totals[t][r]);
  }
}

// totals += what one row's high parts add.
template <size_t kTiles, bool kPacked>
SHARDRUN_AVX512_INLINE void AddHighBlocks(const BlockProduct& product, const float* row_scales, const HighGroup* high,
                                          size_t num_high, __m512i (&totals)[kTiles]) {
  const auto shifts = static_cast<int32_t>(static_cast<uint32_t>(num_high) * kRoundingShiftBits);
  __m512 per_bound[kTiles];
  SHARDRUN_UNROLL
  for (size_t t = 0; t < kTiles; ++t) {
    per_bound[t] = PerBound(product, t);
    totals[t] = _mm512_sub_epi32(totals[t], _mm512_set1_epi32(shifts));
  }
  for (const HighGroup* end = high + num_high; high < end; ++high) {
    const size_t block = high->group / kBlockGroups;
    const size_t scale_offset = block / product.blocks_per_scale * kTileOutputs * sizeof(uint16_t);
    const __m512i four = Broadcast(high->values);
    const __m512 row_scale = _mm512_set1_ps(kHighStep * row_scales[block]);
    SHARDRUN_UNROLL
    for (size_t t = 0; t < kTiles; ++t) {
      const uint8_t* groups = product.groups + t * product.groups_stride;
      __m512i weights;
      if (kPacked) {
        const __m512i both = _mm512_loadu_si512(groups + high->group / 2 * kGroupBytes);
        const __m128i shift = _mm_cvtsi32_si128(high->group % 2 == 0 ? 0 : 4);
        weights = _mm512_and_si512(_mm512_srl_epi16(both, shift), _mm512_set1_epi8(0xf));
      } else {
        weights = _mm512_loadu_si512(groups + high->group * kGroupBytes);
      }
      __m512i sum = _mm512_setzero_si512();
      MultiplyAdd(&sum, weights, four);
      const uint8_t* scales = product.tiles + t * product.tile_bytes + product.scales_offset + scale_offset;
      AddRounded(sum, _mm512_mul_ps(row_scale, _mm512_mul_ps(LoadHalves(scales), per_bound[t])), &totals[t]);
    }
  }
}

// groups: of kTiles unpacked tiles, or null: they are read from the weight
template <size_t kRows, size_t kTiles, bool kPacked>
SHARDRUN_AVX512 void Multiply4(const Product& product, size_t row, size_t tile, const uint8_t* unpacked) {
  const PackedLayout& layout = product.layout;
  const size_t padded = layout.padded_inputs();
  const size_t row_blocks = padded / kRowBlock;
  const uint8_t* tiles = product.weight + tile * layout.tile_bytes();
  int32_t sums[kRows * kTiles * kTileOutputs];
  const BlockProduct blocks = {product.rows.values() + row * padded,
                               product.rows.scales() + row * row_blocks,
                               product.rows.sums() + row * row_blocks,
                               tiles,
                               layout.tile_bytes(),
                               layout.scales_offset(),
                               layout.has_minimum ? layout.minima_offset() : 0,
                               kPacked ? tiles + layout.groups_offset() : unpacked,
                               kPacked ? layout.tile_bytes() : padded * kTileOutputs,
                               row_blocks,
                               layout.block_size / kRowBlock};
  AddBlocks<kRows, kTiles, kPacked>(blocks, sums);
  for (size_t r = 0; r < kRows; ++r) {
    __m512i totals[kTiles];
    for (size_t t = 0; t < kTiles; ++t) totals[t] = _mm512_loadu_si512(sums + (r * kTiles + t) * kTileOutputs);
    const size_t num_high = product.rows.num_high(row + r);
    if (num_high > 0) {
      AddHighBlocks<kTiles, kPacked>(blocks, blocks.row_scales + r * row_blocks, product.rows.high(row + r), num_high,
                                     totals);
    }
    for (size_t t = 0; t < kTiles; ++t) Store(product, row + r, tile + t, totals[t], product.rows.units()[row + r]);
  }
}

// A byte for every value. out: [groups, 64]
SHARDRUN_AVX512 void Unpack(const uint8_t* groups, size_t num_groups, uint8_t* out) {
  const __m512i lower = _mm512_set1_epi8(0xf);
  for (size_t pair = 0; pair < num_groups / 2; ++pair) {
    const __m512i both = _mm512_loadu_si512(groups + pair * kGroupBytes);
    _mm512_storeu_si512(out + 2 * pair * kGroupBytes, _mm512_and_si512(both, lower));
    _mm512_storeu_si512(out + (2 * pair + 1) * kGroupBytes, _mm512_and_si512(_mm512_srli_epi16(both, 4), lower));
  }
}

// By number of rows.
using Multiply4Function = void (*)(const Product&, size_t row, size_t tile, const uint8_t* unpacked);

template <size_t... i>
constexpr std::array<Multiply4Function, kStreamRows> MakeStream4(std::index_sequence<i...>) {
  return {Multiply4<i + 1, 1, true>...};
}
template <size_t... i>
constexpr std::array<Multiply4Function, kWideRows> MakeWide4(std::index_sequence<i...>) {
  return {Multiply4<i + 1, kWideTiles4, false>...};
}
constexpr auto kStream4 = MakeStream4(std::make_index_sequence<kStreamRows>());
constexpr auto kWide4 = MakeWide4(std::make_index_sequence<kWideRows>());

}  // namespace

void MultiplyInt4(const Product& product, size_t first_tile, size_t last_tile) {
  const PackedLayout& layout = product.layout;
  const size_t num_rows = product.rows.num_rows();
  size_t narrow_tile = first_tile;
  if (num_rows > kStreamRows) {
    narrow_tile = last_tile - (last_tile - first_tile) % kWideTiles4;
    const size_t unpacked_bytes = layout.padded_inputs() * kTileOutputs;
    thread_local std::vector<uint8_t> unpacked;
    unpacked.resize(unpacked_bytes * kWideTiles4);
    for (size_t tile = first_tile; tile < narrow_tile; tile += kWideTiles4) {
      for (size_t t = 0; t < kWideTiles4; ++t) {
        Unpack(product.weight + (tile + t) * layout.tile_bytes() + layout.groups_offset(),
               layout.padded_inputs() / kGroupInputs, unpacked.data() + t * unpacked_bytes);
      }
      ForRows(0, num_rows, kWideRows,
              [&](size_t row, size_t rows) { kWide4[rows - 1](product, row, tile, unpacked.data()); });
    }
  }
  for (size_t tile = narrow_tile; tile < last_tile; ++tile) {
    ForRows(0, num_rows, kStreamRows,
            [&](size_t row, size_t rows) { kStream4[rows - 1](product, row, tile, nullptr); });
  }
}

}  // namespace shardrun::avx512

#endif
