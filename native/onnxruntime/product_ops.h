// The custom ops of domain "shardrun", version 1, that multiply with packed weights (kernels/packed_weight.h):
//
//   PackedMatMul(x [..., K], weight) -> y [..., N]         the weight has 32 bits; else as the next
//   QuantizedMatMul(x [..., K], weight) -> y [..., N]      x, y: float32; weight: uint8, the packed bytes
//   AllReduceOctaves(x [..., K], token?) -> (octaves int32 [..., 64], token?)
//   IntegerMatMul(x [..., K], octaves [..., 64], weight) -> sums int32 [..., N]
//   AllReduceRescale(sums [..., N], octaves [..., 64], weight, token?) -> (y [..., N], token?)
//
// The last three are QuantizedMatMul in parts, for a K that is spread over ranks: how many values of each row
// lie in each octave (kernels/octaves.h), added up over the ranks; then integer products, added up and scaled. The bits
// of y are those of one rank, as integers have no rounding. Two of them are collectives like AllReduce
// (collective_ops.h), with its token and its label, so that what is exchanged needs no nodes of its own.
//
// Attributes, of all but AllReduceOctaves: bits (32; 8 or 4 of all but PackedMatMul), in_features (K), out_features
// (N); with 4 bits also block_size, has_minimum (0 or 1), in_offset. They are a PackedLayout.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels/float_rows.h"
#include "../kernels/quantised_rows.h"
#include "collective_kernels.h"
#include "custom_op.h"

namespace shardrun::ort {

// What the kernels of one session share. One run at a time uses it.
struct ProductState {
  int num_threads;          // of the session's pool
  QuantisedRows rows = {};  // scratch, as the next
  FloatRows float_rows = {};
};

// Both states must outlive them.
std::vector<std::unique_ptr<Op>> MakeProductOps(ProductState* state, CollectiveState* collectives);

}  // namespace shardrun::ort
