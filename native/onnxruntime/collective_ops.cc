#include "collective_ops.h"

#include "shape_inference.h"

namespace shardrun::ort {

namespace {

// Both ops have the same inputs and outputs: the tensor, of any type, and the token.
const std::vector<Parameter> kTensorAndToken = {{}, {ElementType::kInt32, Arity::kOptional}};

}  // namespace

std::vector<std::unique_ptr<Op>> MakeCollectiveOps(CollectiveState* state) {
  std::vector<std::unique_ptr<Op>> ops;
  ops.push_back(std::make_unique<Op>("AllReduce", kTensorAndToken, kTensorAndToken, InferSameShape,
                                     [state](const KernelInfo* info) { return MakeAllReduceKernel(state, info); }));
  ops.back()->AllowInPlace();
  ops.push_back(std::make_unique<Op>("AllGather", kTensorAndToken, kTensorAndToken, InferSameNdim,
                                     [state](const KernelInfo* info) { return MakeAllGatherKernel(state, info); }));
  return ops;
}

}  // namespace shardrun::ort
