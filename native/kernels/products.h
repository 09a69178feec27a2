// The products themselves: rows of quantised activations times tiles of a packed weight, one implementation per
// instruction set with the same results, bit for bit.
//
//   8 bits   sum = the integer product, of the low parts with all weights and of the high parts, times 255, with those
//            of their groups   y = float(sum) * (row's scale * output's scale)
//   4 bits   sum = for each block of 32 inputs float(integer product) * (row's scale * output's scale) in units, and
//            with minima float(sum of the row's values) * (row's scale * minimum), each rounded to a whole number. A
//            unit is the row's times the output's bound, powers of two, so that the sum fits; y = float(sum) * unit.
//            Whole numbers have no order: neither threads nor ranks change a bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "attention_group.h"
#include "float_products.h"
#include "packed_weight.h"
#include "quantised_rows.h"

namespace shardrun {

struct Product {
  const PackedLayout& layout;
  const uint8_t* weight;
  const QuantisedRows& rows;
  // [num_rows, out_features]; one of the two, the other null: y, or the sums as they are.
  float* y;
  int32_t* sums;
};

// One instruction set's products of all rows with tiles [first_tile, last_tile).
struct Kernels {
  const char* name;  // "plain", "avx2", "avx512vnni"
  bool (*is_supported)();
  void (*multiply_int8)(const Product&, size_t first_tile, size_t last_tile);
  void (*multiply_int4)(const Product&, size_t first_tile, size_t last_tile);
  void (*multiply_float32)(const FloatProduct&, size_t first_tile, size_t last_tile);
  void (*attend_block)(const HeadCache&, size_t first_key, const AttentionGroup&);
};

extern const Kernels kPlainKernels;
#if defined(__x86_64__)
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
#endif

// The fastest that this CPU has, unless ChooseKernels named another.
const Kernels& ChosenKernels();
// The names of what this CPU supports, fastest first.
std::vector<std::string> SupportedKernels();
// For the whole process. Throws Error(kUsage) for a name that is not known, or that this CPU does not support.
void ChooseKernels(const std::string& name);

// The whole product, on all threads.
void Multiply(const Product& product, Threads* threads);
void Multiply(const FloatProduct& product, Threads* threads);

// y = float(sum) * (row's scale * output's scale), or row's unit * output's bound: the second half of a product.
// sums, y: [num_rows, out_features]   octaves: [num_rows, kOctaves]
void Rescale(const PackedLayout& layout, const uint8_t* weight, const int32_t* sums, const int32_t* octaves,
             size_t num_rows, float* y, Threads* threads);

}  // namespace shardrun
