// Steps through shared memory: every rank writes its offer into its own slot once, the others read it from there.
// Cost of a step: one copy in, one wait, and the readers' loads. Between two ranks only, bytes go over their unix
// socket, which is also how the end of a peer is noticed.
//
// In a group of several hosts each host has such memory of its own, and ranks of different hosts exchange messages over
// TCP in the same step.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mesh.h"
#include "shm_segment.h"
#include "transport.h"

namespace shardrun {

class ShmTransport final : public Transport {
 public:
  // host_ranks: this rank and those that share its memory, in rank order; `segment` has a part for each.
  ShmTransport(int rank, std::vector<int> host_ranks, ShmSegment segment, Mesh mesh, bool keep_core);
  ~ShmTransport() override;

  const char* name() const override { return spans_hosts() ? "shm+tcp" : "shm"; }
  Mesh* network() override { return spans_hosts() ? &mesh_ : nullptr; }
  size_t step_bytes() const override { return ShmSegment::kSlotBytes; }
  void Exchange(Step& step, const Deadline& deadline) override;
  void Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) override;
  void Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) override;
  void TellFailure(const Frame& frame, const std::string& text) override;

 private:
  bool spans_hosts() const { return num_places_ < mesh_.world_size(); }
  bool OnThisHost(int peer) const;
  void BeginWithOtherHosts(Step& step);
  void Publish(const Step& step);
  void WaitForPosts(const Deadline& deadline);
  bool Posted(int place);
  bool AllPosted();
  void Take(Step& step, int place);
  void CheckPeers();
  void RingOthers(bool sleepers_only);
  void Ring(int place);

  // A place is an index of host_ranks_, and of the parts of the segment.
  const std::vector<int> host_ranks_;
  const int num_places_;
  const int own_place_;
  bool keep_core_;
  ShmSegment segment_;
  Mesh mesh_;
  uint64_t num_posts_ = 0;  // what each rank of this host has posted when all are in the step under way
  int next_missing_ = 0;    // all places before it have
};

}  // namespace shardrun
