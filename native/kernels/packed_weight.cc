#include "packed_weight.h"

#include <string>

#include "../common/types.h"

namespace shardrun {

namespace {

size_t RoundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

size_t PackedLayout::padded_inputs() const {
  if (bits == 32) return in_features;
  return bits == 8 ? RoundUp(in_features, kGroupInputs) : num_blocks() * block_size;
}

size_t PackedLayout::scales_offset() const { return kTileOutputs * sizeof(float); }

size_t PackedLayout::minima_offset() const {
  return scales_offset() + RoundUp(num_blocks() * kTileOutputs * sizeof(uint16_t), kGroupBytes);
}

size_t PackedLayout::groups_offset() const {
  if (bits == 32) return 0;
  if (bits == 8) return kTileOutputs * sizeof(float);
  return has_minimum ? 2 * minima_offset() - scales_offset() : minima_offset();
}

size_t PackedLayout::tile_bytes() const {
  return groups_offset() + padded_inputs() * kTileOutputs * static_cast<size_t>(bits) / 8;
}

void CheckLayout(const PackedLayout& layout) {
  const auto refuse = [](const std::string& what) { throw Error(Error::Kind::kUsage, what); };
  if (layout.bits == 8 || layout.bits == 32) {
    if (layout.has_minimum || layout.in_offset != 0) {
      refuse("A packed weight of " + std::to_string(layout.bits) + " bits has no minima and no in_offset.");
    }
  } else if (layout.bits == 4) {
    if (layout.block_size == 0 || layout.block_size % kRowBlock != 0) {
      refuse("A packed weight of 4 bits has blocks of a multiple of " + std::to_string(kRowBlock) +
             " inputs, received block size " + std::to_string(layout.block_size) + ".");
    }
    if (layout.in_offset >= layout.block_size) {
      refuse("A packed weight of 4 bits begins inside its first block of " + std::to_string(layout.block_size) +
             " inputs, received in_offset " + std::to_string(layout.in_offset) + ".");
    }
  } else {
    refuse("A packed weight has 8, 4 or 32 bits, received " + std::to_string(layout.bits) + ".");
  }
}

}  // namespace shardrun
