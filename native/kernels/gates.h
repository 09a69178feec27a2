// The gate of a feed-forward layer, silu(gate) * up: what is left of it between two products, read and written once.
#pragma once

#include <cstddef>

#include "parallel.h"

namespace shardrun {

// out = gate * sigmoid(gate) * up, to within 3 units in the last place; the same bits on every CPU.
// gate_up: [num_rows, 2 * num_features], a row's gates before its ups   out: [num_rows, num_features]
void GateWithSilu(const float* gate_up, size_t num_rows, size_t num_features, float* out, Threads* threads);

}  // namespace shardrun
