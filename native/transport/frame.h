// What stands before every message on a wire and beside every slot in shared memory: who speaks, in which call, of
// what. Peers compare it with what they are doing themselves, so that calls that do not belong together end in an
// error.
#pragma once

#include <cstdint>
#include <cstring>

#include "../common/types.h"

namespace shardrun {

enum class Op : uint8_t {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kBroadcastMessage,
  kBarrier,
  kSend,
  kFailure,  // the sender gave up; the payload says why
};

struct Frame {
  static constexpr uint32_t kMagic = 0x52445348;  // "HSDR"

  uint32_t magic = kMagic;
  uint32_t epoch = 0;
  uint32_t communicator = 0;
  Op op = Op::kBarrier;
  DataType type = DataType::kUInt8;
  ReduceOp reduce = ReduceOp::kSum;
  uint8_t reserved = 0;
  int32_t root = -1;        // broadcast: its root; failure: the rank where it began
  uint32_t layout = 0;      // a hash of the sizes per rank, where these may differ
  uint64_t sequence = 0;    // steps of this communicator; messages from one rank to another are counted on their own
  uint64_t call_bytes = 0;  // of the whole call
  uint64_t bytes = 0;       // that follow this frame
  char label[40] = {};      // what is being exchanged, cut to fit

  void SetLabel(const char* text) { strncpy(label, text, sizeof(label) - 1); }

  // Whether two ranks are at the same step of the same call. Receivers of a broadcast message do not know its size.
  bool SameCall(const Frame& other) const {
    return magic == other.magic && epoch == other.epoch && communicator == other.communicator && op == other.op &&
           type == other.type && reduce == other.reduce && root == other.root && layout == other.layout &&
           sequence == other.sequence && (call_bytes == other.call_bytes || op == Op::kBroadcastMessage);
  }
};
static_assert(sizeof(Frame) == 88, "frames travel as they lie in memory");

}  // namespace shardrun
