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

#include "collective_kernels.h"
#include "runtime.h"

namespace shardrun::ort {

// The domain for a session's options. It must outlive the session, and so must `state`.
class CollectiveOps {
 public:
  explicit CollectiveOps(CollectiveState* state);
  ~CollectiveOps();
  CustomOpDomain* domain() const { return domain_.get(); }

 private:
  struct Op;
  std::unique_ptr<Op> all_reduce_;
  std::unique_ptr<Op> all_gather_;
  OwnedDomain domain_;
};

}  // namespace shardrun::ort
