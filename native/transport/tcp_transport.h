// Steps over stream sockets: every rank sends to each peer the range that it takes, and receives from all at once.
// Works between hosts. Cost of a step: one message to and from each peer, all under way together.
#pragma once

#include <memory>
#include <string>

#include "mesh.h"
#include "transport.h"

namespace shardrun {

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(Mesh mesh) : mesh_(std::move(mesh)) {}

  const char* name() const override { return "tcp"; }
  // Short enough that what was received is still in the cache when it is reduced, and long enough that a step takes
  // many times the latency of a network.
  size_t step_bytes() const override { return 1 << 20; }
  void Exchange(Step& step, const Deadline& deadline) override;
  void Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) override;
  void Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) override;
  void TellFailure(const Frame& frame, const std::string& text) override { mesh_.TellFailure(frame, text); }

 private:
  Mesh mesh_;
};

}  // namespace shardrun
