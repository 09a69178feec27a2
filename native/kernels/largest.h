// The largest of many floats: which token is the likeliest.
#pragma once

#include <cstddef>

namespace shardrun {

struct Largest {
  size_t index;  // the lowest, when several are the largest
  float value;   // NaN if any of them is
};

// Of values[0 .. count), count > 0.
Largest FindLargest(const float* values, size_t count);

}  // namespace shardrun
