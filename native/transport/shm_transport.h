// Steps through shared memory: every rank writes its offer into its own slot once, the others read it from there.
// Cost of a step: one copy in, one wait, and the readers' loads. Between two ranks only, bytes go over their unix
// socket, which is also how the end of a peer is noticed.
#pragma once

#include <memory>
#include <string>

#include "mesh.h"
#include "shm_segment.h"
#include "transport.h"

namespace shardrun {

class ShmTransport final : public Transport {
 public:
  ShmTransport(int rank, ShmSegment segment, Mesh mesh, bool keep_core);
  ~ShmTransport() override;

  const char* name() const override { return "shm"; }
  size_t step_bytes() const override { return ShmSegment::kSlotBytes; }
  void Exchange(Step& step, const Deadline& deadline) override;
  void Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) override;
  void Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) override;
  void TellFailure(const Frame& frame, const std::string& text) override;

 private:
  void Publish(const Step& step);
  void WaitForPosts(uint64_t sequence, const Deadline& deadline);
  bool Posted(int peer, uint64_t sequence);
  bool AllPosted(uint64_t sequence);
  void Take(Step& step, int peer);
  void CheckPeers(uint64_t sequence);
  void Ring(int rank);

  int rank_;
  bool keep_core_;
  ShmSegment segment_;
  Mesh mesh_;
  int next_missing_ = 0;  // all peers before it have posted the step under way
};

}  // namespace shardrun
