#include "shm_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../common/futex.h"
#include "../common/spin.h"
#include "failure.h"

namespace shardrun {

ShmTransport::ShmTransport(int rank, std::vector<int> host_ranks, ShmSegment segment, Mesh mesh, bool keep_core)
    : host_ranks_(std::move(host_ranks)),
      num_places_(static_cast<int>(host_ranks_.size())),
      own_place_(static_cast<int>(std::find(host_ranks_.begin(), host_ranks_.end(), rank) - host_ranks_.begin())),
      keep_core_(keep_core),
      segment_(std::move(segment)),
      mesh_(std::move(mesh)) {
  mesh_.abort().OnRaise([this] { Ring(own_place_); });
}

ShmTransport::~ShmTransport() { mesh_.abort().OnRaise(nullptr); }

// A slot is free again two steps later without anyone saying so: that a peer has posted step n-1 means that it has left
// step n-2, and no rank leaves step n-1 before all have posted it.
void ShmTransport::Exchange(Step& step, const Deadline& deadline) {
  if (spans_hosts() && !step.within_host) BeginWithOtherHosts(step);
  Publish(step);
  WaitForPosts(deadline);
  for (int place = 0; place < num_places_; ++place) {
    if (place != own_place_) Take(step, place);
  }
  if (spans_hosts() && !step.within_host) mesh_.Finish(deadline);
}

bool ShmTransport::OnThisHost(int peer) const {
  return std::binary_search(host_ranks_.begin(), host_ranks_.end(), peer);
}

// Short messages are on their way before this rank waits for those of its host.
void ShmTransport::BeginWithOtherHosts(Step& step) {
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (!OnThisHost(peer)) mesh_.Begin(step, peer);
  }
  mesh_.Progress();
}

// Storing the post's number before looking for sleepers, while a sleeper says so before it looks at the number: one of
// the two sees the other, so no wake-up is lost.
void ShmTransport::Publish(const Step& step) {
  ++num_posts_;
  const bool taken_here = std::any_of(host_ranks_.begin(), host_ranks_.end(), [&](int peer) {
    return peer != host_ranks_[own_place_] && step.gives[peer].bytes > 0;
  });
  const size_t bytes = taken_here ? step.offer_bytes : 0;
  if (bytes > 0) memcpy(segment_.slot(own_place_, num_posts_), step.offer, bytes);
  Post& post = segment_.post(own_place_, num_posts_);
  post.frame = step.frame;
  post.frame.bytes = bytes;
  post.number.store(num_posts_, std::memory_order_seq_cst);
  RingOthers(true);
}

void ShmTransport::WaitForPosts(const Deadline& deadline) {
  // How often the sockets are looked at: for peers that have gone, and to move on messages of other hosts.
  constexpr int kGlanceMs = 50;
  constexpr int kBusyGlanceMs = 1;
  next_missing_ = 0;
  if (SpinUntil(keep_core_, [&] { return AllPosted(); })) return;
  Doorbell& doorbell = segment_.doorbell(own_place_);
  while (true) {
    const uint32_t rings = doorbell.rings.load(std::memory_order_seq_cst);
    doorbell.sleeping.store(1, std::memory_order_seq_cst);
    if (AllPosted()) break;
    if (mesh_.abort().raised()) throw Failure(Failure::Reason::kAborted);
    CheckPeers();
    if (deadline.Passed()) {
      Failure failure(Failure::Reason::kTimeout);
      for (int place = 0; place < num_places_; ++place) {
        if (!Posted(place)) failure.waits.push_back({host_ranks_[place], false, 0, 0});
      }
      throw failure;
    }
    FutexWait(doorbell.rings, rings, deadline.WaitMs(mesh_.busy() ? kBusyGlanceMs : kGlanceMs));
  }
  doorbell.sleeping.store(0, std::memory_order_relaxed);
}

bool ShmTransport::Posted(int place) {
  return place == own_place_ || segment_.post(place, num_posts_).number.load(std::memory_order_seq_cst) >= num_posts_;
}

bool ShmTransport::AllPosted() {
  while (next_missing_ < num_places_ && Posted(next_missing_)) ++next_missing_;
  return next_missing_ == num_places_;
}

// A peer that posted and then left has done its part; one that posted and then gave up ends this call, too, unless all
// have posted meanwhile: then the step is complete, and what is in it counts.
void ShmTransport::CheckPeers() {
  for (int place = 0; place < num_places_; ++place) {
    if (place == own_place_) continue;
    try {
      mesh_.channel(host_ranks_[place]).CheckPeer();
    } catch (const Failure& failure) {
      if (AllPosted()) return;
      if (failure.reason != Failure::Reason::kLost || !Posted(place)) throw;
    }
  }
  mesh_.Progress();
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (!OnThisHost(peer) && !mesh_.channel(peer).receiving()) mesh_.CheckIdlePeer(peer);
  }
}

void ShmTransport::Take(Step& step, int place) {
  const int peer = host_ranks_[place];
  const Post& post = segment_.post(place, num_posts_);
  Intake& intake = step.takes[peer];
  if (intake.range.bytes == Intake::kAnySize) intake.range.bytes = post.frame.bytes;
  const bool fits = intake.range.bytes == 0 || intake.range.offset + intake.range.bytes <= post.frame.bytes;
  if (!post.frame.SameCall(step.frame) || !fits || post.frame.bytes > ShmSegment::kSlotBytes) {
    Failure failure(Failure::Reason::kMismatch, {{peer, false, 0, 0}});
    failure.ours = step.frame;
    failure.theirs = post.frame;
    throw failure;
  }
  intake.view = segment_.slot(place, num_posts_) + intake.range.offset;
  if (intake.into != nullptr) {
    memcpy(intake.into, intake.view, intake.range.bytes);
    intake.view = static_cast<const uint8_t*>(intake.into);
  }
}

void ShmTransport::RingOthers(bool sleepers_only) {
  for (int place = 0; place < num_places_; ++place) {
    if (place == own_place_) continue;
    if (!sleepers_only || segment_.doorbell(place).sleeping.load(std::memory_order_seq_cst) != 0) Ring(place);
  }
}

void ShmTransport::Ring(int place) {
  Doorbell& doorbell = segment_.doorbell(place);
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
  RingOthers(false);
}

}  // namespace shardrun
