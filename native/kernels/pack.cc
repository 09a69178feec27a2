#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "../common/half.h"
#include "../common/instruction_sets.h"
#include "quantised_rows.h"

namespace shardrun {

namespace {

template <typename Element>
SHARDRUN_INLINE void Widen(const uint8_t* source, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t stored;
    std::memcpy(&stored, source + i * sizeof(stored), sizeof(stored));
    out[i] = Element::Load(stored);
  }
}

SHARDRUN_PER_INSTRUCTION_SET
void WidenFloat16(const uint8_t* source, size_t count, float* out) { Widen<Float16>(source, count, out); }

SHARDRUN_PER_INSTRUCTION_SET
void WidenBFloat16(const uint8_t* source, size_t count, float* out) { Widen<BFloat16>(source, count, out); }

// out: [num_columns]
void ReadRow(const FloatMatrix& source, size_t row, float* out) {
  const size_t element_bytes = source.type == DataType::kFloat32 ? sizeof(float) : sizeof(uint16_t);
  const uint8_t* data = source.data + row * source.row_stride * element_bytes;
  if (source.type == DataType::kFloat32) {
    std::copy_n(data, source.num_columns * sizeof(float), reinterpret_cast<uint8_t*>(out));
  } else if (source.type == DataType::kFloat16) {
    WidenFloat16(data, source.num_columns, out);
  } else {
    WidenBFloat16(data, source.num_columns, out);
  }
}

// Rounds x * factor to the nearest, ties to even, adds `zero`, and keeps to [least, most].
SHARDRUN_PER_INSTRUCTION_SET
void QuantiseValues(const float* x, size_t count, float factor, int zero, int least, int most, uint8_t* out) {
  constexpr float kFurthest = 1000;  // beyond every value, and no further than what can be shifted
  for (size_t i = 0; i < count; ++i) {
    float scaled = x[i] * factor;
    scaled = scaled < -kFurthest ? -kFurthest : scaled;
    scaled = scaled < kFurthest ? scaled : kFurthest;
    const float shifted = scaled + kRoundingShift;
    uint32_t bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    int value = static_cast<int>(bits - kRoundingShiftBits) + zero;
    value = value < least ? least : value;
    out[i] = static_cast<uint8_t>(value > most ? most : value);
  }
}

// The value of largest magnitude, with its sign.
float Furthest(const float* x, size_t count) {
  const float maximum = AbsoluteMaximum(x, count);
  for (size_t i = 0; i < count; ++i) {
    if (x[i] == -maximum) return -maximum;  // of two, the negative one: it has one step more
  }
  return maximum;
}

// Calls pack(row, scratch) for every row, tile by tile on the threads.
template <typename Pack>
void ForEachRow(const PackTarget& target, size_t num_floats, Threads* threads, const Pack& pack) {
  const size_t num_tasks = (target.num_outputs + kTileOutputs - 1) / kTileOutputs;
  threads->Run(num_tasks, [&](size_t task) {
    std::vector<float> floats(num_floats);
    std::vector<uint8_t> values(target.layout.padded_inputs());
    const size_t end = std::min(target.num_outputs, (task + 1) * kTileOutputs);
    for (size_t row = task * kTileOutputs; row < end; ++row) pack(row, floats.data(), values.data());
  });
}

uint8_t* TileOf(const PackTarget& target, size_t row) {
  return target.packed + (target.first_output + row) / kTileOutputs * target.layout.tile_bytes();
}

size_t PlaceInTile(const PackTarget& target, size_t row) { return (target.first_output + row) % kTileOutputs; }

// An output's scale of 8 bits, or bound of 4.
void StoreFactor(const PackTarget& target, size_t row, float factor) {
  std::memcpy(TileOf(target, row) + PlaceInTile(target, row) * sizeof(factor), &factor, sizeof(factor));
}

// values: [padded_inputs], a byte each
void StoreInt8Values(const PackTarget& target, size_t row, const uint8_t* values) {
  uint8_t* out = TileOf(target, row) + target.layout.groups_offset() + PlaceInTile(target, row) * kGroupInputs;
  for (size_t i = 0; i < target.layout.padded_inputs(); i += kGroupInputs, out += kGroupBytes) {
    std::memcpy(out, values + i, kGroupInputs);
  }
}

void StoreInt4Values(const PackTarget& target, size_t row, const uint8_t* values) {
  uint8_t* out = TileOf(target, row) + target.layout.groups_offset() + PlaceInTile(target, row) * kGroupInputs;
  for (size_t i = 0; i < target.layout.padded_inputs(); i += 2 * kGroupInputs, out += kGroupBytes) {
    uint32_t lower;
    uint32_t upper;
    std::memcpy(&lower, values + i, sizeof(lower));
    std::memcpy(&upper, values + i + kGroupInputs, sizeof(upper));
    const uint32_t both = lower | upper << 4;
    std::memcpy(out, &both, sizeof(both));
  }
}

void StoreHalf(const PackTarget& target, size_t row, size_t offset, size_t block, uint16_t half) {
  const size_t index = block * kTileOutputs + PlaceInTile(target, row);
  std::memcpy(TileOf(target, row) + offset + index * sizeof(half), &half, sizeof(half));
}

}  // namespace

void AbsoluteMaxima(const FloatMatrix& source, size_t num_rows, float* maxima, Threads* threads) {
  const size_t num_tasks = (num_rows + kTileOutputs - 1) / kTileOutputs;
  threads->Run(num_tasks, [&](size_t task) {
    std::vector<float> floats(source.num_columns);
    const size_t end = std::min(num_rows, (task + 1) * kTileOutputs);
    for (size_t row = task * kTileOutputs; row < end; ++row) {
      ReadRow(source, row, floats.data());
      maxima[row] = AbsoluteMaximum(floats.data(), floats.size());
    }
  });
}

void PackFloat32(const PackTarget& target, const FloatMatrix& source, Threads* threads) {
  ForEachRow(target, source.num_columns, threads, [&](size_t row, float* floats, uint8_t*) {
    ReadRow(source, row, floats);
    uint8_t* out = TileOf(target, row) + PlaceInTile(target, row) * sizeof(float);
    for (size_t i = 0; i < target.layout.in_features; ++i) {
      std::memcpy(out + i * kTileOutputs * sizeof(float), floats + i, sizeof(float));
    }
  });
}

void PackInt8(const PackTarget& target, const FloatMatrix& source, const float* maxima, Threads* threads) {
  ForEachRow(target, source.num_columns, threads, [&](size_t row, float* floats, uint8_t* values) {
    ReadRow(source, row, floats);
    const float scale = RowScale(maxima[row]);
    const float factor = scale > 0 ? 127 / maxima[row] : 0;
    const size_t count = std::min(source.num_columns, target.layout.in_features);
    QuantiseValues(floats, count, factor, 128, 1, 255, values);
    std::fill_n(values + count, target.layout.padded_inputs() - count, 128);
    StoreFactor(target, row, scale);
    StoreInt8Values(target, row, values);
  });
}

void PackInt4(const PackTarget& target, const FloatMatrix& source, const float* bounds, Threads* threads) {
  const PackedLayout& layout = target.layout;
  ForEachRow(target, source.num_columns, threads, [&](size_t row, float* floats, uint8_t* values) {
    ReadRow(source, row, floats);
    std::fill_n(values, layout.padded_inputs(), 8);
    for (size_t block = 0; block < layout.num_blocks(); ++block) {
      const size_t first = std::min(source.num_columns, block * layout.block_size);
      const size_t count = std::min(layout.block_size, source.num_columns - first);
      const uint16_t half = Float16::Store(Furthest(floats + first, count) / -8);
      const float scale = Float16::Load(half);
      const float factor = scale == 0 || !std::isfinite(1 / scale) ? 0 : 1 / scale;
      QuantiseValues(floats + first, count, factor, 8, 0, 15, values + first);
      StoreHalf(target, row, layout.scales_offset(), block, half);
      if (layout.has_minimum) StoreHalf(target, row, layout.minima_offset(), block, Float16::Store(-8 * scale));
    }
    StoreFactor(target, row, bounds[row]);
    StoreInt4Values(target, row, values);
  });
}

void PackInt4Values(const PackTarget& target, const QuantisedMatrix& source, Threads* threads) {
  const PackedLayout& layout = target.layout;
  const size_t num_blocks = layout.num_blocks();
  const auto half_of = [&](const uint8_t* halves, size_t row, size_t block) {
    uint16_t half;
    std::memcpy(&half, halves + (row * num_blocks + block) * sizeof(half), sizeof(half));
    return half;
  };
  ForEachRow(target, 0, threads, [&](size_t row, float*, uint8_t* values) {
    std::fill_n(values, layout.padded_inputs(), 8);
    std::copy_n(source.values + row * source.num_columns, source.num_columns, values);
    StoreFactor(target, row, source.bounds[row]);
    StoreInt4Values(target, row, values);
    for (size_t block = 0; block < num_blocks; ++block) {
      StoreHalf(target, row, layout.scales_offset(), block, half_of(source.scales, row, block));
      if (layout.has_minimum) {
        StoreHalf(target, row, layout.minima_offset(), block, half_of(source.minima, row, block));
      }
    }
  });
}

}  // namespace shardrun
