// Attention in plain C++: vectors of 4 floats, which every CPU has, and no instruction that multiplies and adds.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "attention_group.h"
#include "exponential.h"
#include "intrinsics.h"
#include "packed_weight.h"

namespace shardrun::plain::floats {

#define SHARDRUN_VECTOR
#define SHARDRUN_VECTOR_INLINE inline __attribute__((always_inline))

using Vector = float __attribute__((vector_size(16)));
constexpr size_t kVectorFloats = 4;
constexpr size_t kWideTiles = 1;
constexpr size_t kMostRows = 2;

SHARDRUN_VECTOR_INLINE Vector Load(const float* from) {
  Vector to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}
SHARDRUN_VECTOR_INLINE void Store(float* to, Vector from) { std::memcpy(to, &from, sizeof(from)); }
SHARDRUN_VECTOR_INLINE Vector Broadcast(float value) { return Vector{value, value, value, value}; }
SHARDRUN_VECTOR_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) { return a * b + sum; }
SHARDRUN_VECTOR_INLINE Vector Maximum(Vector a, Vector b) {
  for (size_t i = 0; i < kVectorFloats; ++i) a[i] = a[i] > b[i] ? a[i] : b[i];
  return a;
}
SHARDRUN_VECTOR_INLINE Vector Minimum(Vector a, Vector b) {
  for (size_t i = 0; i < kVectorFloats; ++i) a[i] = a[i] < b[i] ? a[i] : b[i];
  return a;
}
SHARDRUN_VECTOR_INLINE float Largest(Vector x) { return std::max(std::max(x[0], x[1]), std::max(x[2], x[3])); }

#include "float_sums.h"
// What is made of such sums.
#include "attention_block.h"

#undef SHARDRUN_VECTOR
#undef SHARDRUN_VECTOR_INLINE

}  // namespace shardrun::plain::floats
