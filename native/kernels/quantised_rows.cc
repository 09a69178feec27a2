#include "quantised_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../common/half.h"

namespace shardrun {

namespace {

constexpr float kLargest = 127;
// Rows that one task quantises: their values are then in the cache of one core.
constexpr size_t kRowsPerTask = 8;

struct Quantised {
  float scale;
  int32_t sum;
};

Quantised QuantiseValues(const float* x, size_t count, float maximum, int8_t* out) {
  const float scale = RowScale(maximum);
  if (scale > 0) return {scale, RoundToInt8(x, count, kLargest / maximum, out)};
  std::fill_n(out, count, 0);
  return {scale, 0};
}

}  // namespace

float AbsoluteMaximum(const float* x, size_t count) { return BitCast<float>(LargestMagnitude(x, count)); }

float RowScale(float maximum) {
  if (!std::isfinite(maximum)) return std::numeric_limits<float>::quiet_NaN();
  return std::isfinite(kLargest / maximum) ? maximum / kLargest : 0;  // too small to be told from 0
}

float SumUnit(float row_bound) { return row_bound / (1 << 17); }

void QuantisedRows::Quantise(const PackedLayout& layout, const float* x, size_t num_rows, const int32_t* octaves,
                             Threads* threads) {
  const size_t padded = layout.padded_inputs();
  const size_t scales_per_row = layout.bits == 8 ? 1 : padded / kRowBlock;
  num_rows_ = num_rows;
  values_.resize(num_rows * padded);
  scales_.resize(num_rows * scales_per_row);
  sums_.resize(num_rows * scales_per_row);
  if (layout.bits == 8) {
    groups_per_row_ = (padded / kGroupInputs + kHighStride - 1) / kHighStride * kHighStride;
    high_.resize(num_rows * groups_per_row_);
    num_high_.resize(num_rows);
  } else {
    units_.resize(num_rows);
  }
  const size_t num_tasks = (num_rows + kRowsPerTask - 1) / kRowsPerTask;
  const auto quantise = [&](size_t task) {
    const size_t end = std::min(num_rows, (task + 1) * kRowsPerTask);
    for (size_t row = task * kRowsPerTask; row < end; ++row) {
      if (layout.bits == 8) {
        QuantiseInt8(layout, x + row * layout.in_features, row, octaves);
      } else {
        QuantiseBlocks(layout, x + row * layout.in_features, row, octaves);
      }
    }
  };
  if (num_tasks == 1) return quantise(0);
  threads->Run(num_tasks, quantise);
}

void QuantisedRows::QuantiseInt8(const PackedLayout& layout, const float* x, size_t row, const int32_t* octaves) {
  const size_t padded = layout.padded_inputs();
  int8_t* values = values_.data() + row * padded;
  int32_t own_octaves[kOctaves];
  if (octaves == nullptr) CountOctaves(x, layout.in_features, own_octaves);
  const float step = RowStep(octaves == nullptr ? own_octaves : octaves + row * kOctaves);
  RoundedParts parts = {0, 0};
  if (step > 0) {
    parts = RoundToParts(x, layout.in_features, 1 / step, values, high_.data() + row * groups_per_row_);
  } else {
    std::fill_n(values, layout.in_features, 0);
  }
  std::fill_n(values + layout.in_features, padded - layout.in_features, 0);
  scales_[row] = step;
  sums_[row] = parts.sum;
  num_high_[row] = parts.num_high;
}

void QuantisedRows::QuantiseBlocks(const PackedLayout& layout, const float* x, size_t row, const int32_t* octaves) {
  const size_t padded = layout.padded_inputs();
  int8_t* values = values_.data() + row * padded;
  const size_t begin = layout.in_offset;
  const size_t end = begin + layout.in_features;
  std::fill_n(values, padded, 0);
  const float bound =
      octaves == nullptr ? RowBound(LargestMagnitude(x, layout.in_features)) : RowBound(octaves + row * kOctaves);
  units_[row] = SumUnit(bound);
  for (size_t block = 0; block < padded / kRowBlock; ++block) {
    // the part of the block that is this rank's
    const size_t first = std::min(std::max(block * kRowBlock, begin), end);
    const size_t last = std::max(first, std::min((block + 1) * kRowBlock, end));
    const float* part = x + (first - begin);
    const Quantised quantised = QuantiseValues(part, last - first, AbsoluteMaximum(part, last - first), values + first);
    scales_[row * (padded / kRowBlock) + block] = quantised.scale / units_[row];
    sums_[row * (padded / kRowBlock) + block] = quantised.sum;
  }
}

}  // namespace shardrun
