#include "block_scale.h"

#include <cmath>
#include <cstring>

#include "../common/half.h"
#include "../common/instruction_sets.h"
#include "quantised_rows.h"

namespace shardrun {

namespace {

constexpr float kLeast = -8;
constexpr float kMost = 7;
// Of the scale that lets the value of largest magnitude be -8. The last lets it be 7.
constexpr float kTried[] = {1, 0.94F, 0.87F, 1.06F, kLeast / kMost};
// Sums are made in lanes, whose number and order no instruction set changes.
constexpr size_t kSumLanes = 16;

typedef float Lanes __attribute__((vector_size(kSumLanes * sizeof(float)), aligned(4)));

SHARDRUN_INLINE float SumOf(const Lanes& lanes) {
  float sums[kSumLanes];
  std::memcpy(sums, &lanes, sizeof(sums));
  float sum = 0;
  for (size_t i = 0; i < kSumLanes / 4; ++i) sum += (sums[i] + sums[i + 4]) + (sums[i + 8] + sums[i + 12]);
  return sum;
}

// The weights [first, first + kSumLanes), zeros for those that there are not.
SHARDRUN_INLINE void Load(const float* w, size_t count, size_t first, Lanes* lanes) {
  if (first + kSumLanes <= count) {
    std::memcpy(lanes, w + first, sizeof(*lanes));
  } else {
    *lanes = Lanes{};
    std::memcpy(lanes, w + first, (count - first) * sizeof(float));
  }
}

SHARDRUN_INLINE void TakeMagnitudes(const Lanes& lanes, Lanes* magnitudes) { *magnitudes = lanes < 0 ? -lanes : lanes; }

// A scale, the best for a rounding, and how much it takes of sum(v w w).
struct Fit {
  float scale;
  float taken;
};

// Takes the rounding of w / scale if it leaves less than the best so far.
SHARDRUN_INLINE void Try(const float* w, size_t count, float mean, float scale, Fit* best) {
  constexpr float kShift = 12582912.0F;  // see rounding.cc
  const float factor = 1 / scale;
  const Lanes least = kLeast - Lanes{};
  const Lanes most = kMost - Lanes{};
  Lanes products = {};
  Lanes squares = {};
  for (size_t i = 0; i < count; i += kSumLanes) {
    Lanes weights;
    Lanes magnitudes;
    Load(w, count, i, &weights);
    TakeMagnitudes(weights, &magnitudes);
    Lanes q = weights * factor;
    q = q < least ? least : q;
    q = q < most ? q : most;
    q = (q + kShift) - kShift;
    const Lanes valued = (magnitudes + mean) * q;
    products += valued * weights;
    squares += valued * q;
  }
  const float product = SumOf(products);
  const float square = SumOf(squares);
  const float taken = square > 0 ? product * product / square : 0;
  const bool is_better = taken > best->taken;  // without a branch: nobody can foresee it
  best->scale = is_better ? product / square : best->scale;
  best->taken = is_better ? taken : best->taken;
}

SHARDRUN_PER_INSTRUCTION_SET
float BestScale(const float* w, size_t count, float scale) {
  Lanes sum = {};
  for (size_t i = 0; i < count; i += kSumLanes) {
    Lanes weights;
    Lanes magnitudes;
    Load(w, count, i, &weights);
    TakeMagnitudes(weights, &magnitudes);
    sum += magnitudes;
  }
  const float mean = SumOf(sum) / static_cast<float>(count);
  Fit best = {scale, 0};
  for (const float part : kTried) Try(w, count, mean, part * scale, &best);
  Try(w, count, mean, best.scale, &best);
  return best.scale;
}

// The value of largest magnitude, with its sign.
float Furthest(const float* w, size_t count) {
  const float maximum = AbsoluteMaximum(w, count);
  for (size_t i = 0; i < count; ++i) {
    if (w[i] == -maximum) return -maximum;  // of two, the negative one: it has one step more
  }
  return maximum;
}

}  // namespace

uint16_t ChooseScale(const float* w, size_t count) {
  const float scale = Furthest(w, count) / kLeast;
  const float stored = Float16::Load(Float16::Store(scale));
  if (stored == 0 || !std::isfinite(stored)) return Float16::Store(scale);
  return Float16::Store(BestScale(w, count, scale));
}

}  // namespace shardrun
