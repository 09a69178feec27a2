// Packing: what quantising makes of weights, read back through products, and weights that are packed in parts.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../native/common/half.h"
#include "../../native/kernels/block_scale.h"
#include "kernels.h"

namespace shardrun {

namespace {

// The weight as 4 bits of a scale keep it.
float Rounded(float weight, float scale) {
  return scale == 0 ? 0 : scale * std::clamp(std::nearbyint(weight * (1 / scale)), -8.0F, 7.0F);
}

// What a scale costs: squares of errors, the dearer the larger the weight.
double CostOf(const float* weights, size_t count, float scale) {
  double mean = 0;
  double cost = 0;
  for (size_t i = 0; i < count; ++i) mean += std::fabs(weights[i]) / static_cast<double>(count);
  for (size_t i = 0; i < count; ++i) {
    cost += (std::fabs(weights[i]) + mean) * std::pow(weights[i] - Rounded(weights[i], scale), 2);
  }
  return cost;
}

}  // namespace

TEST("4 bits: the chosen scale loses less than the one that keeps the furthest value, and hardly more than any other") {
  for (const size_t count : {size_t{32}, size_t{50}, size_t{128}}) {
    const Floats weights = RandomFloats(100 * count, 10);
    double chosen = 0, plain = 0, least = 0;
    for (size_t block = 0; block < 100; ++block) {
      const float* w = &weights[block * count];
      const float limit = MaximumOf(w, count) / 8;
      chosen += CostOf(w, count, Float16::Load(ChooseScale(w, count)));
      plain += std::min(CostOf(w, count, limit), CostOf(w, count, -limit));
      double best = HUGE_VAL;
      for (float part = 0.6F; part < 1.2F; part += 0.002F) {
        best = std::min({best, CostOf(w, count, part * limit), CostOf(w, count, -part * limit)});
      }
      least += best;
    }
    CHECK(chosen < 0.95 * plain);
    CHECK(chosen < 1.02 * least);
  }
}

TEST("4 bits: what already lies on steps of a scale is kept") {
  std::mt19937 random(11);
  for (const float scale : {0.0625F, -0.3125F, 1e-4F}) {
    for (const int furthest : {-8, 7}) {
      const float stored = Float16::Load(Float16::Store(scale));
      Floats weights;
      for (size_t i = 0; i < 32; ++i) weights.push_back(static_cast<float>(static_cast<int>(random() % 15) - 7) * stored);
      std::replace(weights.begin(), weights.end(), -7 * stored, -6 * stored);
      weights[20] = static_cast<float>(furthest) * stored;
      CHECK_EQUAL(Float16::Load(ChooseScale(weights.data(), weights.size())), stored);
    }
  }
}

TEST("4 bits: the scale of zeros is 0, of what float16 cannot hold none") {
  const auto scale_of = [](float furthest) {
    Floats weights = {0, furthest, 0, furthest / 3};
    return Float16::Load(ChooseScale(weights.data(), weights.size()));
  };
  for (const float small : {0.0F, -0.0F, 1e-9F}) CHECK_EQUAL(scale_of(small), 0.0F);
  CHECK(scale_of(1e-6F) != 0);
  CHECK(std::isfinite(scale_of(5e5F)));
  for (const float large : {1e7F, HUGE_VALF}) CHECK(std::isinf(scale_of(large)));
  CHECK(std::isnan(scale_of(std::nanf(""))));
}

TEST("4 bits, quantised here: each weight is the nearest step of its block's scale") {
  for (const size_t block_size : {size_t{32}, size_t{128}}) {
    const PackedLayout layout = {4, 19, 300, block_size};
    const Floats weights = RandomFloats(layout.out_features * layout.in_features, 10);
    std::vector<uint8_t> packed(layout.num_bytes());
    PackAsInt4({layout, packed.data(), 0, layout.out_features}, MatrixOf(weights, 300, 300));
    for (size_t k = 0; k < layout.in_features; ++k) {
      Floats x(layout.in_features);
      x[k] = 127;  // reads column k of the weight: the activation's scale is 1
      const Floats column = MultiplyFloats(layout, packed, x, 1);
      for (size_t n = 0; n < layout.out_features; ++n) {
        const size_t first = k / block_size * block_size;
        const size_t count = std::min(block_size, layout.in_features - first);
        const float scale = Float16::Load(ChooseScale(&weights[n * 300 + first], count));
        CHECK(std::fabs(column[n] - 127 * Rounded(weights[n * 300 + k], scale)) <= SumUnit(128) * kBound / 2);
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
