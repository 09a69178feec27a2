// Float activations in the order in which a product with a packed float32 weight reads them: groups of rows, in each
// the values of one input side by side, so that neither a long row's stride nor the number of rows matters to the
// cache.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel.h"

namespace shardrun {

// Rows whose sums the fastest kernel holds in its registers.
inline constexpr size_t kGroupRows = 12;

// Memory for the rows of one product at a time.
class FloatRows {
 public:
  // x: [num_rows, num_inputs], to be kept until the product is done: a single row is read where it lies
  void Arrange(const float* x, size_t num_rows, size_t num_inputs, Threads* threads);

  size_t num_rows() const { return num_rows_; }
  size_t num_groups() const { return num_groups_; }
  // The first row of a group; of num_groups, the number of rows. Groups differ by at most one row.
  size_t first_row(size_t group) const { return num_rows_ * group / num_groups_; }
  // [num_inputs, rows of the group]
  const float* values(size_t group) const { return values_ + first_row(group) * num_inputs_; }

 private:
  size_t num_rows_ = 0;
  size_t num_groups_ = 0;
  size_t num_inputs_ = 0;
  const float* values_ = nullptr;
  std::vector<float> arranged_;
};

}  // namespace shardrun
