#include "gates.h"

#include <algorithm>
#include <cstdint>

#include "../common/half.h"
#include "../common/instruction_sets.h"
#include "rounding.h"

namespace shardrun {

namespace {

// Values that are worth waking another thread.
constexpr size_t kTaskValues = 16384;

// e^x for |x| <= 88: 2^n * e^r with n whole and |r| <= ln(2) / 2, e^r as its series, whose rest is smaller than a float
// tells. ln(2) is taken away in two parts, of which n times the first is exact.
SHARDRUN_INLINE float Exponential(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  const float n = (x * kLog2E + kRoundingShift) - kRoundingShift;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float series = 1.0F / 5040;
  series = series * r + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  return series * BitCast<float>((static_cast<int32_t>(n) + 127) << 23);
}

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
