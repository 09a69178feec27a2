// The custom ops of domain "shardrun", version 1, by which a graph talks to the other ranks:
//
//   AllReduce(X, token?) -> (Y, token?)   Y: X's shape, reduced over the ranks
//     attributes: op "sum" | "max", label
//   AllGather(X, token?) -> (Y, token?)   Y: the ranks' X joined along `axis`
//     attributes: axis, sizes (of that axis, per rank; may be 0), label
//
// A token (int32 [1], its value means nothing) chains the collectives of a graph, so that every rank runs them in the
// same order. AllReduce works in place where onnxruntime's planner allows.
#pragma once

#include <memory>
#include <vector>

#include "collective_kernels.h"
#include "custom_op.h"

namespace shardrun::ort {

// `state` must outlive them.
std::vector<std::unique_ptr<Op>> MakeCollectiveOps(CollectiveState* state);

}  // namespace shardrun::ort
