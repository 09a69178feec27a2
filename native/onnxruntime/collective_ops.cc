#include "collective_ops.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>

#include "tensor.h"

namespace shardrun::ort {

namespace {

constexpr const char* kReadingAttribute = "Reading an attribute of a collective failed";

// Texts are read twice: once for their size, once for themselves.
template <typename Read>
std::string ReadText(Read read) {
  size_t num_bytes = 0;
  Status* too_small = read(nullptr, &num_bytes);
  if (too_small != nullptr) GetApi().ReleaseStatus(too_small);
  std::string text(num_bytes, '\0');
  Check(read(text.data(), &num_bytes), kReadingAttribute);
  return text.c_str();  // without the terminating 0 that num_bytes counts
}

std::string ReadStringAttribute(const KernelInfo* info, const char* name) {
  return ReadText(
      [&](char* out, size_t* bytes) { return GetApi().KernelInfoGetAttribute_string(info, name, out, bytes); });
}

int64_t ReadIntAttribute(const KernelInfo* info, const char* name) {
  int64_t value = 0;
  Check(GetApi().KernelInfoGetAttribute_int64(info, name, &value), kReadingAttribute);
  return value;
}

std::vector<int64_t> ReadIntsAttribute(const KernelInfo* info, const char* name) {
  size_t count = 0;
  Check(GetApi().KernelInfoGetAttributeArray_int64(info, name, nullptr, &count), kReadingAttribute);
  std::vector<int64_t> values(count);
  Check(GetApi().KernelInfoGetAttributeArray_int64(info, name, values.data(), &count), kReadingAttribute);
  return values;
}

const Value* Input(const KernelContext* context, size_t index) {
  const Value* value = nullptr;
  Check(GetApi().KernelContext_GetInput(context, index, &value), "Reading a collective's input failed");
  return value;
}

void* Output(KernelContext* context, size_t index, const std::vector<int64_t>& shape) {
  Value* value = nullptr;
  Check(GetApi().KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value),
        "Making a collective's output failed");
  return MutableData(value);
}

Status* ToStatus(const std::exception& error) { return GetApi().CreateStatus(ErrorCode::kFail, error.what()); }

// One collective node of a session.
class Kernel {
 public:
  Kernel(CollectiveState* state, const KernelInfo* info) : state_(*state), label_(ReadStringAttribute(info, "label")) {}
  virtual ~Kernel() = default;

  void Compute(KernelContext* context) {
    const auto begin = std::chrono::steady_clock::now();
    Communicate(context);
    size_t num_outputs = 0;
    Check(GetApi().KernelContext_GetOutputCount(context, &num_outputs), "Counting a collective's outputs failed");
    if (num_outputs == 2) *static_cast<int32_t*>(Output(context, 1, {1})) = 0;
    state_.nanoseconds += static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count());
  }

  CollectiveState& state() { return state_; }

 protected:
  virtual void Communicate(KernelContext* context) = 0;
  Communicator& communicator() { return *state_.communicator; }
  CallInfo call_info() const { return {label_.c_str()}; }

  CollectiveState& state_;

 private:
  const std::string label_;
};

class AllReduceKernel : public Kernel {
 public:
  AllReduceKernel(CollectiveState* state, const KernelInfo* info) : Kernel(state, info) {
    const std::string op = ReadStringAttribute(info, "op");
    if (op != "sum" && op != "max") {
      throw Error(Error::Kind::kUsage, "AllReduce cannot \"" + op + "\": expected op sum or max.");
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

class AllGatherKernel : public Kernel {
 public:
  AllGatherKernel(CollectiveState* state, const KernelInfo* info)
      : Kernel(state, info), axis_(ReadIntAttribute(info, "axis")), sizes_(ReadIntsAttribute(info, "sizes")) {
    if (sizes_.size() != static_cast<size_t>(communicator().world_size())) {
      throw Error(Error::Kind::kUsage, "AllGather has sizes for " + std::to_string(sizes_.size()) +
                                           " ranks, the world has " + std::to_string(communicator().world_size()) +
                                           ".");
    }
  }

 private:
  // x: [outer..., sizes[rank], inner...]   y: [outer..., sum of sizes, inner...]
  void Communicate(KernelContext* context) override {
    const Value* x = Input(context, 0);
    TypedShape typed = ReadTypedShape(x);
    const size_t axis = static_cast<size_t>(axis_ < 0 ? axis_ + static_cast<int64_t>(typed.shape.size()) : axis_);
    const int64_t own_size = sizes_[static_cast<size_t>(communicator().rank())];
    if (axis >= typed.shape.size() || typed.shape[axis] != own_size) {
      throw Error(Error::Kind::kExecution, "AllGather expected " + std::to_string(own_size) + " along axis " +
                                               std::to_string(axis_) + " of its input.");
    }
    int64_t total_size = 0;
    for (const int64_t size : sizes_) total_size += size;
    size_t outer = 1;
    for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(typed.shape[i]);
    size_t inner_bytes = BytesOf(typed.type);
    for (size_t i = axis + 1; i < typed.shape.size(); ++i) inner_bytes *= static_cast<size_t>(typed.shape[i]);

    std::vector<size_t> bytes_per_rank;
    for (const int64_t size : sizes_) bytes_per_rank.push_back(outer * static_cast<size_t>(size) * inner_bytes);
    typed.shape[axis] = total_size;
    auto* y = static_cast<uint8_t*>(Output(context, 0, typed.shape));
    if (outer == 1) {
      communicator().AllGather(MutableData(x), y, bytes_per_rank, call_info());
      return;
    }
    state_.gathered.resize(typed.num_bytes());
    communicator().AllGather(MutableData(x), state_.gathered.data(), bytes_per_rank, call_info());
    Interleave(y, outer, inner_bytes, static_cast<size_t>(total_size) * inner_bytes);
  }

  // gathered: per rank [outer, size, inner]   y: [outer, sum of sizes, inner]
  void Interleave(uint8_t* y, size_t outer, size_t inner_bytes, size_t y_stride_bytes) const {
    const uint8_t* source = state_.gathered.data();
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
};

}  // namespace

// Both ops have the same inputs and outputs: 0 the tensor, of any type, 1 the token.
struct CollectiveOps::Op : CustomOp {
  using MakeKernel = std::unique_ptr<Kernel> (*)(CollectiveState*, const KernelInfo*);

  Op(const char* name, CollectiveState* state, MakeKernel make_kernel)
      : CustomOp{}, name_(name), state_(state), make_kernel_(make_kernel) {
    version = kApiVersion;
    GetName = [](const CustomOp* op) { return static_cast<const Op*>(op)->name_; };
    GetExecutionProviderType = [](const CustomOp*) -> const char* { return nullptr; };  // the CPU
    GetInputTypeCount = [](const CustomOp*) -> size_t { return 2; };
    GetOutputTypeCount = [](const CustomOp*) -> size_t { return 2; };
    GetInputType = [](const CustomOp*, size_t index) { return TypeOf(index); };
    GetOutputType = [](const CustomOp*, size_t index) { return TypeOf(index); };
    GetInputCharacteristic = [](const CustomOp*, size_t index) { return ArityOf(index); };
    GetOutputCharacteristic = [](const CustomOp*, size_t index) { return ArityOf(index); };
    GetInputMemoryType = [](const CustomOp*, size_t) { return MemoryType::kDefault; };
    GetStartVersion = [](const CustomOp*) { return 1; };
    GetEndVersion = [](const CustomOp*) { return 1; };
    CreateKernelV2 = [](const CustomOp* self, const void*, const KernelInfo* info, void** kernel) -> Status* {
      const auto* op = static_cast<const Op*>(self);
      try {
        *kernel = op->make_kernel_(op->state_, info).release();
        return nullptr;
      } catch (const std::exception& error) {
        return ToStatus(error);
      }
    };
    KernelComputeV2 = [](void* self, KernelContext* context) -> Status* {
      auto* kernel = static_cast<Kernel*>(self);
      try {
        kernel->Compute(context);
        return nullptr;
      } catch (const std::exception& error) {
        kernel->state().failure = std::current_exception();
        return ToStatus(error);
      }
    };
    KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  }

  static ElementType TypeOf(size_t index) { return index == 0 ? ElementType::kUndefined : ElementType::kInt32; }
  static Arity ArityOf(size_t index) { return index == 0 ? Arity::kRequired : Arity::kOptional; }

  // Lets the planner put output 0 where input 0 is. It only asks when the op also infers its output's shape.
  void AllowInPlace() {
    static int zero = 0;
    GetMayInplace = [](int** input, int** output) -> size_t {
      *input = &zero;
      *output = &zero;
      return 1;
    };
    ReleaseMayInplace = [](int*, int*) {};
    InferOutputShapeFn = [](const CustomOp*, ShapeInferContext* context) -> Status* {
      const Api& api = GetApi();
      TypeAndShape* x = nullptr;  // the context's own
      size_t ndim = 0;
      if (Status* failed = api.ShapeInferContext_GetInputTypeShape(context, 0, &x)) return failed;
      if (Status* failed = api.GetDimensionsCount(x, &ndim)) return failed;
      std::vector<int64_t> shape(ndim);
      std::vector<const char*> names(ndim);
      if (Status* failed = api.GetDimensions(x, shape.data(), ndim)) return failed;
      if (Status* failed = api.GetSymbolicDimensions(x, names.data(), ndim)) return failed;
      // onnxruntime would hand on a size that is neither a number nor a name as the number -1: give it a name of its
      // own.
      static std::atomic<uint64_t> num_unknown = 0;
      std::vector<std::string> given(ndim);
      for (size_t i = 0; i < ndim; ++i) {
        given[i] = shape[i] < 0 && *names[i] == '\0' ? "unknown_" + std::to_string(++num_unknown) : names[i];
        names[i] = given[i].c_str();
      }
      if (Status* failed = api.SetSymbolicDimensions(x, names.data(), ndim)) return failed;
      return api.ShapeInferContext_SetOutputTypeShape(context, 0, x);
    };
  }

  const char* const name_;
  CollectiveState* const state_;
  const MakeKernel make_kernel_;
};

CollectiveOps::CollectiveOps(CollectiveState* state)
    : all_reduce_(std::make_unique<Op>("AllReduce", state,
                                       [](CollectiveState* shared, const KernelInfo* info) -> std::unique_ptr<Kernel> {
                                         return std::make_unique<AllReduceKernel>(shared, info);
                                       })),
      all_gather_(std::make_unique<Op>("AllGather", state,
                                       [](CollectiveState* shared, const KernelInfo* info) -> std::unique_ptr<Kernel> {
                                         return std::make_unique<AllGatherKernel>(shared, info);
                                       })) {
  constexpr const char* what = "Registering the collectives failed";
  all_reduce_->AllowInPlace();
  CustomOpDomain* domain = nullptr;
  Check(GetApi().CreateCustomOpDomain("shardrun", &domain), what);
  domain_.reset(domain);
  Check(GetApi().CustomOpDomain_Add(domain, all_reduce_.get()), what);
  Check(GetApi().CustomOpDomain_Add(domain, all_gather_.get()), what);
}

CollectiveOps::~CollectiveOps() = default;

}  // namespace shardrun::ort
