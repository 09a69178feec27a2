// The custom ops of domain "shardrun", version 1, that multiply with packed weights (kernels/packed_weight.h):
//
//   PackedMatMul(x [..., K], weight) -> y [..., N]         the weight has 32 bits; else as the next
//   QuantizedMatMul(x [..., K], weight) -> y [..., N]      x, y: float32; weight: uint8, the packed bytes
//   RowOctaves(x [..., K]) -> octaves int32 [..., 64]      how many values of each row lie in each (kernels/octaves.h)
//   IntegerMatMul(x [..., K], octaves [..., 64], weight) -> sums int32 [..., N]
//   Rescale(sums [..., N], octaves [..., 64], weight) -> y [..., N]
//
// The last three are QuantizedMatMul of 8 bits in parts, for a K that is spread over ranks: RowOctaves, AllReduce sum,
// IntegerMatMul, AllReduce sum, Rescale. The bits of y are those of one rank, as integers have no rounding.
//
// Attributes, of all but RowOctaves: bits (32; 8 or 4; 8 for the last two), in_features (K), out_features (N); with 4
// bits also block_size, has_minimum (0 or 1), in_offset. They are a PackedLayout.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels/float_rows.h"
#include "../kernels/quantised_rows.h"
#include "custom_op.h"

namespace shardrun::ort {

// What the kernels of one session share. One run at a time uses it.
struct ProductState {
  int num_threads;          // of the session's pool
  QuantisedRows rows = {};  // scratch, as the next
  FloatRows float_rows = {};
};

// `state` must outlive them.
std::vector<std::unique_ptr<Op>> MakeProductOps(ProductState* state);

}  // namespace shardrun::ort
