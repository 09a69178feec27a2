// The gate of a feed-forward layer against its definition in double.
#include "../../native/kernels/gates.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

namespace shardrun {

namespace {

using Floats = std::vector<float>;

// One row after another: gates, then ups.
Floats Gate(const Floats& gate_up, size_t num_rows, int num_threads) {
  OwnThreads threads(num_threads);
  Floats out(gate_up.size() / 2);
  GateWithSilu(gate_up.data(), num_rows, num_rows == 0 ? 0 : out.size() / num_rows, out.data(), &threads);
  return out;
}

double Silu(double x) { return x / (1 + std::exp(-x)); }

}  // namespace

TEST("silu(gate) * up, to within some units in the last place, over the whole range of floats") {
  constexpr size_t kCount = 40001;
  Floats gate_up(2 * kCount);
  for (size_t i = 0; i < kCount; ++i) {
    gate_up[i] = -100 + static_cast<float>(i) * 0.005F;
    gate_up[kCount + i] = i % 3 == 0 ? -2.5F : 1;
  }
  const Floats out = Gate(gate_up, 1, 1);
  for (size_t i = 0; i < kCount; ++i) {
    const double expected = Silu(gate_up[i]) * gate_up[kCount + i];
    CHECK(std::fabs(out[i] - expected) <= 4e-7 * std::fabs(expected) + 2e-36);
  }
  const float largest = std::numeric_limits<float>::max();
  const Floats furthest = Gate({largest, 0, -largest, 1, 1, 1}, 1, 1);
  CHECK_EQUAL(furthest[0], largest);
  CHECK_EQUAL(furthest[1], 0.0F);
  CHECK(furthest[2] <= 0 && furthest[2] > -1e-36F);
}

TEST("a row's gate has the same bits alone, among others, and on several threads; no rows, no features") {
  constexpr size_t kRows = 9;
  constexpr size_t kFeatures = 5003;  // several tasks, and a rest in every loop
  Floats gate_up(kRows * 2 * kFeatures);
  for (size_t i = 0; i < gate_up.size(); ++i) gate_up[i] = static_cast<float>(i * 7919 % 2003) / 100 - 10;
  const Floats one = Gate(gate_up, kRows, 1);
  CHECK(Gate(gate_up, kRows, 2) == one);
  const Floats last(gate_up.end() - 2 * kFeatures, gate_up.end());
  CHECK(Gate(last, 1, 1) == Floats(one.end() - kFeatures, one.end()));
  CHECK(Gate({}, 0, 2).empty());
  CHECK(Gate({}, 3, 2).empty());
}

TEST("NaNs stay NaNs, wherever they are") {
  const float nan = std::nanf("");
  for (const float y : Gate({nan, 1, 1, nan}, 1, 1)) CHECK(std::isnan(y));
}

}  // namespace shardrun

int main() { return check::RunAll(); }
