#include "gate_ops.h"

#include <string>

#include "../kernels/gates.h"
#include "kernel_access.h"
#include "session_threads.h"
#include "shape_inference.h"

namespace shardrun::ort {

namespace {

class GatedSiluKernel : public Kernel {
 public:
  GatedSiluKernel(int num_threads, const KernelInfo* info)
      : num_threads_(num_threads), what_("GatedSilu \"" + ReadNodeName(info) + "\"") {}

  void Compute(KernelContext* context) override {
    const Value* gate_up = Input(context, 0);
    TypedShape typed = ReadTypedShape(gate_up);
    if (typed.shape.empty() || typed.shape.back() % 2 != 0) {
      throw Error(
          Error::Kind::kExecution,
          what_ + " expected gates and as many ups along the last axis, received shape " + Print(typed.shape) + ".");
    }
    const size_t num_rows = typed.num_rows();
    typed.shape.back() /= 2;
    const auto num_features = static_cast<size_t>(typed.shape.back());
    auto* y = static_cast<float*>(Output(context, 0, typed.shape));
    SessionThreads threads(num_threads_, context);
    GateWithSilu(static_cast<const float*>(MutableData(gate_up)), num_rows, num_features, y, &threads);
  }

 private:
  const int num_threads_;
  const std::string what_;
};

}  // namespace

std::unique_ptr<Op> MakeGatedSiluOp(int num_threads) {
  const Parameter floats = {ElementType::kFloat32};
  return std::make_unique<Op>(
      "GatedSilu", std::vector<Parameter>{floats}, std::vector<Parameter>{floats}, InferHalf,
      [num_threads](const KernelInfo* info) { return std::make_unique<GatedSiluKernel>(num_threads, info); });
}

}  // namespace shardrun::ort
