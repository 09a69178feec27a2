#include "reduce.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../common/half.h"
#include "../common/instruction_sets.h"

namespace shardrun {

namespace {

// The sums of one block stay in the first-level cache while the inputs pass by.
constexpr size_t kBlockElements = 2048;

// An element type is how it is stored, how it is summed, and the ways between.
template <typename Number>
struct Plain {
  using Stored = Number;
  using Wide = Number;
  static SHARDRUN_INLINE Wide Load(Stored value) { return value; }
  static SHARDRUN_INLINE Stored Store(Wide value) { return value; }
};

struct Sum {
  template <typename Wide>
  static SHARDRUN_INLINE Wide Of(Wide a, Wide b) {
    return a + b;
  }
};

struct Max {
  template <typename Wide>
  static SHARDRUN_INLINE Wide Of(Wide a, Wide b) {
    return (b > a || b != b) ? b : a;
  }
};

// out and an input may be the same memory, but never overlap otherwise: that is what ivdep promises.
template <typename Element, typename Op, typename Out, typename A, typename B>
SHARDRUN_INLINE void Combine(Out* out, const A* a, const B* b, size_t count) {
  using Wide = typename Element::Wide;
  const auto load = [](auto value) __attribute__((always_inline)) -> Wide {
    if constexpr (std::is_same_v<decltype(value), Wide>) {
      return value;
    } else {
      return Element::Load(value);
    }
  };
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    const Wide result = Op::Of(load(a[i]), load(b[i]));
    if constexpr (std::is_same_v<Out, Wide>) {
      out[i] = result;
    } else {
      out[i] = Element::Store(result);
    }
  }
}

template <typename Element, typename Op>
SHARDRUN_INLINE void ReduceAs(void* out, const void* const* inputs, int num_inputs, size_t count) {
  using Stored = typename Element::Stored;
  using Wide = typename Element::Wide;
  const auto input = [&](int i, size_t first) { return static_cast<const Stored*>(inputs[i]) + first; };
  auto* const result = static_cast<Stored*>(out);
  if (num_inputs == 2) return Combine<Element, Op>(result, input(0, 0), input(1, 0), count);
  Wide sums[kBlockElements];
  for (size_t first = 0; first < count; first += kBlockElements) {
    const size_t size = std::min(kBlockElements, count - first);
    Combine<Element, Op>(sums, input(0, first), input(1, first), size);
    for (int i = 2; i < num_inputs - 1; ++i) {
      Combine<Element, Op>(sums, static_cast<const Wide*>(sums), input(i, first), size);
    }
    Combine<Element, Op>(result + first, static_cast<const Wide*>(sums), input(num_inputs - 1, first), size);
  }
}

SHARDRUN_PER_INSTRUCTION_SET
void Add(void* out, const void* const* inputs, int num_inputs, size_t count, DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return ReduceAs<Plain<float>, Sum>(out, inputs, num_inputs, count);
    case DataType::kFloat16:
      return ReduceAs<Float16, Sum>(out, inputs, num_inputs, count);
    case DataType::kBFloat16:
      return ReduceAs<BFloat16, Sum>(out, inputs, num_inputs, count);
    case DataType::kInt32:
      return ReduceAs<Plain<uint32_t>, Sum>(out, inputs, num_inputs, count);
    case DataType::kInt64:
      return ReduceAs<Plain<uint64_t>, Sum>(out, inputs, num_inputs, count);
    case DataType::kUInt8:
      return ReduceAs<Plain<uint8_t>, Sum>(out, inputs, num_inputs, count);
  }
}

SHARDRUN_PER_INSTRUCTION_SET
void TakeLargest(void* out, const void* const* inputs, int num_inputs, size_t count, DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return ReduceAs<Plain<float>, Max>(out, inputs, num_inputs, count);
    case DataType::kFloat16:
      return ReduceAs<Float16, Max>(out, inputs, num_inputs, count);
    case DataType::kBFloat16:
      return ReduceAs<BFloat16, Max>(out, inputs, num_inputs, count);
    case DataType::kInt32:
      return ReduceAs<Plain<int32_t>, Max>(out, inputs, num_inputs, count);
    case DataType::kInt64:
      return ReduceAs<Plain<int64_t>, Max>(out, inputs, num_inputs, count);
    case DataType::kUInt8:
      return ReduceAs<Plain<uint8_t>, Max>(out, inputs, num_inputs, count);
  }
}

}  // namespace

size_t ElementBytes(DataType type) {
  switch (type) {
    case DataType::kInt64:
      return 8;
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
    case DataType::kFloat16:
    case DataType::kBFloat16:
      return 2;
    case DataType::kUInt8:
      break;
  }
  return 1;
}

const char* DataTypeName(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kFloat16:
      return "float16";
    case DataType::kBFloat16:
      return "bfloat16";
    case DataType::kInt32:
      return "int32";
    case DataType::kInt64:
      return "int64";
    case DataType::kUInt8:
      break;
  }
  return "uint8";
}

void Reduce(void* out, const void* const* inputs, int num_inputs, size_t count, DataType type, ReduceOp op) {
  if (count == 0) return;
  if (num_inputs == 1) {
    if (out != inputs[0]) memcpy(out, inputs[0], count * ElementBytes(type));
  } else if (op == ReduceOp::kSum) {
    Add(out, inputs, num_inputs, count, type);
  } else {
    TakeLargest(out, inputs, num_inputs, count, type);
  }
}

}  // namespace shardrun
