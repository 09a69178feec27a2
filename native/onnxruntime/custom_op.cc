#include "custom_op.h"

#include <utility>

namespace shardrun::ort {

namespace {

// What onnxruntime holds per node.
struct Node {
  std::unique_ptr<Kernel> kernel;
  std::exception_ptr* failure;
};

// Runs `body`; keeps what it throws for whoever created or ran the session, and tells onnxruntime.
template <typename Body>
Status* Guard(std::exception_ptr* failure, const Body& body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    *failure = std::current_exception();
    return GetApi().CreateStatus(ErrorCode::kFail, error.what());
  }
}

const Op& Of(const CustomOp* op) { return *static_cast<const Op*>(op); }

}  // namespace

Op::Op(const char* name, std::vector<Parameter> inputs, std::vector<Parameter> outputs, InferShape infer_shape,
       MakeKernel make_kernel)
    : CustomOp{},
      name(name),
      inputs(std::move(inputs)),
      outputs(std::move(outputs)),
      make_kernel(std::move(make_kernel)) {
  version = kApiVersion;
  GetName = [](const CustomOp* op) { return Of(op).name; };
  GetExecutionProviderType = [](const CustomOp*) -> const char* { return nullptr; };  // the CPU
  GetInputTypeCount = [](const CustomOp* op) { return Of(op).inputs.size(); };
  GetOutputTypeCount = [](const CustomOp* op) { return Of(op).outputs.size(); };
  GetInputType = [](const CustomOp* op, size_t index) { return Of(op).inputs[index].type; };
  GetOutputType = [](const CustomOp* op, size_t index) { return Of(op).outputs[index].type; };
  GetInputCharacteristic = [](const CustomOp* op, size_t index) { return Of(op).inputs[index].arity; };
  GetOutputCharacteristic = [](const CustomOp* op, size_t index) { return Of(op).outputs[index].arity; };
  GetInputMemoryType = [](const CustomOp*, size_t) { return MemoryType::kDefault; };
  GetStartVersion = [](const CustomOp*) { return 1; };
  GetEndVersion = [](const CustomOp*) { return 1; };
  CreateKernelV2 = [](const CustomOp* self, const void*, const KernelInfo* info, void** kernel) {
    const Op& op = Of(self);
    return Guard(op.failure, [&] { *kernel = new Node{op.make_kernel(info), op.failure}; });
  };
  KernelComputeV2 = [](void* self, KernelContext* context) {
    auto* node = static_cast<Node*>(self);
    return Guard(node->failure, [&] { node->kernel->Compute(context); });
  };
  InferOutputShapeFn = infer_shape;
  KernelDestroy = [](void* self) { delete static_cast<Node*>(self); };
}

void Op::AllowInPlace() {
  static int zero = 0;
  GetMayInplace = [](int** input, int** output) -> size_t {
    *input = &zero;
    *output = &zero;
    return 1;
  };
  ReleaseMayInplace = [](int*, int*) {};
}

OpDomain::OpDomain(std::vector<std::unique_ptr<Op>> ops) : ops_(std::move(ops)) {
  constexpr const char* what = "Registering the custom ops failed";
  CustomOpDomain* domain = nullptr;
  Check(GetApi().CreateCustomOpDomain("shardrun", &domain), what);
  domain_.reset(domain);
  for (const std::unique_ptr<Op>& op : ops_) {
    op->failure = &failure;
    Check(GetApi().CustomOpDomain_Add(domain, op.get()), what);
  }
}

}  // namespace shardrun::ort
