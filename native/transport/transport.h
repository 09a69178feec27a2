// One step between ranks, the same for every kind of wire: each rank offers bytes, each takes its range of what the
// others offer.
//
// Every step is a full exchange of those that take part: no rank leaves it before all have entered it. That one wait is
// what makes double buffering safe without acknowledgements, and what finds ranks that are not in the same call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../common/deadline.h"
#include "frame.h"

namespace shardrun {

// [offset, offset + bytes) of what a rank offers.
struct Range {
  size_t offset = 0;
  size_t bytes = 0;
};

// What this rank takes from one peer.
struct Intake {
  static constexpr size_t kAnySize = SIZE_MAX;  // whatever the peer offers

  Range range;                    // of the peer's offer
  void* into = nullptr;           // where the bytes shall lie; nullptr: where the transport has them, see `view`
  const uint8_t* view = nullptr;  // out: where they lie, until the next step
  bool arrived = true;            // false while a message is awaited
};

// One step, as seen from one rank. Its own entries in `gives` and `takes` are ignored.
struct Step {
  Frame frame;               // `bytes` is filled in by the transport
  bool within_host = false;  // only the ranks of this host take part; the transport shares memory
  const void* offer = nullptr;
  size_t offer_bytes = 0;
  std::vector<Range> gives;   // [worldSize], the range of `offer` that each peer takes
  std::vector<Intake> takes;  // [worldSize]
};

class Mesh;

class Transport {
 public:
  virtual ~Transport() = default;

  virtual const char* name() const = 0;
  // Whether the ranks of a host share memory, so that steps within_host are possible.
  virtual bool shares_memory() const { return true; }
  // The channels to the other ranks, for steps with those that share no memory with this one and that may overlap;
  // nullptr where all do.
  virtual Mesh* network() { return nullptr; }
  // Up to so many bytes two ranks reduce fastest in one step, in which each reduces all of them, rather than in two, in
  // which each reduces half and takes the other half from its peer.
  virtual size_t pair_bytes() const { return SIZE_MAX; }
  // The largest offer of one step, as far as ranks of the same host take it.
  virtual size_t step_bytes() const = 0;
  // All of these throw Failure, and none may be called again after one has.
  virtual void Exchange(Step& step, const Deadline& deadline) = 0;
  virtual void Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) = 0;
  virtual void Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) = 0;
  // Tells the peers that this rank has given up, and why. Never blocks.
  virtual void TellFailure(const Frame& frame, const std::string& text) = 0;
};

}  // namespace shardrun
