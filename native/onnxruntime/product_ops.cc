#include "product_ops.h"

#include <cstring>
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

// What kernels with a packed weight share.
class PackedNode {
 public:
  PackedNode(const char* op, ProductState* state, const KernelInfo* info)
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

class PackedMatMulKernel : public Kernel, PackedNode {
 public:
  PackedMatMulKernel(ProductState* state, const KernelInfo* info) : PackedNode("PackedMatMul", state, info) {}

  void Compute(KernelContext* context) override {
    const Operands operands = ReadOperands(context);
    SessionThreads pool = threads(context);
    float_rows().Arrange(operands.x, operands.num_rows, layout().in_features, &pool);
    Multiply(FloatProduct{layout(), operands.weight, float_rows(), operands.y}, &pool);
  }
};

class QuantizedMatMulKernel : public Kernel, PackedNode {
 public:
  QuantizedMatMulKernel(ProductState* state, const KernelInfo* info) : PackedNode("QuantizedMatMul", state, info) {}

  void Compute(KernelContext* context) override {
    const Operands operands = ReadOperands(context);
    SessionThreads pool = threads(context);
    rows().Quantise(layout(), operands.x, operands.num_rows, nullptr, &pool);
    Multiply(Product{layout(), operands.weight, rows(), operands.y, nullptr}, &pool);
  }
};

class IntegerMatMulKernel : public Kernel, PackedNode {
 public:
  IntegerMatMulKernel(ProductState* state, const KernelInfo* info) : PackedNode("IntegerMatMul", state, info) {}

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

// x: [..., K], this rank's part of the row   octaves: int32 [..., 64], of the whole row
class AllReduceOctavesKernel : public CollectiveKernel {
 public:
  AllReduceOctavesKernel(CollectiveState* collectives, const ProductState* state, const KernelInfo* info)
      : CollectiveKernel(collectives, info), state_(*state) {}

 private:
  void Communicate(KernelContext* context) override {
    const Value* value = Input(context, 0);
    const TypedShape typed = ReadTypedShape(value);
    const auto* x = static_cast<const float*>(MutableData(value));
    auto* octaves = static_cast<int32_t*>(Output(context, 0, WithColumns(typed.shape, kOctaves)));
    const auto columns = static_cast<size_t>(typed.shape.back());
    const auto count = [&](size_t row) { CountOctaves(x + row * columns, columns, octaves + row * kOctaves); };
    const size_t num_rows = typed.num_rows();
    SessionThreads pool(state_.num_threads, context);
    RunRows(num_rows, columns, &pool, count);
    communicator().AllReduce(octaves, num_rows * kOctaves, DataType::kInt32, ReduceOp::kSum, call_info());
  }

  const ProductState& state_;
};

// sums: int32 [..., N], this rank's   y: float32 [..., N], of the sums of all
class AllReduceRescaleKernel : public CollectiveKernel, PackedNode {
 public:
  AllReduceRescaleKernel(CollectiveState* collectives, ProductState* state, const KernelInfo* info)
      : CollectiveKernel(collectives, info), PackedNode("AllReduceRescale", state, info) {}

 private:
  void Communicate(KernelContext* context) override {
    TypedShape typed;
    const Value* sums = ReadRows(context, 0, layout().out_features, &typed);
    const size_t num_rows = typed.num_rows();
    const int32_t* octaves = ReadOctaves(context, 1, num_rows);
    const uint8_t* weight = ReadWeight(context, 2);
    void* y = Output(context, 0, typed.shape);  // int32 and float32 have the same size
    if (y != MutableData(sums)) std::memcpy(y, MutableData(sums), typed.num_bytes());
    communicator().AllReduce(y, typed.num_elements(), DataType::kInt32, ReduceOp::kSum, call_info());
    SessionThreads pool = threads(context);
    Rescale(layout(), weight, static_cast<const int32_t*>(y), octaves, num_rows, static_cast<float*>(y), &pool);
  }
};

}  // namespace

std::vector<std::unique_ptr<Op>> MakeProductOps(ProductState* state, CollectiveState* collectives) {
  const Parameter floats = {ElementType::kFloat32};
  const Parameter integers = {ElementType::kInt32};
  const Parameter packed = {ElementType::kUInt8};
  const Parameter token = {ElementType::kInt32, Arity::kOptional};
  std::vector<std::unique_ptr<Op>> ops;
  const auto add = [&](auto... arguments) { ops.push_back(std::make_unique<Op>(arguments...)); };
  using Parameters = std::vector<Parameter>;
  add("PackedMatMul", Parameters{floats, packed}, Parameters{floats}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<PackedMatMulKernel>(state, info); });
  add("QuantizedMatMul", Parameters{floats, packed}, Parameters{floats}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<QuantizedMatMulKernel>(state, info); });
  add("AllReduceOctaves", Parameters{floats, token}, Parameters{integers, token}, InferOctaves,
      [=](const KernelInfo* info) { return std::make_unique<AllReduceOctavesKernel>(collectives, state, info); });
  add("IntegerMatMul", Parameters{floats, integers, packed}, Parameters{integers}, InferOutFeatures,
      [state](const KernelInfo* info) { return std::make_unique<IntegerMatMulKernel>(state, info); });
  add("AllReduceRescale", Parameters{integers, integers, packed, token}, Parameters{floats, token}, InferSameShape,
      [=](const KernelInfo* info) { return std::make_unique<AllReduceRescaleKernel>(collectives, state, info); });
  ops.back()->AllowInPlace();
  return ops;
}

}  // namespace shardrun::ort
