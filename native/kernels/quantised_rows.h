// Activations as int8: what a product multiplies its packed weight with.
//
//   8 bits   one scale per row: maximum / 127, the maximum being the row's own or, when the row is spread over ranks,
//            that of all its parts
//   4 bits   one scale per 32 inputs, from their own maximum
//
// Rounded to the nearest, ties to even; a value is x * (127 / maximum). A maximum that is no number or infinite makes
// the scale NaN, and so the row's outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "packed_weight.h"
#include "parallel.h"

namespace shardrun {

// The largest absolute value of x[0 .. count): 0 when there is none, a NaN or infinity if there is one.
float AbsoluteMaximum(const float* x, size_t count);

// What one step of the values of a row with this maximum is worth.
float RowScale(float maximum);

// Memory for the rows of one product at a time.
class QuantisedRows {
 public:
  // x: [num_rows, in_features]   maxima: [num_rows], or null: each row's own
  void Quantise(const PackedLayout& layout, const float* x, size_t num_rows, const float* maxima, Threads* threads);

  size_t num_rows() const { return num_rows_; }
  // [num_rows, padded_inputs]
  const int8_t* values() const { return values_.data(); }
  // [num_rows, scales per row]: 1 with 8 bits, padded_inputs / 32 with 4. sums: of the values that share a scale.
  const float* scales() const { return scales_.data(); }
  const int32_t* sums() const { return sums_.data(); }

 private:
  void QuantiseRow(const PackedLayout& layout, const float* x, size_t row, const float* maxima);

  size_t num_rows_ = 0;
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
};

}  // namespace shardrun
