// The products in plain C++: the definition that the others are tested against, and what CPUs without AVX2 run.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../common/half.h"
#include "products.h"

namespace shardrun {

namespace plain {

// values: [groups, 4]   groups: [groups, 16, 4]   sums: [16]
void AddGroups(const int8_t* values, const uint8_t* groups, size_t num_groups, int32_t* sums) {
  for (size_t group = 0; group < num_groups; ++group) {
    for (size_t output = 0; output < kTileOutputs; ++output) {
      for (size_t i = 0; i < kGroupInputs; ++i) {
        sums[output] +=
            (groups[group * kGroupBytes + output * kGroupInputs + i] - 128) * values[group * kGroupInputs + i];
      }
    }
  }
}

// sums: [16]   += what the high parts of a row add
void AddHigh(const HighGroup* high, size_t num_high, const uint8_t* groups, int32_t* sums) {
  int32_t high_sums[kTileOutputs] = {};
  for (size_t i = 0; i < num_high; ++i) AddGroups(high[i].values, groups + high[i].group * kGroupBytes, 1, high_sums);
  for (size_t output = 0; output < kTileOutputs; ++output) sums[output] += kHighStep * high_sums[output];
}

void MultiplyInt8(const Product& product, size_t first_tile, size_t last_tile) {
  const PackedLayout& layout = product.layout;
  const size_t padded = layout.padded_inputs();
  for (size_t tile = first_tile; tile < last_tile; ++tile) {
    const uint8_t* weight = product.weight + tile * layout.tile_bytes();
    const size_t first = tile * kTileOutputs;
    const size_t num_outputs = std::min(kTileOutputs, layout.out_features - first);
    float scales[kTileOutputs];
    std::memcpy(scales, weight, sizeof(scales));
    for (size_t row = 0; row < product.rows.num_rows(); ++row) {
      int32_t sums[kTileOutputs] = {};
      AddGroups(product.rows.values() + row * padded, weight + layout.groups_offset(), padded / kGroupInputs, sums);
      AddHigh(product.rows.high(row), product.rows.num_high(row), weight + layout.groups_offset(), sums);
      const size_t place = row * layout.out_features + first;
      for (size_t output = 0; output < num_outputs; ++output) {
        if (product.sums != nullptr) {
          product.sums[place + output] = sums[output];
        } else {
          product.y[place + output] = static_cast<float>(sums[output]) * (product.rows.scales()[row] * scales[output]);
        }
      }
    }
  }
}

float LoadHalf(const uint8_t* halves, size_t index) {
  uint16_t half;
  std::memcpy(&half, halves + index * sizeof(half), sizeof(half));
  return Float16::Load(half);
}

// The integer product of one output with the inputs of a group. values: [4]   groups: two in each 64 bytes
int32_t MultiplyGroup(const int8_t* values, const uint8_t* groups, size_t group, size_t output) {
  int32_t sum = 0;
  for (size_t i = 0; i < kGroupInputs; ++i) {
    const uint8_t both = groups[group / 2 * kGroupBytes + output * kGroupInputs + i];
    sum += (group % 2 == 0 ? both & 0xf : both >> 4) * values[i];
  }
  return sum;
}

// `factor` times a number, rounded; with what the shift adds.
uint32_t RoundProduct(int32_t number, float factor) {
  const float shifted = std::fma(static_cast<float>(number), factor, kRoundingShift);
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  return bits;
}

// The sum of an output, in units.
int32_t MultiplyOutput(const Product& product, const uint8_t* weight, float bound, size_t output, size_t row) {
  const PackedLayout& layout = product.layout;
  const size_t padded = layout.padded_inputs();
  const size_t num_row_blocks = padded / kRowBlock;
  const int8_t* values = product.rows.values() + row * padded;
  const float* row_scales = product.rows.scales() + row * num_row_blocks;
  const uint8_t* groups = weight + layout.groups_offset();
  // The scale of a block of the row's, or its minimum, per bound.
  const auto scale_of = [&](size_t row_block, size_t offset) {
    const size_t block = row_block / (layout.block_size / kRowBlock);
    return LoadHalf(weight + offset, block * kTileOutputs + output) / bound;
  };
  uint32_t total = 0;
  for (size_t i = 0; i < num_row_blocks; ++i) {
    const float row_scale = row_scales[i];
    const int32_t row_sum = product.rows.sums()[row * num_row_blocks + i];
    int32_t sum = 0;
    for (size_t group = i * kBlockGroups; group < (i + 1) * kBlockGroups; ++group) {
      sum += MultiplyGroup(values + group * kGroupInputs, groups, group, output);
    }
    if (!layout.has_minimum) sum -= 8 * row_sum;
    total += RoundProduct(sum, row_scale * scale_of(i, layout.scales_offset())) - kRoundingShiftBits;
    if (layout.has_minimum) {
      total += RoundProduct(row_sum, row_scale * scale_of(i, layout.minima_offset())) - kRoundingShiftBits;
    }
  }
  for (size_t i = 0; i < product.rows.num_high(row); ++i) {
    const HighGroup& high = product.rows.high(row)[i];
    const size_t block = high.group / kBlockGroups;
    const float factor = kHighStep * row_scales[block] * scale_of(block, layout.scales_offset());
    total += RoundProduct(MultiplyGroup(high.values, groups, high.group, output), factor) - kRoundingShiftBits;
  }
  return static_cast<int32_t>(total);
}

void MultiplyInt4(const Product& product, size_t first_tile, size_t last_tile) {
  const PackedLayout& layout = product.layout;
  for (size_t tile = first_tile; tile < last_tile; ++tile) {
    const uint8_t* weight = product.weight + tile * layout.tile_bytes();
    const size_t first = tile * kTileOutputs;
    const size_t num_outputs = std::min(kTileOutputs, layout.out_features - first);
    float bounds[kTileOutputs];
    std::memcpy(bounds, weight, sizeof(bounds));
    for (size_t row = 0; row < product.rows.num_rows(); ++row) {
      for (size_t output = 0; output < num_outputs; ++output) {
        const int32_t sum = MultiplyOutput(product, weight, bounds[output], output, row);
        const size_t place = row * layout.out_features + first + output;
        if (product.sums != nullptr) {
          product.sums[place] = sum;
        } else {
          product.y[place] = static_cast<float>(sum) * (product.rows.units()[row] * bounds[output]);
        }
      }
    }
  }
}

}  // namespace plain

const Kernels kPlainKernels = {"plain",
                               [] { return true; },
                               plain::MultiplyInt8,
                               plain::MultiplyInt4,
                               plain::floats::Multiply,
                               plain::floats::AttendBlock};

}  // namespace shardrun
