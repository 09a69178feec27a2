// Sums of products of floats that stay in registers, the same text for each set of vector instructions. A file of that
// set includes it, or what is made of it (float_tiles.h, attention_block.h), in its namespace, after it has defined
//
//   SHARDRUN_VECTOR, SHARDRUN_VECTOR_INLINE   the attributes with which functions use the instructions
//   Vector, kVectorFloats  a vector and how many floats it holds: 16, a tile's outputs, or a part of them
//   Load Store Broadcast MultiplyAdd
//   kWideTiles             tiles that are multiplied at once
//   kMostRows              rows that are multiplied at once
//
// kMostRows x kWideTiles x 16 sums stay in registers; for each input a vector of weights is loaded once for all rows
// and a value once for all weights. Every sum is taken input by input.

constexpr size_t kTileVectors = kTileOutputs / kVectorFloats;

// Where a value lies.
struct ByRow {
  const float* x;
  size_t row_stride;
  SHARDRUN_VECTOR_INLINE float operator()(size_t row, size_t input) const { return x[row * row_stride + input]; }
};
struct ByInput {
  const float* x;
  size_t input_stride;
  SHARDRUN_VECTOR_INLINE float operator()(size_t row, size_t input) const { return x[input * input_stride + row]; }
};

// y += values times weights, or = when it is_first: kRows rows times kTiles tiles.
// weights: [num_inputs, 16], inputs input_stride apart and tiles tile_stride   y: [kRows, kTiles * 16], rows y_stride
// apart   ahead: how many floats before its use a weight is asked for
template <size_t kRows, size_t kTiles, typename Values>
SHARDRUN_VECTOR_INLINE void AddProducts(const Values& values, const float* weights, size_t tile_stride,
                                        size_t input_stride, size_t num_inputs, float* y, size_t y_stride,
                                        bool is_first, size_t ahead) {
  constexpr size_t kVectors = kTiles * kTileVectors;
  Vector sums[kRows][kVectors];
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    SHARDRUN_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = is_first ? Broadcast(0) : Load(y + r * y_stride + v * kVectorFloats);
    }
  }
  for (size_t i = 0; i < num_inputs; ++i) {
    Vector loaded[kVectors];
    SHARDRUN_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      const float* place =
          weights + v / kTileVectors * tile_stride + i * input_stride + v % kTileVectors * kVectorFloats;
      loaded[v] = Load(place);
      if (v % kTileVectors == 0) __builtin_prefetch(place + ahead);
    }
    SHARDRUN_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const Vector value = Broadcast(values(r, i));
      SHARDRUN_UNROLL
      for (size_t v = 0; v < kVectors; ++v) sums[r][v] = MultiplyAdd(value, loaded[v], sums[r][v]);
    }
  }
  SHARDRUN_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    SHARDRUN_UNROLL
    for (size_t v = 0; v < kVectors; ++v) Store(y + r * y_stride + v * kVectorFloats, sums[r][v]);
  }
}
