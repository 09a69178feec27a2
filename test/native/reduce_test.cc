// Reduce against the plainest possible loop: every type, both operations, any number of inputs, in place.
#include "../../native/collectives/reduce.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"

namespace shardrun {

namespace {

template <typename Number>
std::vector<std::vector<Number>> RandomInputs(int num_inputs, size_t count) {
  std::mt19937 random(count * 31 + num_inputs);
  std::vector<std::vector<Number>> inputs(num_inputs, std::vector<Number>(count));
  for (auto& input : inputs) {
    for (auto& value : input) {
      value = static_cast<Number>(std::uniform_real_distribution<double>(-1000, 1000)(random));
    }
  }
  return inputs;
}

template <typename Number>
void CheckAgainstLoop(DataType type) {
  for (const int num_inputs : {1, 2, 3, 5, 16}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{2048}, size_t{10007}}) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
        auto inputs = RandomInputs<Number>(num_inputs, count);
        std::vector<Number> expected = inputs[0];
        for (int i = 1; i < num_inputs; ++i) {
          for (size_t k = 0; k < count; ++k) {
            expected[k] = op == ReduceOp::kSum ? static_cast<Number>(expected[k] + inputs[i][k])
                                               : std::max(expected[k], inputs[i][k]);
          }
        }
        std::vector<const void*> pointers;
        for (const auto& input : inputs) pointers.push_back(input.data());
        std::vector<Number>& out = inputs[num_inputs / 2];  // in place, as the communicator does it
        Reduce(out.data(), pointers.data(), num_inputs, count, type, op);
        CHECK(out == expected);
      }
    }
  }
}

uint16_t SumOfTwo(DataType type, uint16_t a, uint16_t b) {
  const void* inputs[] = {&a, &b};
  uint16_t sum;
  Reduce(&sum, inputs, 2, 1, type, ReduceOp::kSum);
  return sum;
}

uint16_t BitsOf(_Float16 value) {
  uint16_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

_Float16 HalfOf(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof(bits));
  return value;
}

}  // namespace

TEST("Reduce: float32") { CheckAgainstLoop<float>(DataType::kFloat32); }
TEST("Reduce: int32") { CheckAgainstLoop<int32_t>(DataType::kInt32); }
TEST("Reduce: int64") { CheckAgainstLoop<int64_t>(DataType::kInt64); }

TEST("Reduce: integers wrap around") {
  const int32_t most = std::numeric_limits<int32_t>::max();
  const int32_t one = 1;
  const void* inputs[] = {&most, &one};
  int32_t sum;
  Reduce(&sum, inputs, 2, 1, DataType::kInt32, ReduceOp::kSum);
  CHECK_EQUAL(sum, std::numeric_limits<int32_t>::min());
}

TEST("Reduce: the largest with a NaN anywhere is a NaN") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float values[] = {1, 2, 3};
  for (int place = 0; place < 3; ++place) {
    const void* inputs[] = {&values[0], &values[1], &values[2]};
    inputs[place] = &nan;
    float largest;
    Reduce(&largest, inputs, 3, 1, DataType::kFloat32, ReduceOp::kMax);
    CHECK(std::isnan(largest));
  }
}

// Adding zero converts a half to float32 and back: all 65536 of them must survive, NaNs as NaNs.
TEST("Reduce: every float16 value survives, and sums round to the nearest even half") {
  std::mt19937 random(1);
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const auto other = static_cast<uint16_t>(random());
    for (const uint16_t addend : {uint16_t{0x8000}, other}) {
      const uint16_t sum = SumOfTwo(DataType::kFloat16, bits, addend);
      const auto expected =
          static_cast<_Float16>(static_cast<float>(HalfOf(bits)) + static_cast<float>(HalfOf(addend)));
      if (std::isnan(static_cast<float>(expected))) {
        CHECK(std::isnan(static_cast<float>(HalfOf(sum))));
      } else {
        CHECK_EQUAL(sum, BitsOf(expected));
      }
    }
  }
}

TEST("Reduce: float16 halves are summed in float32 and rounded once") {
  // 2048 + 1 + 1: rounding after each step would stay at 2048, as 2049 is not a half.
  const uint16_t big = BitsOf(2048);
  const uint16_t one = BitsOf(1);
  const void* inputs[] = {&big, &one, &one};
  uint16_t sum;
  Reduce(&sum, inputs, 3, 1, DataType::kFloat16, ReduceOp::kSum);
  CHECK_EQUAL(sum, BitsOf(2050));
}

TEST("Reduce: bfloat16 rounds to the nearest even") {
  const auto sum_of = [](uint16_t a, uint16_t b) { return SumOfTwo(DataType::kBFloat16, a, b); };
  CHECK_EQUAL(sum_of(0x3f80, 0x3f80), 0x4000);        // 1 + 1
  CHECK_EQUAL(sum_of(0x4380, 0x3f80), 0x4380);        // 256 + 1: halfway to 258, to the even 256
  CHECK_EQUAL(sum_of(0x4381, 0x3f80), 0x4382);        // 258 + 1: halfway to 260, to the even 260
  CHECK_EQUAL(sum_of(0x7f80, 0x3f80), 0x7f80);        // infinity stays
  CHECK((sum_of(0x7fff, 0x3f80) & 0x7fff) > 0x7f80);  // a NaN stays one
}

}  // namespace shardrun

int main() { return check::RunAll(); }
