// The custom op of domain "shardrun", version 1, for the gate of a feed-forward layer (kernels/gates.h):
//
//   GatedSilu(gate_up [..., 2F]) -> y [..., F]    float32; the gates are the first half of a row
#pragma once

#include <memory>

#include "custom_op.h"

namespace shardrun::ort {

std::unique_ptr<Op> MakeGatedSiluOp(int num_threads);

}  // namespace shardrun::ort
