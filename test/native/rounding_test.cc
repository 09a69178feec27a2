// Rounding rows of activations: to 8 bits, to two parts of 8 bits, and the step that decides which of them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../../native/common/half.h"
#include "../../native/kernels/octaves.h"
#include "../../native/kernels/rounding.h"
#include "check.h"

namespace shardrun {

TEST("rounding is to the nearest, ties to even, for any count, and sums up; the largest magnitude may be the last") {
  for (size_t count = 0; count < 70; ++count) {
    std::vector<float> x;
    for (size_t i = 0; i < count; ++i) x.push_back(static_cast<float>(i) * 0.25F - 8);
    std::vector<int8_t> rounded(count + 1, 99);
    int32_t sum = 0;
    float maximum = 0;
    const int32_t received = RoundToInt8(x.data(), count, 2, rounded.data());
    for (size_t i = 0; i < count; ++i) {
      CHECK_EQUAL(static_cast<float>(rounded[i]), std::nearbyint(x[i] * 2));
      sum += rounded[i];
      maximum = std::max(maximum, std::fabs(x[i]));
    }
    CHECK_EQUAL(received, sum);
    CHECK_EQUAL(static_cast<int>(rounded[count]), 99);
    CHECK_EQUAL(BitCast<float>(LargestMagnitude(x.data(), count)), maximum);
  }
}

TEST("the largest magnitude of a block, and of the groups of 4 beside the one that has it") {
  for (size_t place = 0; place < kRowBlock; ++place) {
    for (size_t other = 0; other < kRowBlock; ++other) {
      std::vector<float> x(kRowBlock, 0.5F);
      x[place] = -8;
      if (other != place) x[other] = 3;
      const BlockMagnitudes magnitudes = LargestMagnitudes(x.data());
      CHECK_EQUAL(BitCast<float>(magnitudes.largest), 8.0F);
      CHECK_EQUAL(BitCast<float>(magnitudes.others), place / kGroupInputs == other / kGroupInputs ? 0.5F : 3.0F);
      x[other] = 8;
      CHECK_EQUAL(BitCast<float>(LargestMagnitudes(x.data()).others),
                  place / kGroupInputs == other / kGroupInputs ? 0.5F : 8.0F);
    }
  }
}

TEST("the step lets all but 1/32 of a row fit, is at most 7 octaves below the largest value's, and knows no zeros") {
  std::vector<float> x(640, 1);
  const auto step = [&] {
    int32_t octaves[kOctaves];
    CountOctaves(x.data(), x.size(), octaves);
    return RowStep(octaves);
  };
  constexpr float kOne = 1.0F / 64;
  CHECK_EQUAL(step(), kOne);
  std::fill_n(x.begin(), 20, 30.0F);
  CHECK_EQUAL(step(), kOne);
  x[300] = -30;
  CHECK_EQUAL(step(), 16 * kOne);
  std::fill_n(x.begin(), 18, 1e6F);
  std::fill_n(x.begin() + 300, 64, 0.0F);
  CHECK_EQUAL(step(), 4096 * kOne);  // 2^19 <= 1e6: 2^12 is 7 octaves below; of 576 values 1/32 is 18
  x[100] = 0;
  CHECK_EQUAL(step(), 524288 * kOne);
  std::fill(x.begin(), x.end(), 0.0F);
  CHECK_EQUAL(step(), 0.0F);
  x[5] = 3e-9F;
  CHECK_EQUAL(step(), std::ldexp(1.0F, -29 - 6));
}

TEST("values whose rounding is not in 8 bits have two parts, whose sum they are") {
  std::vector<float> x;
  for (int i = -16384; i <= 16384; i += 37) x.push_back(static_cast<float>(i) / 4);
  std::vector<int8_t> low(x.size());
  std::vector<HighGroup> high(x.size() / kGroupInputs + 1);
  const RoundedParts parts = RoundToParts(x.data(), x.size(), 4, low.data(), high.data());
  std::vector<int> values(low.begin(), low.end());
  for (size_t i = 0; i < parts.num_high; ++i) {
    if (i > 0) CHECK(high[i - 1].group < high[i].group);
    for (size_t k = 0; k < kGroupInputs; ++k) {
      if (high[i].values[k] != 0) values[high[i].group * kGroupInputs + k] += 255 * high[i].values[k];
    }
  }
  int sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK_EQUAL(static_cast<float>(values[i]), x[i] * 4);
    CHECK(low[i] >= -127);
    sum += values[i];
  }
  CHECK_EQUAL(parts.sum, sum);
}

}  // namespace shardrun

int main() { return check::RunAll(); }
