// How an exchange with peers can fail, as data; collectives/failure_text.h puts it into words.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "frame.h"

namespace shardrun {

struct Failure : std::exception {
  enum class Reason {
    kTimeout,     // the deadline passed; `waits` says for whom
    kLost,        // the connection to waits[0].peer ended
    kSilent,      // the network has brought nothing from the machine of waits[0].peer for `silence_ms`
    kMismatch,    // waits[0].peer is in another call: `theirs` where this rank has `ours`
    kPeerFailed,  // waits[0].peer gave up with `text`, which began on rank `origin`
    kAborted,     // by this process
  };
  struct Wait {
    int peer;
    bool sending;         // the peer does not take, rather than not give
    uint64_t done_bytes;  // of total_bytes
    uint64_t total_bytes;
  };

  explicit Failure(Reason reason, std::vector<Wait> waits = {}) : reason(reason), waits(std::move(waits)) {}
  const char* what() const noexcept override { return "an exchange with a peer failed"; }

  Reason reason;
  std::vector<Wait> waits;
  Frame ours;
  Frame theirs;
  std::string text;
  int origin = -1;
  uint32_t silence_ms = 0;
};

}  // namespace shardrun
