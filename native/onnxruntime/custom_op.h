// A custom op of domain "shardrun" as onnxruntime sees it, and the domain that a session gets. What an op computes is
// its Kernel, one object per node and session.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "runtime.h"

namespace shardrun::ort {

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void Compute(KernelContext* context) = 0;
};

struct Parameter {
  ElementType type = ElementType::kUndefined;  // kUndefined: any
  Arity arity = Arity::kRequired;
};

struct Op : CustomOp {
  // May throw Error(kExecution) for attributes that make no sense.
  using MakeKernel = std::function<std::unique_ptr<Kernel>(const KernelInfo*)>;
  using InferShape = Status* (*)(const CustomOp*, ShapeInferContext*);

  Op(const char* name, std::vector<Parameter> inputs, std::vector<Parameter> outputs, InferShape infer_shape,
     MakeKernel make_kernel);
  // The planner may put output 0 where input 0 is.
  void AllowInPlace();

  const char* const name;
  const std::vector<Parameter> inputs;
  const std::vector<Parameter> outputs;
  const MakeKernel make_kernel;
  std::exception_ptr* failure = nullptr;  // set by OpDomain
};

// The domain for a session's options. It must outlive the session.
class OpDomain {
 public:
  explicit OpDomain(std::vector<std::unique_ptr<Op>> ops);
  OpDomain(const OpDomain&) = delete;
  OpDomain& operator=(const OpDomain&) = delete;

  CustomOpDomain* domain() const { return domain_.get(); }
  // What a node threw: onnxruntime carries only its message.
  std::exception_ptr failure;

 private:
  std::vector<std::unique_ptr<Op>> ops_;
  OwnedDomain domain_;
};

}  // namespace shardrun::ort
