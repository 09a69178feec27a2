// A group of ranks that run the same collectives in the same order.
//
// All calls block the calling thread, never longer than the deadline, and end early when the communicator is aborted or
// a peer goes away; they throw Error(kCollective). One thread at a time may call. Sums are taken in rank order, so
// every rank gets the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../common/types.h"

namespace shardrun {

// What a call tells about itself in errors, and how long it may take.
struct CallInfo {
  const char* label = "";   // the tensor or node, e.g. "layers.3.o_proj"
  int64_t timeout_ms = -1;  // -1: the communicator's default, 0: no deadline (abort and loss of a peer still end it)
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // data: [count], in place.
  virtual void AllReduce(void* data, size_t count, DataType type, ReduceOp op, const CallInfo& info) = 0;
  // input: bytes_per_rank[rank] bytes; output: the concatenation over ranks in rank order. Sizes may differ per rank
  // and may be 0.
  virtual void AllGather(const void* input, void* output, const std::vector<size_t>& bytes_per_rank,
                         const CallInfo& info) = 0;
  // input: [sum of counts]; output: [counts[rank]], reduced over ranks.
  virtual void ReduceScatter(const void* input, void* output, const std::vector<size_t>& counts, DataType type,
                             ReduceOp op, const CallInfo& info) = 0;
  // In place on every rank; all ranks know `bytes`.
  virtual void Broadcast(void* data, size_t bytes, int root, const CallInfo& info) = 0;
  // The receivers do not know the size beforehand: `message` is read on root and replaced elsewhere.
  virtual void BroadcastMessage(std::vector<uint8_t>* message, int root, const CallInfo& info) = 0;
  virtual void Barrier(const CallInfo& info) = 0;
  virtual void Send(const void* data, size_t bytes, int peer, const CallInfo& info) = 0;
  virtual void Recv(void* data, size_t bytes, int peer, const CallInfo& info) = 0;

  // From any thread: every call under way and every later one fails with `message`.
  virtual void Abort(const std::string& message, int peer) = 0;

  // How many calls have succeeded since creation, the bytes they were about, and the time spent inside them.
  struct Statistics {
    uint64_t calls = 0;
    uint64_t bytes = 0;
    uint64_t nanoseconds = 0;
  };
  virtual Statistics statistics() const = 0;
};

}  // namespace shardrun
