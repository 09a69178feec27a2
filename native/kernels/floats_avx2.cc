// The products of floats and attention with AVX2: 16 registers hold the sums of 6 rows and a tile.
#include "attention_group.h"
#include "exponential.h"
#include "float_products.h"
#include "intrinsics.h"

#if defined(__x86_64__)

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace shardrun::avx2::floats {

#define SHARDRUN_VECTOR __attribute__((target("avx2,fma")))
#define SHARDRUN_VECTOR_INLINE SHARDRUN_VECTOR inline __attribute__((always_inline))

using Vector = __m256;
constexpr size_t kVectorFloats = 8;
constexpr size_t kWideTiles = 1;
constexpr size_t kMostRows = 6;

SHARDRUN_VECTOR_INLINE Vector Load(const float* from) { return _mm256_loadu_ps(from); }
SHARDRUN_VECTOR_INLINE void Store(float* to, Vector from) { _mm256_storeu_ps(to, from); }
SHARDRUN_VECTOR_INLINE Vector Broadcast(float value) { return _mm256_set1_ps(value); }
SHARDRUN_VECTOR_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
SHARDRUN_VECTOR_INLINE Vector Maximum(Vector a, Vector b) { return _mm256_max_ps(a, b); }
SHARDRUN_VECTOR_INLINE Vector Minimum(Vector a, Vector b) { return _mm256_min_ps(a, b); }
SHARDRUN_VECTOR_INLINE float Largest(Vector x) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

#include "float_sums.h"
// What is made of such sums.
#include "attention_block.h"
#include "float_tiles.h"

#undef SHARDRUN_VECTOR
#undef SHARDRUN_VECTOR_INLINE

}  // namespace shardrun::avx2::floats

#endif
