#include "gates.h"

#include <algorithm>

#include "../common/instruction_sets.h"
#include "exponential.h"

namespace shardrun {

namespace {

SHARDRUN_PER_INSTRUCTION_SET void GateRow(const float* gate, const float* up, size_t count, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    // Below -88 nothing is left of a gate, and above 88 nothing is taken away. std::max keeps a NaN that comes first.
    const float open = std::max(gate[i], -88.0F);
    out[i] = open / (1.0F + Exponential(std::max(-open, -88.0F))) * up[i];
  }
}

}  // namespace

void GateWithSilu(const float* gate_up, size_t num_rows, size_t num_features, float* out, Threads* threads) {
  RunRows(num_rows, 2 * num_features, threads, [&](size_t row) {
    const float* gate = gate_up + row * 2 * num_features;
    GateRow(gate, gate + num_features, num_features, out + row * num_features);
  });
}

}  // namespace shardrun
