// e^x and tanh(x) against the standard library's in double.
#include "../../native/kernels/exponential.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"

namespace shardrun {

namespace {

// How far apart they are, in units in the last place of a float.
double UlpsApart(float actual, double expected) {
  const int exponent = std::max(std::ilogb(expected), -126);
  return std::fabs(actual - expected) / std::ldexp(1.0, exponent - 23);
}

}  // namespace

TEST("e^x to within 2 units in the last place where the result is normal; 0 at -88") {
  for (float x = -87.3F; x < 88; x += 0.000731F) CHECK(UlpsApart(Exponential(x), std::exp(double{x})) < 2);
  CHECK_EQUAL(Exponential(0), 1.0F);
  CHECK_EQUAL(Exponential(-88), 0.0F);
  CHECK(std::isnan(Exponential(std::nanf(""))));
}

TEST("tanh(x) to within 4 units in the last place, near 0 as well; signs, infinities and NaNs") {
  for (float x = -12; x < 12; x += 0.000173F) CHECK(UlpsApart(Tanh(x), std::tanh(double{x})) < 4);
  for (float x = 1e-30F; x < 1; x *= 1.07F) {
    CHECK(UlpsApart(Tanh(x), std::tanh(double{x})) < 4);
    CHECK_EQUAL(Tanh(-x), -Tanh(x));
  }
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_EQUAL(Tanh(infinity), 1.0F);
  CHECK_EQUAL(Tanh(-infinity), -1.0F);
  CHECK(std::isnan(Tanh(std::nanf(""))));
}

}  // namespace shardrun

int main() { return check::RunAll(); }
