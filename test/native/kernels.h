// What the tests of the kernels share: random matrices, products with every instruction set, and 8 bits as the definition has them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../../native/kernels/pack.h"
#include "../../native/kernels/products.h"
#include "check.h"

namespace shardrun {

using Floats = std::vector<float>;

inline Floats RandomFloats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats floats(count);
  for (float& value : floats) value = normal(random);
  return floats;
}

inline FloatMatrix MatrixOf(const Floats& floats, size_t num_columns, size_t row_stride) {
  return {reinterpret_cast<const uint8_t*>(floats.data()), DataType::kFloat32, num_columns, row_stride};
}

inline OwnThreads two_threads(2);

// What packing 4 bits takes, above 15 times every scale of these tests.
constexpr float kBound = 32;
inline Floats BoundsOf(size_t num_outputs) { return Floats(num_outputs, kBound); }

inline void PackAsInt4(const PackTarget& target, const FloatMatrix& source) {
  PackInt4(target, source, BoundsOf(target.num_outputs).data(), &two_threads);
}

// Runs the product with every instruction set that this CPU has: all must write the same bits to `out`.
template <typename AnyProduct, typename Number>
void MultiplyWithAll(const AnyProduct& product, std::vector<Number>* out) {
  std::vector<Number> first;
  for (const std::string& name : SupportedKernels()) {
    ChooseKernels(name);
    std::fill(out->begin(), out->end(), Number(-1));
    Multiply(product, &two_threads);
    if (first.empty()) first = *out;
    if (!out->empty()) CHECK(std::memcmp(out->data(), first.data(), first.size() * sizeof(Number)) == 0);
  }
}

// x [num_rows, K] times the packed weight.
inline Floats MultiplyFloats(const PackedLayout& layout, const std::vector<uint8_t>& packed, const Floats& x,
                      size_t num_rows) {
  QuantisedRows rows;
  rows.Quantise(layout, x.data(), num_rows, nullptr, &two_threads);
  Floats y(num_rows * layout.out_features);
  MultiplyWithAll(Product{layout, packed.data(), rows, y.data(), nullptr}, &y);
  return y;
}

// A matrix of 8 bits: values and scales as the definition has them.
struct Int8Reference {
  Int8Reference(const Floats& weights, size_t num_outputs, size_t num_inputs)
      : num_inputs(num_inputs), values(weights.size()), maxima(num_outputs) {
    for (size_t n = 0; n < num_outputs; ++n) {
      for (size_t k = 0; k < num_inputs; ++k) maxima[n] = std::max(maxima[n], std::fabs(weights[n * num_inputs + k]));
      for (size_t k = 0; k < num_inputs; ++k) {
        values[n * num_inputs + k] =
            maxima[n] == 0 ? 0 : static_cast<int>(std::nearbyint(weights[n * num_inputs + k] * (127 / maxima[n])));
      }
    }
  }

  // One row of x, rounded to multiples of `step`, with output n.
  int64_t Sum(const float* x, float step, size_t n) const {
    int64_t sum = 0;
    for (size_t k = 0; k < num_inputs; ++k) {
      const int value = step == 0 ? 0 : static_cast<int>(std::nearbyint(x[k] / step));
      sum += value * values[n * num_inputs + k];
    }
    return sum;
  }

  size_t num_inputs;
  std::vector<int> values;
  Floats maxima;
};

inline float MaximumOf(const float* x, size_t count) {
  float maximum = 0;
  for (size_t i = 0; i < count; ++i) maximum = std::max(maximum, std::fabs(x[i]));
  return maximum;
}

inline std::vector<uint8_t> PackAsInt8(const PackedLayout& layout, const Floats& weights, size_t row_stride,
                                const Floats& maxima) {
  std::vector<uint8_t> packed(layout.num_bytes());
  const PackTarget target = {layout, packed.data(), 0, layout.out_features};
  PackInt8(target, MatrixOf(weights, layout.in_features, row_stride), maxima.data(), &two_threads);
  return packed;
}

}  // namespace shardrun
