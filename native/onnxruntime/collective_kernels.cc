#include "collective_kernels.h"

#include <cstring>

#include "kernel_access.h"
#include "stopwatch.h"

namespace shardrun::ort {

namespace {

class AllReduceKernel : public CollectiveKernel {
 public:
  AllReduceKernel(CollectiveState* state, const KernelInfo* info) : CollectiveKernel(state, info) {
    const std::string op = ReadStringAttribute(info, "op");
    if (op != "sum" && op != "max") {
      throw Error(Error::Kind::kExecution,
                  "AllReduce \"" + label() + "\" cannot \"" + op + "\": expected op sum or max.");
    }
    op_ = op == "sum" ? ReduceOp::kSum : ReduceOp::kMax;
  }

 private:
  // x, y: [...]
  void Communicate(KernelContext* context) override {
    const Value* x = Input(context, 0);
    const TypedShape typed = ReadTypedShape(x);
    const void* source = MutableData(x);
    void* y = Output(context, 0, typed.shape);
    if (y != source) std::memcpy(y, source, typed.num_bytes());
    communicator().AllReduce(y, typed.num_elements(), WireTypeOf(typed.type), op_, call_info());
  }

  ReduceOp op_;
};

class AllGatherKernel : public CollectiveKernel {
 public:
  AllGatherKernel(CollectiveState* state, const KernelInfo* info)
      : CollectiveKernel(state, info), axis_(ReadIntAttribute(info, "axis")), sizes_(ReadIntsAttribute(info, "sizes")) {
    if (sizes_.size() != static_cast<size_t>(communicator().world_size())) {
      throw Error(Error::Kind::kExecution, "AllGather \"" + label() + "\" has sizes for " +
                                               std::to_string(sizes_.size()) + " ranks, the world has " +
                                               std::to_string(communicator().world_size()) + ".");
    }
    for (const int64_t size : sizes_) total_size_ += size;
  }

 private:
  // x: [outer..., sizes[rank], inner...]   y: [outer..., sum of sizes, inner...]
  void Communicate(KernelContext* context) override {
    const Value* x = Input(context, 0);
    TypedShape typed = ReadTypedShape(x);
    const size_t axis = CheckedAxis(typed.shape);
    size_t outer = 1;
    for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(typed.shape[i]);
    size_t inner_bytes = BytesOf(typed.type);
    for (size_t i = axis + 1; i < typed.shape.size(); ++i) inner_bytes *= static_cast<size_t>(typed.shape[i]);

    std::vector<size_t> bytes_per_rank;
    for (const int64_t size : sizes_) bytes_per_rank.push_back(outer * static_cast<size_t>(size) * inner_bytes);
    typed.shape[axis] = total_size_;
    auto* y = static_cast<uint8_t*>(Output(context, 0, typed.shape));
    if (outer == 1) return communicator().AllGather(MutableData(x), y, bytes_per_rank, call_info());
    state().gathered.resize(typed.num_bytes());
    communicator().AllGather(MutableData(x), state().gathered.data(), bytes_per_rank, call_info());
    Interleave(y, outer, inner_bytes, static_cast<size_t>(total_size_) * inner_bytes);
  }

  size_t CheckedAxis(const std::vector<int64_t>& shape) {
    const auto axis = static_cast<size_t>(axis_ < 0 ? axis_ + static_cast<int64_t>(shape.size()) : axis_);
    const int64_t expected = sizes_[static_cast<size_t>(communicator().rank())];
    if (axis < shape.size() && shape[axis] == expected) return axis;
    throw Error(Error::Kind::kExecution, "AllGather \"" + label() + "\" expected " + std::to_string(expected) +
                                             " along axis " + std::to_string(axis_) + " of its input, received shape " +
                                             Print(shape) + ".");
  }

  // gathered: per rank [outer, size, inner]   y: [outer, sum of sizes, inner]
  void Interleave(uint8_t* y, size_t outer, size_t inner_bytes, size_t y_stride_bytes) {
    const uint8_t* source = state().gathered.data();
    for (const int64_t size : sizes_) {
      const size_t stretch_bytes = static_cast<size_t>(size) * inner_bytes;
      for (size_t i = 0; i < outer; ++i, source += stretch_bytes) {
        std::memcpy(y + i * y_stride_bytes, source, stretch_bytes);
      }
      y += stretch_bytes;
    }
  }

  const int64_t axis_;
  const std::vector<int64_t> sizes_;
  int64_t total_size_ = 0;
};

}  // namespace

CollectiveKernel::CollectiveKernel(CollectiveState* state, const KernelInfo* info)
    : state_(*state), label_(ReadStringAttribute(info, "label")) {}

void CollectiveKernel::Compute(KernelContext* context) {
  const Stopwatch stopwatch;
  Communicate(context);
  size_t num_outputs = 0;
  Check(GetApi().KernelContext_GetOutputCount(context, &num_outputs), "Counting a collective's outputs failed");
  if (num_outputs == 2) *static_cast<int32_t*>(Output(context, 1, {1})) = 0;
  state_.nanoseconds += stopwatch.nanoseconds();
}

std::unique_ptr<Kernel> MakeAllReduceKernel(CollectiveState* state, const KernelInfo* info) {
  return std::make_unique<AllReduceKernel>(state, info);
}

std::unique_ptr<Kernel> MakeAllGatherKernel(CollectiveState* state, const KernelInfo* info) {
  return std::make_unique<AllGatherKernel>(state, info);
}

}  // namespace shardrun::ort
