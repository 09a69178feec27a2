// Products of float rows with a packed float32 weight: y = x w', each sum taken input by input from 0 on with one
// rounding per input (fma), so that the bits of y depend neither on the instruction set nor on the other rows.
//
// The weight is read as it lies in a file. onnxruntime's own float products copy each matrix into such an order when a
// session is created, which takes a second for each half gigabyte, and as much private memory as there are weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "float_rows.h"
#include "packed_weight.h"

namespace shardrun {

struct FloatProduct {
  const PackedLayout& layout;  // of 32 bits
  const uint8_t* weight;
  const FloatRows& rows;
  float* y;  // [num_rows, out_features]
};

// One instruction set's products of all rows with tiles [first_tile, last_tile).
namespace plain::floats {
void Multiply(const FloatProduct& product, size_t first_tile, size_t last_tile);
}
#if defined(__x86_64__)
namespace avx2::floats {
void Multiply(const FloatProduct& product, size_t first_tile, size_t last_tile);
}
namespace avx512::floats {
void Multiply(const FloatProduct& product, size_t first_tile, size_t last_tile);
}
#endif

}  // namespace shardrun
