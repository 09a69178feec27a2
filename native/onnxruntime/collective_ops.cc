#include "collective_ops.h"

#include <atomic>
#include <string>
#include <vector>

namespace shardrun::ort {

namespace {

// Keeps what was thrown for whoever created or ran the session, and tells onnxruntime.
Status* Fail(CollectiveState* state, const std::exception& error) {
  state->failure = std::current_exception();
  return GetApi().CreateStatus(ErrorCode::kFail, error.what());
}

// Tells that output 0 has the type and the number of axes of input 0, and its sizes too if `same_sizes`. A size that is
// neither a number nor a name gets a name of its own: onnxruntime would hand it on as the number -1.
Status* InferShape(ShapeInferContext* context, bool same_sizes) {
  static std::atomic<uint64_t> num_unknown = 0;
  const Api& api = GetApi();
  TypeAndShape* x = nullptr;  // the context's own, changed into the output's
  size_t ndim = 0;
  if (Status* failed = api.ShapeInferContext_GetInputTypeShape(context, 0, &x)) return failed;
  if (Status* failed = api.GetDimensionsCount(x, &ndim)) return failed;
  if (ndim == 0) return nullptr;  // nothing is known
  std::vector<int64_t> shape(ndim, -1);
  std::vector<const char*> names(ndim, "");
  if (same_sizes) {
    if (Status* failed = api.GetDimensions(x, shape.data(), ndim)) return failed;
    if (Status* failed = api.GetSymbolicDimensions(x, names.data(), ndim)) return failed;
  }
  std::vector<std::string> given(ndim);
  for (size_t i = 0; i < ndim; ++i) {
    given[i] = shape[i] < 0 && *names[i] == '\0' ? "unknown_" + std::to_string(++num_unknown) : names[i];
    names[i] = given[i].c_str();
  }
  if (Status* failed = api.SetDimensions(x, shape.data(), ndim)) return failed;
  if (Status* failed = api.SetSymbolicDimensions(x, names.data(), ndim)) return failed;
  return api.ShapeInferContext_SetOutputTypeShape(context, 0, x);
}

}  // namespace

// Both ops have the same inputs and outputs: 0 the tensor, of any type, 1 the token.
struct CollectiveOps::Op : CustomOp {
  using MakeKernel = std::unique_ptr<CollectiveKernel> (*)(CollectiveState*, const KernelInfo*);

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
        return Fail(op->state_, error);
      }
    };
    KernelComputeV2 = [](void* self, KernelContext* context) -> Status* {
      auto* kernel = static_cast<CollectiveKernel*>(self);
      try {
        kernel->Compute(context);
        return nullptr;
      } catch (const std::exception& error) {
        return Fail(&kernel->state(), error);
      }
    };
    InferOutputShapeFn = [](const CustomOp*, ShapeInferContext* context) { return InferShape(context, false); };
    KernelDestroy = [](void* kernel) { delete static_cast<CollectiveKernel*>(kernel); };
  }

  static ElementType TypeOf(size_t index) { return index == 0 ? ElementType::kUndefined : ElementType::kInt32; }
  static Arity ArityOf(size_t index) { return index == 0 ? Arity::kRequired : Arity::kOptional; }

  // Output 0 has the sizes of input 0, and the planner may put it where input 0 is.
  void KeepSizes() {
    static int zero = 0;
    GetMayInplace = [](int** input, int** output) -> size_t {
      *input = &zero;
      *output = &zero;
      return 1;
    };
    ReleaseMayInplace = [](int*, int*) {};
    InferOutputShapeFn = [](const CustomOp*, ShapeInferContext* context) { return InferShape(context, true); };
  }

  const char* const name_;
  CollectiveState* const state_;
  const MakeKernel make_kernel_;
};

CollectiveOps::CollectiveOps(CollectiveState* state)
    : all_reduce_(std::make_unique<Op>("AllReduce", state, MakeAllReduceKernel)),
      all_gather_(std::make_unique<Op>("AllGather", state, MakeAllGatherKernel)) {
  constexpr const char* what = "Registering the collectives failed";
  all_reduce_->KeepSizes();
  CustomOpDomain* domain = nullptr;
  Check(GetApi().CreateCustomOpDomain("shardrun", &domain), what);
  domain_.reset(domain);
  Check(GetApi().CustomOpDomain_Add(domain, all_reduce_.get()), what);
  Check(GetApi().CustomOpDomain_Add(domain, all_gather_.get()), what);
}

CollectiveOps::~CollectiveOps() = default;

}  // namespace shardrun::ort
