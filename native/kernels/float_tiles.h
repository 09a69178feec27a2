// The products of floats for one set of vector instructions, the same text for each; it comes behind
// float_sums.h.
// Long inputs are taken in stretches, so that the weights of one stay in a core's cache while every group of rows
// passes by; between stretches the sums wait in y.

// Inputs of a stretch: two tiles of them take 64 KiB.
constexpr size_t kStretchInputs = 512;
// How far ahead of its use a weight is asked for.
constexpr size_t kAheadFloats = 512;

// A stretch of inputs: kRows rows times kTiles tiles.
// x: [num_inputs, x_stride]   weights: [num_inputs, 16], tiles tile_stride apart   y: [kRows, kTiles * 16], y_stride
template <size_t kRows, size_t kTiles>
SHARDRUN_VECTOR void AddStretch(const float* x, size_t x_stride, const float* weights, size_t tile_stride,
                                size_t num_inputs, float* y, size_t y_stride, bool is_first) {
  AddProducts<kRows, kTiles>(ByInput{x, x_stride}, weights, tile_stride, kTileOutputs, num_inputs, y, y_stride,
                             is_first, kAheadFloats);
}

using AddStretchFunction = void (*)(const float*, size_t, const float*, size_t, size_t, float*, size_t, bool);

template <size_t kTiles, size_t... i>
constexpr std::array<AddStretchFunction, kMostRows> MakeAddStretch(std::index_sequence<i...>) {
  return {AddStretch<i + 1, kTiles>...};
}
// By number of rows.
constexpr auto kAddWide = MakeAddStretch<kWideTiles>(std::make_index_sequence<kMostRows>());
constexpr auto kAddNarrow = MakeAddStretch<1>(std::make_index_sequence<kMostRows>());

// Inputs [begin, end) of all rows times a tile, or kWideTiles of them. y: of the first row, at the tile's outputs
inline void AddRows(const std::array<AddStretchFunction, kMostRows>& add, const FloatProduct& product, size_t tile,
                    size_t begin, size_t end, float* y, size_t y_stride) {
  const size_t tile_stride = product.layout.in_features * kTileOutputs;
  const auto* weights = reinterpret_cast<const float*>(product.weight) + tile * tile_stride + begin * kTileOutputs;
  for (size_t group = 0; group < product.rows.num_groups(); ++group) {
    const size_t first = product.rows.first_row(group);
    const size_t count = product.rows.first_row(group + 1) - first;
    const float* x = product.rows.values(group) + begin * count;
    for (size_t row = 0; row < count; row += kMostRows) {
      add[std::min(kMostRows, count - row) - 1](x + row, count, weights, tile_stride, end - begin,
                                                y + (first + row) * y_stride, y_stride, begin == 0);
    }
  }
}

// The last tile, when the matrix ends inside it.
inline void MultiplyLastTile(const FloatProduct& product, size_t tile) {
  const PackedLayout& layout = product.layout;
  const size_t num_outputs = layout.out_features - tile * kTileOutputs;
  const size_t num_rows = product.rows.num_rows();
  std::vector<float> y(num_rows * kTileOutputs);
  AddRows(kAddNarrow, product, tile, 0, layout.in_features, y.data(), kTileOutputs);
  for (size_t row = 0; row < num_rows; ++row) {
    std::copy_n(y.data() + row * kTileOutputs, num_outputs,
                product.y + row * layout.out_features + tile * kTileOutputs);
  }
}

void Multiply(const FloatProduct& product, size_t first_tile, size_t last_tile) {
  const PackedLayout& layout = product.layout;
  const size_t num_inputs = layout.in_features;
  const size_t stretch = product.rows.num_groups() == 1 ? num_inputs : kStretchInputs;
  const size_t whole_tiles = std::min(last_tile, layout.out_features / kTileOutputs);
  size_t begin = 0;
  do {  // without inputs once, which makes zeros
    const size_t end = std::min(num_inputs, begin + stretch);
    for (size_t tile = first_tile; tile < whole_tiles;) {
      const size_t num_tiles = whole_tiles - tile >= kWideTiles ? kWideTiles : 1;
      AddRows(num_tiles == 1 ? kAddNarrow : kAddWide, product, tile, begin, end, product.y + tile * kTileOutputs,
              layout.out_features);
      tile += num_tiles;
    }
    begin += stretch;
  } while (begin < num_inputs);
  if (last_tile > whole_tiles) MultiplyLastTile(product, whole_tiles);
}
