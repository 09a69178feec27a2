#include "quantised_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "../common/half.h"

namespace shardrun {

namespace {

constexpr float kLargest = 127;
// Rows that one task quantises: their values are then in the cache of one core.
constexpr size_t kRowsPerTask = 8;

// From here on a block is divided into low and high parts: its others then have more bits than log2 of this in
// addition, and few blocks are like that (docs/quantization.md).
constexpr float kLeastPeak = 3;

struct QuantisedBlock {
  float scale;
  RoundedParts parts;
};

// x, low: [32]   high: room for one group
QuantisedBlock QuantiseBlock(const float* x, int8_t* low, HighGroup* high) {
  const BlockMagnitudes magnitudes = LargestMagnitudes(x);
  const auto [largest, others] = std::pair(BitCast<float>(magnitudes.largest), BitCast<float>(magnitudes.others));
  const float scale = RowScale(largest);
  if (!(scale > 0)) {
    std::fill_n(low, kRowBlock, 0);
    return {scale, {0, 0}};
  }
  if (largest >= kLeastPeak * others) {
    const float factor = std::min(kLargest / others, kLargestRounded / largest);
    const float finer = std::max(others / kLargest, largest / kLargestRounded);
    if (std::isfinite(factor)) return {finer, RoundToParts(x, kRowBlock, factor, low, high)};
  }
  return {scale, {RoundToInt8(x, kRowBlock, kLargest / largest, low), 0}};
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
  const size_t num_groups = padded / kGroupInputs;
  most_high_ =
      layout.bits == 8 ? (num_groups + kHighStride - 1) / kHighStride * kHighStride : num_groups / kBlockGroups;
  high_.resize(num_rows * most_high_);
  num_high_.resize(num_rows);
  if (layout.bits == 4) units_.resize(num_rows);
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
  RunTasks(num_tasks, threads, quantise);
}

void QuantisedRows::QuantiseInt8(const PackedLayout& layout, const float* x, size_t row, const int32_t* octaves) {
  const size_t padded = layout.padded_inputs();
  int8_t* values = values_.data() + row * padded;
  int32_t own_octaves[kOctaves];
  if (octaves == nullptr) CountOctaves(x, layout.in_features, own_octaves);
  const float step = RowStep(octaves == nullptr ? own_octaves : octaves + row * kOctaves);
  RoundedParts parts = {0, 0};
  if (step > 0) {
    HighGroup* high = high_.data() + row * most_high_;
    parts = RoundToParts(x, layout.in_features, 1 / step, values, high);
    while (parts.num_high % kHighStride != 0) high[parts.num_high++] = {0, {}};
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
  const size_t num_blocks = padded / kRowBlock;
  const float bound =
      octaves == nullptr ? RowBound(LargestMagnitude(x, layout.in_features)) : RowBound(octaves + row * kOctaves);
  units_[row] = SumUnit(bound);
  num_high_[row] = 0;
  for (size_t block = 0; block < num_blocks; ++block) {
    // the part of the block that is this rank's
    const size_t first = std::min(std::max(block * kRowBlock, begin), end);
    const size_t last = std::max(first, std::min((block + 1) * kRowBlock, end));
    const float* part = x + (first - begin);
    float filled_up[kRowBlock];
    if (last - first < kRowBlock) {
      std::fill_n(filled_up, kRowBlock, 0.0F);
      std::copy_n(part, last - first, filled_up + first % kRowBlock);
      part = filled_up;
    }
    HighGroup* high = high_.data() + row * most_high_ + num_high_[row];
    const QuantisedBlock quantised = QuantiseBlock(part, values + block * kRowBlock, high);
    if (quantised.parts.num_high > 0) high->group += static_cast<uint32_t>(block * kBlockGroups);
    num_high_[row] += quantised.parts.num_high;
    scales_[row * num_blocks + block] = quantised.scale / units_[row];
    sums_[row * num_blocks + block] = quantised.parts.sum;
  }
}

}  // namespace shardrun
