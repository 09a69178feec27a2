// The custom ops of domain "shardrun", version 1, for RMS norms (kernels/norms.h), float32:
//
//   RmsNorm(x [..., D], weight [D]) -> y [..., D]
//   AddRmsNorm(x [..., D], skip [..., D], weight [D]) -> (y, sum) [..., D]    sum = x + skip, y its norm
//
// Attribute: epsilon.
#pragma once

#include <memory>
#include <vector>

#include "custom_op.h"

namespace shardrun::ort {

std::vector<std::unique_ptr<Op>> MakeNormOps(int num_threads);

}  // namespace shardrun::ort
