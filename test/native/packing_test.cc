// Packing: what quantising makes of weights, read back through products, and weights that are packed in parts.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../native/common/half.h"
#include "kernels.h"

namespace shardrun {

TEST("4 bits, quantised here: each block's furthest value is exact, the others are within half a step") {
  for (const size_t block_size : {size_t{32}, size_t{128}}) {
    const PackedLayout layout = {4, 19, 300, block_size};
    const Floats weights = RandomFloats(layout.out_features * layout.in_features, 10);
    std::vector<uint8_t> packed(layout.num_bytes());
    PackAsInt4({layout, packed.data(), 0, layout.out_features}, MatrixOf(weights, 300, 300));
    for (size_t k = 0; k < layout.in_features; ++k) {
      Floats x(layout.in_features);
      x[k] = 1;  // reads column k of the weight
      const Floats column = MultiplyFloats(layout, packed, x, 1);
      for (size_t n = 0; n < layout.out_features; ++n) {
        const size_t first = k / block_size * block_size;
        const size_t count = std::min(block_size, layout.in_features - first);
        const float maximum = MaximumOf(&weights[n * 300 + first], count);
        const float weight = weights[n * 300 + k];
        const float step = maximum / 8;
        // one end of the range has a step less than the other
        const float most = std::fabs(weight) == maximum ? maximum / 1000 : step * 1.01F;
        CHECK(std::fabs(column[n] - weight) <= most);
      }
    }
  }
}

TEST("a weight packed in parts is the weight packed at once; a cut weight keeps the scales of its blocks") {
  const Floats weights = RandomFloats(50 * 96, 11);
  const PackedLayout whole = {4, 50, 96, 32};
  std::vector<uint8_t> at_once(whole.num_bytes());
  std::vector<uint8_t> in_parts(whole.num_bytes());
  PackAsInt4({whole, at_once.data(), 0, 50}, MatrixOf(weights, 96, 96));
  for (const auto& [first, last] : {std::pair<size_t, size_t>{0, 7}, {7, 39}, {39, 50}}) {
    const Floats part(weights.begin() + first * 96, weights.begin() + last * 96);
    PackAsInt4({whole, in_parts.data(), first, last - first}, MatrixOf(part, 96, 96));
  }
  CHECK(std::vector(at_once.begin(), at_once.begin() + 3 * whole.tile_bytes()) ==
        std::vector(in_parts.begin(), in_parts.begin() + 3 * whole.tile_bytes()));
  const Floats x = RandomFloats(96, 12);
  CHECK(MultiplyFloats(whole, at_once, x, 1) == MultiplyFloats(whole, in_parts, x, 1));

  // inputs 40 .. 80 of the same weight: blocks 1 and 2, of which 8 inputs come before, 16 after
  const PackedLayout cut = {4, 50, 40, 32, false, 8};
  std::vector<uint8_t> packed_cut(cut.num_bytes());
  const Floats blocks(weights.begin() + 32, weights.end());
  PackAsInt4({cut, packed_cut.data(), 0, 50}, MatrixOf(blocks, 64, 96));
  for (size_t k = 0; k < 40; ++k) {
    Floats one(40);
    one[k] = 1;
    Floats same(96);
    same[40 + k] = 1;
    CHECK(MultiplyFloats(cut, packed_cut, one, 1) == MultiplyFloats(whole, at_once, same, 1));
  }
}

TEST("weights of 16 bits are quantised as their float32 values, from any address") {
  const Floats floats = RandomFloats(6 * 70, 13);
  for (const DataType type : {DataType::kFloat16, DataType::kBFloat16}) {
    std::vector<uint8_t> stored(1 + floats.size() * 2);
    Floats widened;
    for (size_t i = 0; i < floats.size(); ++i) {
      const bool is_half = type == DataType::kFloat16;
      const uint16_t bits = is_half ? Float16::Store(floats[i]) : BFloat16::Store(floats[i]);
      widened.push_back(is_half ? Float16::Load(bits) : BFloat16::Load(bits));
      std::memcpy(&stored[1 + i * 2], &bits, 2);
    }
    const PackedLayout layout = {8, 6, 70};
    const FloatMatrix source = {&stored[1], type, 70, 70};
    Floats maxima(6);
    AbsoluteMaxima(source, 6, maxima.data(), &two_threads);
    std::vector<uint8_t> packed(layout.num_bytes());
    PackInt8({layout, packed.data(), 0, 6}, source, maxima.data(), &two_threads);
    const Floats x = RandomFloats(70, 14);
    CHECK(MultiplyFloats(layout, packed, x, 1) ==
          MultiplyFloats(layout, PackAsInt8(layout, widened, 70, Int8Reference(widened, 6, 70).maxima), x, 1));
  }
}

TEST("layouts that do not exist are refused") {
  const auto message = [](const PackedLayout& layout) -> std::string {
    try {
      CheckLayout(layout);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK_EQUAL(message({6, 1, 1}), "A packed weight has 8, 4 or 32 bits, received 6.");
  CHECK_EQUAL(message({8, 1, 1, 0, true}), "A packed weight of 8 bits has no minima and no in_offset.");
  CHECK_EQUAL(message({4, 1, 1, 48}),
              "A packed weight of 4 bits has blocks of a multiple of 32 inputs, received block size 48.");
  CHECK_EQUAL(message({4, 1, 1, 32, false, 32}),
              "A packed weight of 4 bits begins inside its first block of 32 inputs, received in_offset 32.");
  CHECK_EQUAL(message({4, 1, 1, 64, true, 63}), "");
}

}  // namespace shardrun

int main() { return check::RunAll(); }
