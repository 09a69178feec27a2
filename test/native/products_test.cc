// Packed products against what they mean: weights as numbers, products summed one by one.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "../../native/common/half.h"
#include "../../native/kernels/octaves.h"
#include "kernels.h"

namespace shardrun {

namespace {

// The definition: the least power of two of which all but 1/32 of the values that are not 0 are less than 128.
float StepOf(const float* x, size_t count) {
  Floats magnitudes;
  for (size_t i = 0; i < count; ++i) {
    if (x[i] != 0) magnitudes.push_back(std::fabs(x[i]));
  }
  if (magnitudes.empty()) return 0;
  std::sort(magnitudes.begin(), magnitudes.end());
  const auto octave_of = [](float magnitude) { return std::floor(std::log2(magnitude)); };
  const float top = octave_of(magnitudes.back());
  const float most = octave_of(magnitudes[magnitudes.size() - 1 - magnitudes.size() / 32]);
  return std::exp2(std::max(most, top - 7) - 6);
}

// Normally distributed, but for a few values in each row that are up to 300 times as large.
Floats RandomActivations(size_t num_rows, size_t num_inputs, uint32_t seed) {
  Floats x = RandomFloats(num_rows * num_inputs, seed);
  std::mt19937 random(seed);
  for (size_t row = 0; row < num_rows && num_inputs > 0; ++row) {
    for (size_t i = 0; i < 1 + num_inputs / 100; ++i) x[row * num_inputs + random() % num_inputs] *= random() % 300;
  }
  return x;
}

void CheckInt8(size_t num_rows, size_t num_outputs, size_t num_inputs) {
  const Floats weights = RandomFloats(num_outputs * num_inputs, 1);
  const Floats x = RandomActivations(num_rows, num_inputs, 2);
  const Int8Reference reference(weights, num_outputs, num_inputs);
  const PackedLayout layout = {8, num_outputs, num_inputs};
  Floats maxima(num_outputs);
  AbsoluteMaxima(MatrixOf(weights, num_inputs, num_inputs), num_outputs, maxima.data(), &two_threads);
  CHECK(maxima == reference.maxima);
  const Floats y = MultiplyFloats(layout, PackAsInt8(layout, weights, num_inputs, maxima), x, num_rows);
  for (size_t row = 0; row < num_rows; ++row) {
    const float step = StepOf(x.data() + row * num_inputs, num_inputs);
    for (size_t n = 0; n < num_outputs; ++n) {
      const float scale = step * (reference.maxima[n] / 127);
      CHECK_EQUAL(y[row * num_outputs + n],
                  static_cast<float>(reference.Sum(x.data() + row * num_inputs, step, n)) * scale);
    }
  }
}

// The weights of 4 bits as numbers: [num_outputs, num_columns], columns from the first block on.
struct Int4Reference {
  PackedLayout layout;
  size_t num_columns;
  std::vector<uint8_t> values;   // [num_outputs, num_columns]
  std::vector<uint16_t> scales;  // [num_outputs, blocks]
  std::vector<uint16_t> minima;

  Int4Reference(const PackedLayout& layout, uint32_t seed)
      : layout(layout), num_columns(layout.in_offset + layout.in_features) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < layout.out_features * num_columns; ++i) values.push_back(random() % 16);
    for (size_t i = 0; i < layout.out_features * layout.num_blocks(); ++i) {
      scales.push_back(Float16::Store(static_cast<float>(random() % 1000) / 1000));
      minima.push_back(Float16::Store(static_cast<float>(random() % 1000) / -200));
    }
  }

  std::vector<uint8_t> Pack() const {
    std::vector<uint8_t> packed(layout.num_bytes(), 0xee);
    const PackTarget target = {layout, packed.data(), 0, layout.out_features};
    const auto* scale_bytes = reinterpret_cast<const uint8_t*>(scales.data());
    const auto* minima_bytes = layout.has_minimum ? reinterpret_cast<const uint8_t*>(minima.data()) : nullptr;
    const Floats bounds = BoundsOf(layout.out_features);
    PackInt4Values(target, {values.data(), num_columns, scale_bytes, minima_bytes, bounds.data()}, &two_threads);
    return packed;
  }

  // The inputs from `first` on, where a block begins, as far as the layout has them.
  Int4Reference Part(const PackedLayout& part, size_t first) const {
    Int4Reference result(part, 0);
    for (size_t n = 0; n < part.out_features; ++n) {
      std::copy_n(&values[n * num_columns + first], part.in_features, &result.values[n * part.in_features]);
      const size_t from = n * layout.num_blocks() + first / layout.block_size;
      std::copy_n(&scales[from], part.num_blocks(), &result.scales[n * part.num_blocks()]);
      std::copy_n(&minima[from], part.num_blocks(), &result.minima[n * part.num_blocks()]);
    }
    return result;
  }

  double Weight(size_t n, size_t column) const {
    const size_t block = n * layout.num_blocks() + column / layout.block_size;
    const double scale = Float16::Load(scales[block]);
    const double minimum = layout.has_minimum ? Float16::Load(minima[block]) : -8 * scale;
    return scale * values[n * num_columns + column] + minimum;
  }

  // What the product with one row of x is: activations rounded per 32 inputs, counted from the first block on.
  double Product(const float* x, size_t n) const {
    double y = 0;
    for (size_t block = 0; block < num_columns; block += kRowBlock) {
      const size_t first = std::max(block, layout.in_offset);
      const size_t last = std::min(block + kRowBlock, num_columns);
      if (first >= last) continue;
      const float factor = FactorOf(x, first, last);
      for (size_t column = first; column < last && factor > 0; ++column) {
        y += std::nearbyint(x[column - layout.in_offset] * factor) / static_cast<double>(factor) * Weight(n, column);
      }
    }
    return y;
  }

  // The definition: 127 steps are the largest of the block's inputs [first, last); or, where it is 3 times as large as all
  // in other groups of 4, the largest of these, but 2^14 steps are not less than the largest of all.
  float FactorOf(const float* x, size_t first, size_t last) const {
    const auto magnitude = [&](size_t column) { return std::fabs(x[column - layout.in_offset]); };
    size_t peak = first;
    for (size_t column = first; column < last; ++column) {
      if (magnitude(column) > magnitude(peak)) peak = column;
    }
    float others = 0;
    for (size_t column = first; column < last; ++column) {
      if (column / kGroupInputs != peak / kGroupInputs) others = std::max(others, magnitude(column));
    }
    const float largest = magnitude(peak);
    if (largest == 0) return 0;
    return largest < 3 * others ? 127 / largest : std::min(127 / others, 16384 / largest);
  }
};

void CheckInt4(const PackedLayout& layout, size_t num_rows) {
  const Int4Reference reference(layout, 3);
  const Floats x = RandomActivations(num_rows, layout.in_features, 4);
  const Floats y = MultiplyFloats(layout, reference.Pack(), x, num_rows);
  for (size_t row = 0; row < num_rows; ++row) {
    for (size_t n = 0; n < layout.out_features; ++n) {
      const double expected = reference.Product(x.data() + row * layout.in_features, n);
      const double received = y[row * layout.out_features + n];
      // each block, its high parts and its minima may be half a unit off
      const uint32_t largest = LargestMagnitude(x.data() + row * layout.in_features, layout.in_features);
      const double unit = SumUnit(RowBound(largest)) * kBound;
      const double num_roundings = static_cast<double>(layout.padded_inputs() / kRowBlock) * (layout.has_minimum ? 3 : 2);
      const double tolerance = unit / 2 * num_roundings + 1e-6 * std::fabs(expected);
      if (!(std::fabs(received - expected) <= tolerance)) CHECK_EQUAL(received, expected);
    }
  }
}

// 32 bits: the weights as they are, each sum from the first input to the last with one rounding per input.
void CheckFloat32(size_t num_rows, size_t num_outputs, size_t num_inputs) {
  const Floats weights = RandomFloats(num_outputs * num_inputs, 20);
  const Floats x = RandomFloats(num_rows * num_inputs, 21);
  const PackedLayout layout = {32, num_outputs, num_inputs};
  std::vector<uint8_t> packed(layout.num_bytes(), 0xff);  // NaN where nothing belongs
  const size_t half = num_outputs / 2;
  const FloatMatrix source = MatrixOf(weights, num_inputs, num_inputs);
  PackFloat32({layout, packed.data(), 0, half}, source, &two_threads);
  const FloatMatrix rest = {source.data + half * num_inputs * sizeof(float), source.type, num_inputs, num_inputs};
  PackFloat32({layout, packed.data(), half, num_outputs - half}, rest, &two_threads);
  FloatRows rows;
  rows.Arrange(x.data(), num_rows, num_inputs, &two_threads);
  Floats y(num_rows * num_outputs);
  MultiplyWithAll(FloatProduct{layout, packed.data(), rows, y.data()}, &y);
  for (size_t row = 0; row < num_rows; ++row) {
    for (size_t n = 0; n < num_outputs; ++n) {
      float expected = 0;
      for (size_t k = 0; k < num_inputs; ++k) {
        expected = std::fma(x[row * num_inputs + k], weights[n * num_inputs + k], expected);
      }
      CHECK_EQUAL(y[row * num_outputs + n], expected);
    }
  }
}

struct Shape {
  size_t num_rows, num_outputs, num_inputs;
};

constexpr Shape kShapes[] = {{0, 16, 32}, {1, 1, 1},    {1, 3, 1},     {2, 3, 5},     {1, 16, 64},   {3, 17, 33},
                             {1, 0, 8},   {2, 40, 0},   {5, 100, 129}, {13, 67, 96},  {9, 48, 250},  {1, 130, 576},
                             {4, 65, 31}, {33, 64, 128}, {6, 128, 40}, {8, 31, 1000}, {70, 80, 160}};

}  // namespace

TEST("8 bits: the integer product, and two multiplications, for any shape") {
  for (const Shape& shape : kShapes) CheckInt8(shape.num_rows, shape.num_outputs, shape.num_inputs);
}

TEST("32 bits: sums input by input, the same bits for every instruction set and number of rows, for any shape") {
  for (const Shape& shape : kShapes) CheckFloat32(shape.num_rows, shape.num_outputs, shape.num_inputs);
  for (size_t num_rows = 2; num_rows <= 26; ++num_rows) CheckFloat32(num_rows, 40, 70);
  CheckFloat32(25, 50, 1100);  // more inputs than one stretch
}

TEST("4 bits: the product of what is stored, for any shape, block size and offset, with and without minima") {
  for (const Shape& shape : kShapes) {
    for (const size_t block_size : {size_t{32}, size_t{64}, size_t{128}}) {
      for (const bool has_minimum : {false, true}) {
        for (const size_t in_offset : {size_t{0}, size_t{7}, block_size - 1}) {
          CheckInt4({4, shape.num_outputs, shape.num_inputs, block_size, has_minimum, in_offset}, shape.num_rows);
        }
      }
    }
  }
}

// What ranks do with a product whose inputs are spread over them: cuts has where each begins, and the end. Each counts its
// octaves and multiplies its part, all of it is added up and scaled. part(first, last, &packed) packs inputs [first, last).
template <typename PackPart>
Floats MultiplyInParts(const Floats& x, size_t num_rows, size_t num_inputs, const std::vector<size_t>& cuts,
                       const PackPart& part) {
  const size_t num_parts = cuts.size() - 1;
  std::vector<Floats> parts_of_x(num_parts);
  std::vector<int32_t> octaves(num_rows * kOctaves);
  for (size_t i = 0; i < num_parts; ++i) {
    for (size_t row = 0; row < num_rows; ++row) {
      const float* first = x.data() + row * num_inputs + cuts[i];
      const size_t count = cuts[i + 1] - cuts[i];
      parts_of_x[i].insert(parts_of_x[i].end(), first, first + count);
      int32_t own[kOctaves];
      CountOctaves(first, count, own);
      for (size_t octave = 0; octave < kOctaves; ++octave) octaves[row * kOctaves + octave] += own[octave];
    }
  }
  PackedLayout layout;
  std::vector<uint8_t> packed;
  std::vector<int32_t> total;
  for (size_t i = 0; i < num_parts; ++i) {
    layout = part(cuts[i], cuts[i + 1], &packed);
    total.resize(num_rows * layout.out_features);
    QuantisedRows rows;
    rows.Quantise(layout, parts_of_x[i].data(), num_rows, octaves.data(), &two_threads);
    std::vector<int32_t> sums(total.size());
    MultiplyWithAll(Product{layout, packed.data(), rows, nullptr, sums.data()}, &sums);
    for (size_t place = 0; place < total.size(); ++place) total[place] += sums[place];
  }
  Floats y(total.size());
  Rescale(layout, packed.data(), total.data(), octaves.data(), num_rows, y.data(), &two_threads);
  return y;
}

TEST("8 bits: parts of the inputs, each with the counts of the whole row, sum up to the whole product, bit for bit") {
  constexpr size_t kRows = 5, kOutputs = 37, kInputs = 203;
  const Floats weights = RandomFloats(kOutputs * kInputs, 5);
  const Floats x = RandomActivations(kRows, kInputs, 6);
  const Int8Reference reference(weights, kOutputs, kInputs);
  const PackedLayout whole = {8, kOutputs, kInputs};
  const Floats expected = MultiplyFloats(whole, PackAsInt8(whole, weights, kInputs, reference.maxima), x, kRows);
  const auto part = [&](size_t first, size_t last, std::vector<uint8_t>* packed) {
    const PackedLayout layout = {8, kOutputs, last - first};
    const Floats part_weights(weights.begin() + static_cast<ptrdiff_t>(first), weights.end());
    *packed = PackAsInt8(layout, part_weights, kInputs, reference.maxima);
    return layout;
  };
  for (const std::vector<size_t>& cuts :
       {std::vector<size_t>{0, 203}, {0, 100, 203}, {0, 1, 4, 77, 203}, {0, 64, 64, 203}}) {
    CHECK(MultiplyInParts(x, kRows, kInputs, cuts, part) == expected);
  }
}

TEST("4 bits: parts of the inputs that are whole blocks sum up to the whole product, bit for bit") {
  constexpr size_t kRows = 5, kOutputs = 37, kInputs = 200;
  const Floats x = RandomActivations(kRows, kInputs, 17);
  for (const bool has_minimum : {false, true}) {
    const PackedLayout whole = {4, kOutputs, kInputs, 32, has_minimum, 0};
    const Int4Reference reference(whole, 18);
    const Floats expected = MultiplyFloats(whole, reference.Pack(), x, kRows);
    const auto part = [&](size_t first, size_t last, std::vector<uint8_t>* packed) {
      const PackedLayout layout = {4, kOutputs, last - first, 32, has_minimum, 0};
      *packed = reference.Part(layout, first).Pack();
      return layout;
    };
    for (const std::vector<size_t>& cuts : {std::vector<size_t>{0, 200}, {0, 96, 200}, {0, 32, 64, 160, 200}}) {
      CHECK(MultiplyInParts(x, kRows, kInputs, cuts, part) == expected);
    }
  }
}

TEST("4 bits: one value that is hundreds of times as large as the rest of its block leaves them their 8 bits") {
  constexpr size_t kInputs = 64;
  const PackedLayout layout = {4, 1, kInputs, 32, false, 0};
  Floats weights(kInputs, 1);
  weights[40] = 0;
  std::vector<uint8_t> packed(layout.num_bytes());
  PackAsInt4({layout, packed.data(), 0, 1}, MatrixOf(weights, kInputs, kInputs));
  Floats x(kInputs, 1);
  x[40] = 120;
  CHECK(std::fabs(MultiplyFloats(layout, packed, x, 1)[0] - 63 * 8 / 8.0F) < 0.05F);
  x[41] = -90;
  CHECK(std::fabs(MultiplyFloats(layout, packed, x, 1)[0] - (62 - 90)) < 0.05F);
}

TEST("a row's product does not depend on the rows beside it, bit for bit") {
  constexpr size_t kRows = 21, kOutputs = 83, kInputs = 160;
  const Floats x = RandomActivations(kRows, kInputs, 7);
  const Floats weights = RandomFloats(kOutputs * kInputs, 8);
  const PackedLayout int8 = {8, kOutputs, kInputs};
  const PackedLayout int4 = {4, kOutputs, kInputs, 32, true, 0};
  const std::vector<uint8_t> packed_int8 =
      PackAsInt8(int8, weights, kInputs, Int8Reference(weights, kOutputs, kInputs).maxima);
  const std::vector<uint8_t> packed_int4 = Int4Reference(int4, 9).Pack();
  for (const auto& [layout, packed] : {std::pair(int8, packed_int8), std::pair(int4, packed_int4)}) {
    const Floats together = MultiplyFloats(layout, packed, x, kRows);
    Floats alone;
    for (size_t row = 0; row < kRows; ++row) {
      const Floats one_row(x.begin() + row * kInputs, x.begin() + (row + 1) * kInputs);
      const Floats y = MultiplyFloats(layout, packed, one_row, 1);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    CHECK(together == alone);
  }
}

TEST("a row that holds a NaN or an infinity gives NaNs; rows of zeros or of the least numbers give zeros") {
  const Floats weights = RandomFloats(20 * 64, 15);
  const PackedLayout int8 = {8, 20, 64};
  const PackedLayout int4 = {4, 20, 64, 32};
  std::vector<uint8_t> packed_int4(int4.num_bytes());
  PackAsInt4({int4, packed_int4.data(), 0, 20}, MatrixOf(weights, 64, 64));
  const auto packed_int8 = PackAsInt8(int8, weights, 64, Int8Reference(weights, 20, 64).maxima);
  for (const auto& [layout, packed] : {std::pair(int8, packed_int8), std::pair(int4, packed_int4)}) {
    for (const float odd : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
      Floats x = RandomFloats(64, 16);
      x[40] = odd;
      for (const float y : MultiplyFloats(layout, packed, x, 1)) CHECK(std::isnan(y));
    }
    for (const float small : {0.0F, -0.0F, 1e-45F, 1e-38F}) {
      for (const float y : MultiplyFloats(layout, packed, Floats(64, small), 1)) CHECK_EQUAL(y, 0.0F);
    }
  }
}

}  // namespace shardrun

int main() { return check::RunAll(); }
