// What the collective nodes of a graph do when they run: AllReduceKernel and AllGatherKernel, one object per node and
// session. How onnxruntime learns of them is in collective_ops.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../collectives/communicator.h"
#include "custom_op.h"

namespace shardrun::ort {

// What the kernels of one session share. One run at a time uses it.
struct CollectiveState {
  Communicator* communicator;
  uint64_t nanoseconds = 0;            // spent in collectives since the run began
  std::vector<uint8_t> gathered = {};  // scratch of AllGather
};

class CollectiveKernel : public Kernel {
 public:
  CollectiveKernel(CollectiveState* state, const KernelInfo* info);

  // Communicates, writes the token, and adds the time to the state's.
  void Compute(KernelContext* context) override;

 protected:
  virtual void Communicate(KernelContext* context) = 0;
  CollectiveState& state() { return state_; }
  Communicator& communicator() { return *state_.communicator; }
  const std::string& label() const { return label_; }
  CallInfo call_info() const { return {label_.c_str()}; }

 private:
  CollectiveState& state_;
  const std::string label_;
};

// Both throw Error(kExecution) for attributes that make no sense in this world.
std::unique_ptr<Kernel> MakeAllReduceKernel(CollectiveState* state, const KernelInfo* info);
std::unique_ptr<Kernel> MakeAllGatherKernel(CollectiveState* state, const KernelInfo* info);

}  // namespace shardrun::ort
