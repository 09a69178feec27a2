// A block of attention (attention_group.h) for one set of vector instructions, the same text for each; it comes behind
// float_sums.h, and wants also
//
//   Largest           of a vector's floats
//   Maximum Minimum   of two vectors, float by float; where one is NaN, the second

// Few rows leave registers to more tiles.
constexpr size_t kFewRows = kMostRows / 2;

// How far ahead of its use a part of a block is asked for: what follows in the cache is in the next.
constexpr size_t kAheadInBlock = 2048;

// kRows rows times kTiles tiles; values lie kBlockKeys, or kSliceElements, apart.
template <size_t kRows, size_t kTiles>
SHARDRUN_VECTOR void AddTiles(const float* x, const float* weights, size_t tile_stride, size_t input_stride,
                              size_t num_inputs, float* y, size_t y_stride, bool is_first) {
  static_assert(kBlockKeys == kSliceElements);
  AddProducts<kRows, kTiles>(ByRow{x, kBlockKeys}, weights, tile_stride, input_stride, num_inputs, y, y_stride,
                             is_first, kAheadInBlock);
}

using AddTilesFunction = void (*)(const float*, const float*, size_t, size_t, size_t, float*, size_t, bool);

template <size_t kTiles, size_t... i>
constexpr std::array<AddTilesFunction, sizeof...(i)> MakeAddTiles(std::index_sequence<i...>) {
  return {AddTiles<i + 1, kTiles>...};
}
// By number of rows.
constexpr auto kAddOne = MakeAddTiles<1>(std::make_index_sequence<kMostRows>());
constexpr auto kAddSome = MakeAddTiles<kWideTiles>(std::make_index_sequence<kMostRows>());
constexpr auto kAddMany = MakeAddTiles<2 * kWideTiles>(std::make_index_sequence<kFewRows>());

// All rows times all tiles.
inline void AddAllTiles(size_t num_rows, size_t num_tiles, const float* x, const float* weights, size_t tile_stride,
                        size_t input_stride, size_t num_inputs, float* y, size_t y_stride, bool is_first) {
  for (size_t row = 0; row < num_rows; row += kMostRows) {
    const size_t count = std::min(kMostRows, num_rows - row);
    for (size_t tile = 0; tile < num_tiles;) {
      const size_t left = num_tiles - tile;
      const bool takes_many = count <= kFewRows && left >= 2 * kWideTiles;
      const size_t taken = takes_many ? 2 * kWideTiles : left >= kWideTiles ? kWideTiles : 1;
      const AddTilesFunction add = takes_many            ? kAddMany[count - 1]
                                   : taken == kWideTiles ? kAddSome[count - 1]
                                                         : kAddOne[count - 1];
      add(x + row * kBlockKeys, weights + tile * tile_stride, tile_stride, input_stride, num_inputs,
          y + row * y_stride + tile * kTileOutputs, y_stride, is_first);
      tile += taken;
    }
  }
}

// scores[.., begin .. end) = queries . keys, and those of the tiles at both ends. begin, end: of the block
inline void AddScores(const HeadCache& head, size_t first_key, size_t begin, size_t end, const AttentionGroup& group,
                      float* scores) {
  const size_t first_tile = begin / kTileKeys;
  const size_t num_tiles = (end + kTileKeys - 1) / kTileKeys - first_tile;
  const size_t tile_floats = head.head_dim * kTileKeys;
  const float* keys = head.keys + (first_key / kTileKeys + first_tile) * tile_floats;
  for (size_t element = 0; element < head.head_dim; element += kSliceElements) {
    AddAllTiles(group.num_rows, num_tiles, group.queries + element * kGroupRows, keys + element * kTileKeys,
                tile_floats, kTileKeys, std::min(kSliceElements, head.head_dim - element),
                scores + first_tile * kTileKeys, kBlockKeys, element == 0);
  }
}

SHARDRUN_VECTOR_INLINE void Scale(float* values, size_t count, float factor) {
  const Vector factors = Broadcast(factor);
  for (size_t i = 0; i < count; i += kVectorFloats) Store(values + i, Load(values + i) * factors);
}

// Behind kBlockKeys floats as many of the other sign: from place kBlockKeys - n on, n and all others.
constexpr auto kStep = [] {
  std::array<float, 2 * kBlockKeys> step{};
  for (size_t i = 0; i < kBlockKeys; ++i) step[i] = -(step[kBlockKeys + i] = std::numeric_limits<float>::infinity());
  return step;
}();

struct Range {
  size_t begin, end;
};

// Turns a row's scores into weights, 0 outside of what it sees of the block, whatever is there, and brings what it has
// so far to its new maximum.
SHARDRUN_VECTOR void WeighScores(float* scores, Range seen, float score_cap, float* maximum, float* totals, float* sums,
                                 size_t num_sums) {
  if (score_cap != 0) {
    const float inverse = 1.0F / score_cap;
#pragma GCC ivdep
    for (size_t i = 0; i < kBlockKeys; ++i) scores[i] = score_cap * Tanh(scores[i] * inverse);
  }
  const float* from_begin = kStep.data() + kBlockKeys - seen.begin;
  const float* from_end = kStep.data() + kBlockKeys - seen.end;
  Vector largest = Broadcast(*maximum);
  SHARDRUN_UNROLL
  for (size_t i = 0; i < kBlockKeys; i += kVectorFloats) {
    const Vector bound = Minimum(Load(from_begin + i), -Load(from_end + i));
    const Vector bounded = Minimum(Load(scores + i), bound);
    Store(scores + i, bounded);
    largest = Maximum(largest, bounded);
  }
  const float now = Largest(largest);
  if (now != *maximum) {
    const float factor = Exponential(std::max(*maximum - now, -88.0F));
    Scale(totals, kTotalLanes, factor);
    Scale(sums, num_sums, factor);
    *maximum = now;
  }
  for (size_t i = 0; i < kBlockKeys; i += kVectorFloats) {
    Store(scores + i, Maximum(Broadcast(-88.0F), Load(scores + i) - Broadcast(now)));
  }
#pragma GCC ivdep
  for (size_t i = 0; i < kBlockKeys; ++i) scores[i] = Exponential(scores[i]);
  for (size_t i = 0; i < kBlockKeys; i += kVectorFloats) {
    float* lanes = totals + i % kTotalLanes;
    Store(lanes, Load(lanes) + Load(scores + i));
  }
}

// sums += weights . values of `count` positions. weights: [num_rows, kBlockKeys]
inline void AddValues(const HeadCache& head, const float* values, size_t count, const float* weights, size_t num_rows,
                      float* sums, size_t num_sums) {
  const size_t whole_tiles = head.head_dim / kTileOutputs;
  AddAllTiles(num_rows, whole_tiles, weights, values, kTileOutputs, head.head_dim, count, sums, num_sums, false);
  const size_t begin = whole_tiles * kTileOutputs;
  if (begin == head.head_dim) return;
  // The rest of each position fills no tile: what lies behind it is the next one's.
  float rest[kBlockKeys * kTileOutputs] = {};
  for (size_t i = 0; i < count; ++i) {
    const float* position = values + i * head.head_dim;
    std::copy(position + begin, position + head.head_dim, rest + i * kTileOutputs);
  }
  AddAllTiles(num_rows, 1, weights, rest, 0, kTileOutputs, count, sums + begin, num_sums, false);
}

void AttendBlock(const HeadCache& head, size_t first_key, const AttentionGroup& group) {
  // In the block.
  const auto place = [&](size_t position) { return std::min(std::max(position, first_key) - first_key, kBlockKeys); };
  const Range seen = {place(group.begins[0]), place(group.ends[group.num_rows - 1])};
  const size_t num_sums = (head.head_dim + kTileOutputs - 1) / kTileOutputs * kTileOutputs;
  alignas(64) float scores[kGroupRows * kBlockKeys];
  AddScores(head, first_key, seen.begin, seen.end, group, scores);
  for (size_t row = 0; row < group.num_rows; ++row) {
    WeighScores(scores + row * kBlockKeys, {place(group.begins[row]), place(group.ends[row])}, head.score_cap,
                group.maxima + row, group.totals + row * kTotalLanes, group.sums + row * num_sums, num_sums);
  }
  AddValues(head, head.values + (first_key + seen.begin) * head.head_dim, seen.end - seen.begin, scores + seen.begin,
            group.num_rows, group.sums, num_sums);
}
