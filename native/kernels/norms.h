// RMS norms (Zhang and Sennrich, 2019), alone and behind the sum that a layer adds to the residual: one pass over a row
// while it is in the cache.
#pragma once

#include <cstddef>

#include "parallel.h"

namespace shardrun {

struct RmsNorm {
  const float* weight;  // [columns]
  size_t columns;
  float epsilon;
};

// y = x / sqrt(mean(x^2) + epsilon) * weight, row by row; the same bits on every CPU, and for a row alone and among
// others. x, y: [num_rows, columns]
void Normalise(const RmsNorm& norm, const float* x, size_t num_rows, float* y, Threads* threads);

// sum = x + skip, and y the norm of sum. x, skip, sum, y: [num_rows, columns]
void AddAndNormalise(const RmsNorm& norm, const float* x, const float* skip, size_t num_rows, float* sum, float* y,
                     Threads* threads);

}  // namespace shardrun
