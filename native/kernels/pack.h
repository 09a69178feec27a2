// Makes packed weights (packed_weight.h): matrices of floats are quantised or rearranged, or given values are put in
// their places.
//
// All functions fill output features [first_output, first_output + num_outputs) of a packed weight from as many rows,
// so that a weight can be packed part by part (q|k|v, or as it is read). Different parts may be packed at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/types.h"
#include "packed_weight.h"
#include "parallel.h"

namespace shardrun {

// Rows of floats, of any alignment.
struct FloatMatrix {
  const uint8_t* data;
  DataType type;  // kFloat32, kFloat16 or kBFloat16
  size_t num_columns;
  size_t row_stride;  // elements from one row to the next
};

struct PackTarget {
  const PackedLayout& layout;
  uint8_t* packed;
  size_t first_output;
  size_t num_outputs;
};

// The largest absolute value of each row. maxima: [num_rows]
void AbsoluteMaxima(const FloatMatrix& source, size_t num_rows, float* maxima, Threads* threads);

// 8 bits. source: [num_outputs, in_features]   maxima: [num_outputs], of the whole rows of which source may be a part;
// the scales are these / 127.
void PackInt8(const PackTarget& target, const FloatMatrix& source, const float* maxima, Threads* threads);

// 32 bits: the floats as they are. source: [num_outputs, in_features]
void PackFloat32(const PackTarget& target, const FloatMatrix& source, Threads* threads);

// 4 bits, quantised here: per block scale = its value of largest magnitude / -8, rounded to float16, so that this
// value becomes q = 0. source: [num_outputs, columns], whole blocks: it begins with the in_offset inputs of the first
// block that are not this rank's, and ends with the end of the last block or of the weight.
// bounds: [num_outputs], packed_weight.h
void PackInt4(const PackTarget& target, const FloatMatrix& source, const float* bounds, Threads* threads);

// 4 bits, quantised elsewhere (GGUF). values: [num_outputs, num_columns] 0 .. 15, from the beginning of the first
// block   scales, and minima if the layout has them: float16 [num_outputs, blocks]
struct QuantisedMatrix {
  const uint8_t* values;
  size_t num_columns;
  const uint8_t* scales;
  const uint8_t* minima;
  const float* bounds;  // [num_outputs], packed_weight.h
};
void PackInt4Values(const PackTarget& target, const QuantisedMatrix& source, Threads* threads);

}  // namespace shardrun
