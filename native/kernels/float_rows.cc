#include "float_rows.h"

#include <algorithm>

namespace shardrun {

namespace {

// Inputs that are moved at a time: a cache line of each row.
constexpr size_t kLineFloats = 16;

// x: [num_rows, num_inputs]   out: [num_inputs, num_rows]
void Transpose(const float* x, size_t num_rows, size_t num_inputs, float* out) {
  for (size_t begin = 0; begin < num_inputs; begin += kLineFloats) {
    const size_t end = std::min(num_inputs, begin + kLineFloats);
    for (size_t row = 0; row < num_rows; ++row) {
      for (size_t i = begin; i < end; ++i) out[i * num_rows + row] = x[row * num_inputs + i];
    }
  }
}

}  // namespace

void FloatRows::Arrange(const float* x, size_t num_rows, size_t num_inputs, Threads* threads) {
  num_rows_ = num_rows;
  num_inputs_ = num_inputs;
  num_groups_ = (num_rows + kGroupRows - 1) / kGroupRows;
  values_ = x;
  if (num_rows <= 1) return;
  arranged_.resize(num_rows * num_inputs);
  const auto arrange = [&](size_t group) {
    const size_t first = first_row(group);
    Transpose(x + first * num_inputs, first_row(group + 1) - first, num_inputs, arranged_.data() + first * num_inputs);
  };
  RunTasks(num_groups_, threads, arrange);
  values_ = arranged_.data();
}

}  // namespace shardrun
