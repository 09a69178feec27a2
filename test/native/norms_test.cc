// RMS norms against their definition in double.
#include "../../native/kernels/norms.h"

#include <cmath>
#include <vector>

#include "check.h"

namespace shardrun {

namespace {

using Floats = std::vector<float>;

constexpr float kEpsilon = 1e-3F;

Floats MakeNumbers(size_t count, size_t step) {
  Floats numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = static_cast<float>(i * step % 2003) / 100 - 10;
  return numbers;
}

struct Outcome {
  Floats sum;
  Floats y;
};

Outcome AddAndNormalise(const Floats& x, const Floats& skip, const Floats& weight, int num_threads) {
  OwnThreads threads(num_threads);
  Outcome outcome{Floats(x.size()), Floats(x.size())};
  const size_t num_rows = weight.empty() ? 0 : x.size() / weight.size();
  AddAndNormalise({weight.data(), weight.size(), kEpsilon}, x.data(), skip.data(), num_rows, outcome.sum.data(),
                  outcome.y.data(), &threads);
  return outcome;
}

}  // namespace

TEST("the sum, and x / sqrt(mean(x^2) + epsilon) * weight of it") {
  for (const size_t columns : {1, 31, 32, 576, 1003}) {
    const size_t rows = 3;
    const Floats x = MakeNumbers(rows * columns, 7919);
    const Floats skip = MakeNumbers(rows * columns, 104729);
    const Floats weight = MakeNumbers(columns, 31);
    const Outcome outcome = AddAndNormalise(x, skip, weight, 1);
    for (size_t row = 0; row < rows; ++row) {
      double squares = 0;
      for (size_t i = row * columns; i < (row + 1) * columns; ++i) {
        CHECK_EQUAL(outcome.sum[i], x[i] + skip[i]);
        squares += static_cast<double>(outcome.sum[i]) * outcome.sum[i];
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + kEpsilon);
      for (size_t i = 0; i < columns; ++i) {
        const double expected = outcome.sum[row * columns + i] * scale * weight[i];
        CHECK(std::fabs(outcome.y[row * columns + i] - expected) <= 1e-6 * std::fabs(expected));
      }
    }
  }
}

TEST("a row has the same bits alone, among others, on several threads, and behind a sum; no rows") {
  constexpr size_t kRows = 40;
  constexpr size_t kColumns = 1003;  // several tasks, and a rest in every loop
  const Floats x = MakeNumbers(kRows * kColumns, 7919);
  const Floats skip = MakeNumbers(kRows * kColumns, 104729);
  const Floats weight = MakeNumbers(kColumns, 31);
  const Outcome one = AddAndNormalise(x, skip, weight, 1);
  const Outcome two = AddAndNormalise(x, skip, weight, 2);
  CHECK(one.sum == two.sum && one.y == two.y);
  const auto last = [](const Floats& rows) { return Floats(rows.end() - kColumns, rows.end()); };
  CHECK(AddAndNormalise(last(x), last(skip), weight, 2).y == last(one.y));

  OwnThreads threads(2);
  Floats y(one.sum.size());
  Normalise({weight.data(), kColumns, kEpsilon}, one.sum.data(), kRows, y.data(), &threads);
  CHECK(y == one.y);
  CHECK(AddAndNormalise({}, {}, weight, 2).y.empty());
}

}  // namespace shardrun

int main() { return check::RunAll(); }
