// Activations as int8: what a product multiplies its packed weight with.
//
//   8 bits   one scale per row, the step that follows from the row's octaves (octaves.h): its own or, when the row is
//            spread over ranks, those of all its parts. The largest values, about 1/32 of the row, are 15 bits wide:
//            low + 255 * high, both 8 bits. The high parts are kept in a list.
//   4 bits   one scale per 32 inputs, their own maximum / 127. Where one group of 4 has a value 3 times as large as any
//            other of the 32 it is these others' maximum / 127, and what is larger is 15 bits wide as above. The unit
//            of the row, in which products are summed, is a power of two and follows from the octave of its largest
//            value.
//
// Rounded to the nearest, ties to even. A value that is no number or infinite makes the scale NaN, and so the row's
// outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "octaves.h"
#include "packed_weight.h"
#include "parallel.h"
#include "rounding.h"

namespace shardrun {

// The largest absolute value of x[0 .. count): 0 when there is none, a NaN or infinity if there is one.
float AbsoluteMaximum(const float* x, size_t count);

// What one step of the values of a row with this maximum is worth.
float RowScale(float maximum);

// The unit in which products of 4 bits of a row with this bound are summed, per bound of the output: what a block of 32
// inputs adds is then below 2^22 of them.
float SumUnit(float row_bound);

// Of 8 bits, lists of groups with high parts are filled up with zeros to a multiple of this, so that loops over them
// end where they are expected to.
inline constexpr size_t kHighStride = 4;

// Memory for the rows of one product at a time.
class QuantisedRows {
 public:
  // x: [num_rows, in_features]   octaves: [num_rows, kOctaves], or null: each row's own
  void Quantise(const PackedLayout& layout, const float* x, size_t num_rows, const int32_t* octaves, Threads* threads);

  size_t num_rows() const { return num_rows_; }
  // [num_rows, padded_inputs]: the low parts
  const int8_t* values() const { return values_.data(); }
  // [num_rows, scales per row]: 1 with 8 bits, padded_inputs / 32 with 4, these in units of the row. sums: of the
  // values (both parts) that share a scale.
  const float* scales() const { return scales_.data(); }
  const int32_t* sums() const { return sums_.data(); }
  // Of 4 bits: [num_rows]
  const float* units() const { return units_.data(); }
  // The groups of a row's inputs with high parts, in order.
  const HighGroup* high(size_t row) const { return high_.data() + row * most_high_; }
  size_t num_high(size_t row) const { return num_high_[row]; }

 private:
  void QuantiseInt8(const PackedLayout& layout, const float* x, size_t row, const int32_t* octaves);
  void QuantiseBlocks(const PackedLayout& layout, const float* x, size_t row, const int32_t* octaves);

  size_t num_rows_ = 0;
  size_t most_high_ = 0;  // of one row
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  std::vector<float> units_;
  std::vector<HighGroup> high_;  // [num_rows, most_high]
  std::vector<size_t> num_high_;
};

}  // namespace shardrun
