// The products of floats and attention with AVX-512: 32 registers hold the sums of 12 rows and two tiles.
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

namespace shardrun::avx512::floats {

#define SHARDRUN_VECTOR __attribute__((target("avx512f")))
#define SHARDRUN_VECTOR_INLINE SHARDRUN_VECTOR inline __attribute__((always_inline))

using Vector = __m512;
constexpr size_t kVectorFloats = 16;
constexpr size_t kWideTiles = 2;
constexpr size_t kMostRows = kGroupRows;

SHARDRUN_VECTOR_INLINE Vector Load(const float* from) { return _mm512_loadu_ps(from); }
SHARDRUN_VECTOR_INLINE void Store(float* to, Vector from) { _mm512_storeu_ps(to, from); }
SHARDRUN_VECTOR_INLINE Vector Broadcast(float value) { return _mm512_set1_ps(value); }
SHARDRUN_VECTOR_INLINE Vector MultiplyAdd(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
SHARDRUN_VECTOR_INLINE Vector Maximum(Vector a, Vector b) { return _mm512_max_ps(a, b); }
SHARDRUN_VECTOR_INLINE Vector Minimum(Vector a, Vector b) { return _mm512_min_ps(a, b); }
SHARDRUN_VECTOR_INLINE float Largest(Vector x) { return _mm512_reduce_max_ps(x); }

#include "float_sums.h"
// What is made of such sums.
#include "attention_block.h"
#include "float_tiles.h"

#undef SHARDRUN_VECTOR
#undef SHARDRUN_VECTOR_INLINE

}  // namespace shardrun::avx512::floats

#endif
