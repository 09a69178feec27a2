#include "norm_ops.h"

#include <string>

#include "../kernels/norms.h"
#include "kernel_access.h"
#include "session_threads.h"
#include "shape_inference.h"

namespace shardrun::ort {

namespace {

class NormKernel : public Kernel {
 public:
  NormKernel(const char* op, int num_threads, const KernelInfo* info)
      : num_threads_(num_threads),
        what_(std::string(op) + " \"" + ReadNodeName(info) + "\""),
        epsilon_(ReadFloatAttribute(info, "epsilon")) {}

 protected:
  // Of input `index`, the weight, for rows like x.
  RmsNorm ReadNorm(const KernelContext* context, size_t index, const TypedShape& x) const {
    const Value* weight = Input(context, index);
    const TypedShape typed = ReadTypedShape(weight);
    if (x.shape.empty() || typed.shape.size() != 1 || typed.shape[0] != x.shape.back()) {
      throw Error(Error::Kind::kExecution, what_ + " expected a weight as long as its input's last axis, received " +
                                               Print(typed.shape) + " for " + Print(x.shape) + ".");
    }
    return {static_cast<const float*>(MutableData(weight)), static_cast<size_t>(typed.shape[0]), epsilon_};
  }
  void CheckSkip(const TypedShape& x, const TypedShape& skip) const {
    if (skip.shape == x.shape) return;
    throw Error(Error::Kind::kExecution, what_ + " expected two inputs of one shape, received " + Print(x.shape) +
                                             " and " + Print(skip.shape) + ".");
  }
  SessionThreads threads(const KernelContext* context) const { return {num_threads_, context}; }

 private:
  const int num_threads_;
  const std::string what_;
  const float epsilon_;
};

class RmsNormKernel : public NormKernel {
 public:
  RmsNormKernel(int num_threads, const KernelInfo* info) : NormKernel("RmsNorm", num_threads, info) {}

  void Compute(KernelContext* context) override {
    const Value* x = Input(context, 0);
    const TypedShape typed = ReadTypedShape(x);
    const RmsNorm norm = ReadNorm(context, 1, typed);
    auto* y = static_cast<float*>(Output(context, 0, typed.shape));
    SessionThreads pool = threads(context);
    Normalise(norm, static_cast<const float*>(MutableData(x)), typed.num_rows(), y, &pool);
  }
};

class AddRmsNormKernel : public NormKernel {
 public:
  AddRmsNormKernel(int num_threads, const KernelInfo* info) : NormKernel("AddRmsNorm", num_threads, info) {}

  void Compute(KernelContext* context) override {
    const Value* x = Input(context, 0);
    const Value* skip = Input(context, 1);
    const TypedShape typed = ReadTypedShape(x);
    CheckSkip(typed, ReadTypedShape(skip));
    const RmsNorm norm = ReadNorm(context, 2, typed);
    auto* y = static_cast<float*>(Output(context, 0, typed.shape));
    auto* sum = static_cast<float*>(Output(context, 1, typed.shape));
    SessionThreads pool = threads(context);
    AddAndNormalise(norm, static_cast<const float*>(MutableData(x)), static_cast<const float*>(MutableData(skip)),
                    typed.num_rows(), sum, y, &pool);
  }
};

}  // namespace

std::vector<std::unique_ptr<Op>> MakeNormOps(int num_threads) {
  const Parameter floats = {ElementType::kFloat32};
  std::vector<std::unique_ptr<Op>> ops;
  ops.push_back(std::make_unique<Op>(
      "RmsNorm", std::vector<Parameter>{floats, floats}, std::vector<Parameter>{floats}, InferSameShape,
      [num_threads](const KernelInfo* info) { return std::make_unique<RmsNormKernel>(num_threads, info); }));
  ops.push_back(std::make_unique<Op>(
      "AddRmsNorm", std::vector<Parameter>{floats, floats, floats}, std::vector<Parameter>{floats, floats},
      InferSameShape,
      [num_threads](const KernelInfo* info) { return std::make_unique<AddRmsNormKernel>(num_threads, info); }));
  return ops;
}

}  // namespace shardrun::ort
