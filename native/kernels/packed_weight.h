// How a packed weight lies in memory: one blob, the same on every CPU, read as it is from a file.
//
// A weight is a matrix [out_features, in_features]. 16 output features are a tile, and a tile is contiguous: a product
// of one row streams it from front to back. Inside, 4 inputs of each of the 16 outputs make a group of 64 values
// (output by output), which is what one multiplication of AVX-512 takes.
//
//   8 bits   w = scale * q, q -127 .. 127, one scale per output feature
//            tile: scales float32 [16] | groups uint8 [in_features / 4][64], each value q + 128
//   4 bits   w = scale * q + minimum, q 0 .. 15, both per output feature and block of inputs; without stored minima
//            minimum = -8 * scale
//            tile: bounds float32 [16] | scales float16 [blocks][16] | minima the same, if any | groups uint8
//            [in_features / 8][64], each value of one group in the lower half of a byte, of the next in the upper half
//            bound: a power of two, at least every |w|, 15 * scale (with minima) and |minimum| of the output's row in
//            the whole matrix, and num_inputs / kBoundInputs times as much where that is more than 1
//
//   32 bits  tile: float32 [in_features][16], the weights as they are
//
// Each part of a tile begins at a multiple of 64 bytes. What fills up the last tile, group or block is never used: the
// activations there are 0. The same holds for in_offset, the inputs of the first block that belong to another rank.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shardrun {

inline constexpr size_t kTileOutputs = 16;
inline constexpr size_t kGroupInputs = 4;
inline constexpr size_t kGroupBytes = kTileOutputs * kGroupInputs;
// Of 4-bit products: inputs whose activations share a scale.
inline constexpr size_t kRowBlock = 32;
inline constexpr size_t kBlockGroups = kRowBlock / kGroupInputs;
// Inputs up to which a sum of 4-bit products fits into 32 bits whatever they are, see products.h.
inline constexpr size_t kBoundInputs = 8192;

struct PackedLayout {
  int bits = 8;  // 8, 4 or 32
  size_t out_features = 0;
  size_t in_features = 0;
  size_t block_size = 0;  // of 4 bits: a multiple of 32
  bool has_minimum = false;
  size_t in_offset = 0;

  size_t num_tiles() const { return (out_features + kTileOutputs - 1) / kTileOutputs; }
  // Of 4 bits.
  size_t num_blocks() const { return (in_offset + in_features + block_size - 1) / block_size; }
  // Inputs with in_offset before them and what fills up the last group or block behind them.
  size_t padded_inputs() const;
  // From the beginning of a tile. Of 4 bits.
  size_t scales_offset() const;
  // The same where there are no minima as groups_offset.
  size_t minima_offset() const;
  size_t groups_offset() const;
  size_t tile_bytes() const;
  size_t num_bytes() const { return num_tiles() * tile_bytes(); }
};

// Throws Error(kUsage) for a layout that does not exist.
void CheckLayout(const PackedLayout& layout);

}  // namespace shardrun
