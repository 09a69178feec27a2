// The products of floats in plain C++: the definition that the others are tested against.
#include <algorithm>
#include <cmath>

#include "float_products.h"

namespace shardrun::plain::floats {

void Multiply(const FloatProduct& product, size_t first_tile, size_t last_tile) {
  const PackedLayout& layout = product.layout;
  for (size_t group = 0; group < product.rows.num_groups(); ++group) {
    const size_t first_row = product.rows.first_row(group);
    const size_t num_rows = product.rows.first_row(group + 1) - first_row;
    const float* values = product.rows.values(group);
    for (size_t output = first_tile * kTileOutputs; output < std::min(layout.out_features, last_tile * kTileOutputs);
         ++output) {
      const auto* weight =
          reinterpret_cast<const float*>(product.weight + output / kTileOutputs * layout.tile_bytes()) +
          output % kTileOutputs;
      for (size_t row = 0; row < num_rows; ++row) {
        float sum = 0;
        for (size_t i = 0; i < layout.in_features; ++i) {
          sum = std::fma(values[i * num_rows + row], weight[i * kTileOutputs], sum);
        }
        product.y[(first_row + row) * layout.out_features + output] = sum;
      }
    }
  }
}

}  // namespace shardrun::plain::floats
