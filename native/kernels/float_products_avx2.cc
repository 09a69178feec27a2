// The products of floats with AVX2: 16 registers hold the sums of 6 rows and a tile.
#include "float_products.h"
#include "intrinsics.h"

#if defined(__x86_64__)

#include <algorithm>
#include <array>
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

#include "float_tiles.h"

}  // namespace shardrun::avx2::floats

#endif
