#include "gates.h"

#include <algorithm>

#include "../common/instruction_sets.h"
#include "exponential.h"

namespace shardrun {

namespace {

// Values that are worth waking another thread.
constexpr size_t kTaskValues = 16384;

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
  const size_t rows_per_task = std::max<size_t>(1, kTaskValues / std::max<size_t>(1, num_features));
  const size_t num_tasks = (num_rows + rows_per_task - 1) / rows_per_task;
  const auto open = [&](size_t task) {
    for (size_t row = task * rows_per_task; row < std::min(num_rows, (task + 1) * rows_per_task); ++row) {
      const float* gate = gate_up + row * 2 * num_features;
      GateRow(gate, gate + num_features, num_features, out + row * num_features);
    }
  };
  if (num_tasks <= 1 || threads->count() == 1) {
    for (size_t task = 0; task < num_tasks; ++task) open(task);
    return;
  }
  threads->Run(num_tasks, open);
}

}  // namespace shardrun
