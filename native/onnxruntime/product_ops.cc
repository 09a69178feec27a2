#include "product_ops.h"

#include <string>

#include "../kernels/products.h"
#include "kernel_access.h"
#include "session_threads.h"
#include "shape_inference.h"

namespace shardrun::ort {

namespace {

PackedLayout ReadLayout(const KernelInfo* info) {
  const auto read = [&](const char* name) { return static_cast<size_t>(ReadIntAttribute(info, name)); };
  PackedLayout layout;
  layout.bits = static_cast<int>(read("bits"));
  layout.in_features = read("in_features");
  layout.out_features = read("out_features");
  if (layout.bits == 4) {
    layout.block_size = read("block_size");
    layout.has_minimum = read("has_minimum") != 0;
    layout.in_offset = read("in_offset");
  }
  return layout;
}

std::vector<int64_t> WithColumns(std::vector<int64_t> shape, size_t columns) {
  shape.back() = static_cast<int64_t>(columns);
  return shape;
}

// A kernel with a packed weight.
class PackedKernel : public Kernel {
 public:
  PackedKernel(const char* op, ProductState* state, const KernelInfo* info)
      : state_(*state), what_(std::string(op) + " \"" + ReadNodeName(info) + "\""), layout_(ReadLayout(info)) {
    CheckLayout(layout_);
  }

 protected:
  // Input `index`, whose last axis must be `columns`.
  const Value* ReadRows(const KernelContext* context, size_t index, size_t columns, TypedShape* typed) const {
    const Value* value = Input(context, index);
    *typed = ReadTypedShape(value);
    if (typed->shape.empty() || typed->shape.back() != static_cast<int64_t>(columns)) {
      throw Error(Error::Kind::kExecution, what_ + " expected " + std::to_string(columns) +
                                               " features along the last axis of input " + std::to_string(index) +
                                               ", received shape " + Print(typed->shape) + ".");
    }
    return value;
  }

  // Input `index`, the octaves of num_rows rows.
  const int32_t* ReadOctaves(const KernelContext* context, size_t index, size_t num_rows) const {
    TypedShape typed;
    const Value* value = ReadRows(context, index, kOctaves, &typed);
    if (typed.num_rows() == num_rows) return static_cast<const int32_t*>(MutableData(value));
    throw Error(Error::Kind::kExecution, what_ + " expected the octaves of " + std::to_string(num_rows) +
                                             " rows, received shape " + Print(typed.shape) + ".");
  }

  const uint8_t* ReadWeight(const KernelContext* context, size_t index) const {
    const Value* value = Input(context, index);
    const size_t num_bytes = ReadTypedShape(value).num_elements();
    if (num_bytes == layout_.num_bytes()) return static_cast<const uint8_t*>(MutableData(value));
    throw Error(Error::Kind::kExecution, what_ + " expected a packed weight of " + std::to_string(layout_.num_bytes()) +
                                             " bytes, received " + std::to_string(num_bytes) + ".");
  }

  struct Operands {
    const float* x;  // [num_rows, in_features]
    size_t num_rows;
    const uint8_t* weight;
    float* y;  // [num_rows, out_features]
  };

  // Of a product whose inputs are x and the weight.
  Operands ReadOperands(KernelContext* context) const {
    TypedShape typed;
    const Value* x = ReadRows(context, 0, layout_.in_features, &typed);
    return {static_cast<const float*>(MutableData(x)), typed.num_rows(), ReadWeight(context, 1),
            static_cast<float*>(Output(context, 0, WithColumns(typed.shape, layout_.out_features)))};
  }

  const PackedLayout& layout() const { return layout_; }
  QuantisedRows& rows() { return state_.rows; }
  FloatRows& float_rows() { return state_.float_rows; }
  SessionThreads threads(const KernelContext* context) const { return {state_.num_threads, context}; }

 private:
  ProductState& state_;
  const std::string what_;
  const PackedLayout layout_;
};

class PackedMatMulKernel : public PackedKernel {
 public:
  PackedMatMulKernel(ProductState* state, const KernelInfo* info) : PackedKernel("PackedMatMul", state, info) {}

  void Compute(KernelContext* context) override {
    const Operands operands = ReadOperands(context);
    SessionThreads pool = threads(context);
    float_rows().Arrange(operands.x, operands.num_rows, layout().in_features, &pool);
    Multiply(FloatProduct{layout(), operands.weight, float_rows(), operands.y}, &pool);
  }
};

class QuantizedMatMulKernel : public PackedKernel {
 public:
  QuantizedMatMulKernel(ProductState* state, const KernelInfo* info) : PackedKernel("QuantizedMatMul", state, info) {}

  void Compute(KernelContext* context) override {
    const Operands operands = ReadOperands(context);
    SessionThreads pool = threads(context);
    rows().Quantise(layout(), operands.x, operands.num_rows, nullptr, &pool);
    Multiply(Product{layout(), operands.weight, rows(), operands.y, nullptr}, &pool);
  }
};

class IntegerMatMulKernel : public PackedKernel {
 public:
  IntegerMatMulKernel(ProductState* state, const KernelInfo* info) : PackedKernel("IntegerMatMul", state, info) {}

  void Compute(KernelContext* context) override {
    TypedShape typed;
    const Value* x = ReadRows(context, 0, layout().in_features, &typed);
    const size_t num_rows = typed.num_rows();
    const int32_t* octaves = ReadOctaves(context, 1, num_rows);
    const uint8_t* weight = ReadWeight(context, 2);
    auto* sums = static_cast<int32_t*>(Output(context, 0, WithColumns(typed.shape, layout().out_features)));
    SessionThreads pool = threads(context);
    rows().Quantise(layout(), static_cast<const float*>(MutableData(x)), num_rows, octaves, &pool);
    Multiply(Product{layout(), weight, rows(), nullptr, sums}, &pool);
  }
};

class RescaleKernel : public PackedKernel {
 public:
  RescaleKernel(ProductState* state, const KernelInfo* info) : PackedKernel("Rescale", state, info) {}

  void Compute(KernelContext* context) override {
    TypedShape typed;
    const Value* sums = ReadRows(context, 0, layout().out_features, &typed);
    const size_t num_rows = typed.num_rows();
    const int32_t* octaves = ReadOctaves(context, 1, num_rows);
    const uint8_t* weight = ReadWeight(context, 2);
    auto* y = static_cast<float*>(Output(context, 0, typed.shape));
    SessionThreads pool = threads(context);
    shardrun::Rescale(layout(), weight, static_cast<const int32_t*>(MutableData(sums)), octaves, num_rows, y, &pool);
  }
};

class RowOctavesKernel : public Kernel {
 public:
  explicit RowOctavesKernel(const ProductState* state) : state_(*state) {}

  void Compute(KernelContext* context) override {
    const Value* value = Input(context, 0);
    const TypedShape typed = ReadTypedShape(value);
    const auto* x = static_cast<const float*>(MutableData(value));
    auto* octaves = static_cast<int32_t*>(Output(context, 0, WithColumns(typed.shape, kOctaves)));
    const auto columns = static_cast<size_t>(typed.shape.back());
    const auto count = [&](size_t row) { CountOctaves(x + row * columns, columns, octaves + row * kOctaves); };
    const size_t num_rows = typed.num_rows();
    if (num_rows == 1) return count(0);
    SessionThreads(state_.num_threads, context).Run(num_rows, count);
  }

 private:
  const ProductState& state_;
};

}  // namespace

std::vector<std::unique_ptr<Op>> MakeProductOps(ProductState* state) {
  const Parameter floats = {ElementType::kFloat32};
  const Parameter integers = {ElementType::kInt32};
  const Parameter packed = {ElementType::kUInt8};
  std::vector<std::unique_ptr<Op>> ops;
  const auto add = [&](auto... arguments) { ops.push_back(std::make_unique<Op>(arguments...)); };
  using Parameters = std::vector<Parameter>;
  add("PackedMatMul", Parameters{floats, packed}, Parameters{floats}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<PackedMatMulKernel>(state, info); });
  add("QuantizedMatMul", Parameters{floats, packed}, Parameters{floats}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<QuantizedMatMulKernel>(state, info); });
  add("RowOctaves", Parameters{floats}, Parameters{integers}, InferOctaves,
      [state](const KernelInfo*) { return std::make_unique<RowOctavesKernel>(state); });
  add("IntegerMatMul", Parameters{floats, integers, packed}, Parameters{integers}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<IntegerMatMulKernel>(state, info); });
  add("Rescale", Parameters{integers, integers, packed}, Parameters{floats}, InferSameShape,
      [state](const KernelInfo* info) { return std::make_unique<RescaleKernel>(state, info); });
  ops.back()->AllowInPlace();  // int32 and float32 have the same size
  return ops;
}

}  // namespace shardrun::ort
