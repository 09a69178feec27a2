#include "norms.h"

#include <cmath>

#include "../common/instruction_sets.h"

namespace shardrun {

namespace {

// Squares are added up in this many sums, whatever the CPU, and these one after the other.
constexpr size_t kSquareSums = 32;

float Total(const float* lanes) {
  float total = 0;
  for (size_t lane = 0; lane < kSquareSums; ++lane) total += lanes[lane];
  return total;
}

SHARDRUN_PER_INSTRUCTION_SET float SumSquares(const float* x, size_t count) {
  float lanes[kSquareSums] = {};
  size_t i = 0;
  for (; i + kSquareSums <= count; i += kSquareSums) {
    for (size_t lane = 0; lane < kSquareSums; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  }
  for (size_t lane = 0; i < count; ++i, ++lane) lanes[lane] += x[i] * x[i];
  return Total(lanes);
}

SHARDRUN_PER_INSTRUCTION_SET void AddRow(const float* x, const float* skip, size_t count, float* sum) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) sum[i] = x[i] + skip[i];
}

SHARDRUN_PER_INSTRUCTION_SET void ScaleRow(const float* x, const float* weight, float scale, size_t count, float* y) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) y[i] = x[i] * scale * weight[i];
}

void NormaliseRow(const RmsNorm& norm, const float* x, float* y) {
  const float mean = SumSquares(x, norm.columns) / static_cast<float>(norm.columns);
  ScaleRow(x, norm.weight, 1 / std::sqrt(mean + norm.epsilon), norm.columns, y);
}

}  // namespace

void Normalise(const RmsNorm& norm, const float* x, size_t num_rows, float* y, Threads* threads) {
  RunRows(num_rows, norm.columns, threads,
          [&](size_t row) { NormaliseRow(norm, x + row * norm.columns, y + row * norm.columns); });
}

void AddAndNormalise(const RmsNorm& norm, const float* x, const float* skip, size_t num_rows, float* sum, float* y,
                     Threads* threads) {
  RunRows(num_rows, norm.columns, threads, [&](size_t row) {
    const size_t first = row * norm.columns;
    AddRow(x + first, skip + first, norm.columns, sum + first);
    NormaliseRow(norm, sum + first, y + first);
  });
}

}  // namespace shardrun
