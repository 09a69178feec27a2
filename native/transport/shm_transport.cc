#include "shm_transport.h"

#include <cstring>
#include <utility>

#include "../common/futex.h"
#include "../common/spin.h"
#include "failure.h"

namespace shardrun {

ShmTransport::ShmTransport(int rank, ShmSegment segment, Mesh mesh, bool keep_core)
    : rank_(rank), keep_core_(keep_core), segment_(std::move(segment)), mesh_(std::move(mesh)) {
  mesh_.abort().OnRaise([this] { Ring(rank_); });
}

ShmTransport::~ShmTransport() { mesh_.abort().OnRaise(nullptr); }

// A slot is free again two steps later without anyone saying so: that a peer has posted step n-1 means that it has left
// step n-2, and no rank leaves step n-1 before all have posted it.
void ShmTransport::Exchange(Step& step, const Deadline& deadline) {
  Publish(step);
  WaitForPosts(step.frame.sequence, deadline);
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (peer != rank_) Take(step, peer);
  }
}

// Storing the sequence before looking for sleepers, while a sleeper says so before it looks at the sequence: one of the
// two sees the other, so no wake-up is lost.
void ShmTransport::Publish(const Step& step) {
  const uint64_t sequence = step.frame.sequence;
  if (step.offer_bytes > 0) memcpy(segment_.slot(rank_, sequence), step.offer, step.offer_bytes);
  Post& post = segment_.post(rank_, sequence);
  post.frame = step.frame;
  post.frame.bytes = step.offer_bytes;
  post.sequence.store(sequence, std::memory_order_seq_cst);
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (peer != rank_ && segment_.doorbell(peer).sleeping.load(std::memory_order_seq_cst) != 0) Ring(peer);
  }
}

void ShmTransport::WaitForPosts(uint64_t sequence, const Deadline& deadline) {
  constexpr int kGlanceMs = 50;  // how often the sockets are looked at for peers that have gone
  next_missing_ = 0;
  if (SpinUntil(keep_core_, [&] { return AllPosted(sequence); })) return;
  Doorbell& doorbell = segment_.doorbell(rank_);
  while (true) {
    const uint32_t rings = doorbell.rings.load(std::memory_order_seq_cst);
    doorbell.sleeping.store(1, std::memory_order_seq_cst);
    if (AllPosted(sequence)) break;
    if (mesh_.abort().raised()) throw Failure(Failure::Reason::kAborted);
    CheckPeers(sequence);
    if (deadline.Passed()) {
      Failure failure(Failure::Reason::kTimeout);
      for (int peer = 0; peer < mesh_.world_size(); ++peer) {
        if (!Posted(peer, sequence)) failure.waits.push_back({peer, false, 0, 0});
      }
      throw failure;
    }
    FutexWait(doorbell.rings, rings, deadline.WaitMs(kGlanceMs));
  }
  doorbell.sleeping.store(0, std::memory_order_relaxed);
}

bool ShmTransport::Posted(int peer, uint64_t sequence) {
  return peer == rank_ || segment_.post(peer, sequence).sequence.load(std::memory_order_seq_cst) >= sequence;
}

bool ShmTransport::AllPosted(uint64_t sequence) {
  while (next_missing_ < mesh_.world_size() && Posted(next_missing_, sequence)) ++next_missing_;
  return next_missing_ == mesh_.world_size();
}

// A peer that posted and then left has done its part; one that posted and then gave up ends this call, too, unless all
// have posted meanwhile: then the step is complete, and what is in it counts.
void ShmTransport::CheckPeers(uint64_t sequence) {
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (peer == rank_) continue;
    try {
      mesh_.channel(peer).CheckPeer();
    } catch (const Failure& failure) {
      if (AllPosted(sequence)) return;
      if (failure.reason != Failure::Reason::kLost || !Posted(peer, sequence)) throw;
    }
  }
}

void ShmTransport::Take(Step& step, int peer) {
  const Post& post = segment_.post(peer, step.frame.sequence);
  Intake& intake = step.takes[peer];
  if (intake.range.bytes == Intake::kAnySize) intake.range.bytes = post.frame.bytes;
  if (!post.frame.SameCall(step.frame) || intake.range.offset + intake.range.bytes > post.frame.bytes ||
      post.frame.bytes > ShmSegment::kSlotBytes) {
    Failure failure(Failure::Reason::kMismatch, {{peer, false, 0, 0}});
    failure.ours = step.frame;
    failure.theirs = post.frame;
    throw failure;
  }
  intake.view = segment_.slot(peer, step.frame.sequence) + intake.range.offset;
  if (intake.into != nullptr) {
    memcpy(intake.into, intake.view, intake.range.bytes);
    intake.view = static_cast<const uint8_t*>(intake.into);
  }
}

void ShmTransport::Ring(int rank) {
  Doorbell& doorbell = segment_.doorbell(rank);
  doorbell.rings.fetch_add(1, std::memory_order_seq_cst);
  FutexWakeAll(doorbell.rings);
}

void ShmTransport::Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) {
  mesh_.Send(peer, frame, data, deadline);
}

void ShmTransport::Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) {
  mesh_.Receive(peer, frame, data, deadline);
}

void ShmTransport::TellFailure(const Frame& frame, const std::string& text) {
  mesh_.TellFailure(frame, text);
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (peer != rank_) Ring(peer);
  }
}

}  // namespace shardrun
