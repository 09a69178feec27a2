// The channels from this rank to all its peers, and the loop that moves messages over all of them at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../common/abort_flag.h"
#include "../common/deadline.h"
#include "channel.h"

namespace shardrun {

class Mesh {
 public:
  // sockets: [worldSize], empty at this rank. `keep_core`: whether every rank on this host has a core of its own.
  Mesh(std::vector<FileDescriptor> sockets, std::shared_ptr<AbortFlag> abort, bool keep_core);

  int world_size() const { return static_cast<int>(channels_.size()); }
  bool has_peer(int rank) const { return channels_[rank].fd() >= 0; }
  Channel& channel(int rank) { return channels_[rank]; }
  AbortFlag& abort() { return *abort_; }

  // Begins what a step has to send to, and to receive from, one peer. `step` must stay until that has arrived, and what
  // it offers until it has gone. Other steps may have begun before.
  void Begin(Step& step, int peer);
  // Moves on what has begun as far as the sockets allow.
  void Progress();
  // Returns when all that the step takes has arrived. Throws Failure.
  void Await(const Step& step, const Deadline& deadline);
  // Returns when every message begun on any channel has gone or come. Throws Failure.
  void Finish(const Deadline& deadline);
  // Whether there is such a message.
  bool busy() const;
  // Throws Failure if this peer, from which nothing is awaited, has given up, or left without taking what is sent.
  void CheckIdlePeer(int peer);
  // One message of frame.bytes to, or from, one peer.
  void Send(int peer, const Frame& frame, const void* data, const Deadline& deadline);
  void Receive(int peer, const Frame& frame, void* data, const Deadline& deadline);
  void TellFailure(const Frame& frame, const std::string& text);

 private:
  template <typename Done>
  void WaitUntil(const Deadline& deadline, Done&& done);
  void WaitForSockets(const Deadline& deadline);
  [[noreturn]] void ThrowTimeout();

  std::vector<Channel> channels_;
  std::shared_ptr<AbortFlag> abort_;
  bool keep_core_;
};

}  // namespace shardrun
