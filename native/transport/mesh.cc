#include "mesh.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "../common/spin.h"
#include "failure.h"

namespace shardrun {

Mesh::Mesh(std::vector<FileDescriptor> sockets, std::shared_ptr<AbortFlag> abort, bool keep_core)
    : abort_(std::move(abort)), keep_core_(keep_core) {
  for (size_t rank = 0; rank < sockets.size(); ++rank) {
    channels_.emplace_back(static_cast<int>(rank), std::move(sockets[rank]));
  }
}

void Mesh::Begin(Step& step, int peer) {
  const Range& give = step.gives[peer];
  step.frame.bytes = give.bytes;
  channels_[peer].BeginReceive(step.frame, &step.takes[peer]);
  channels_[peer].BeginSend(step.frame, static_cast<const uint8_t*>(step.offer) + give.offset);
}

void Mesh::Await(const Step& step, const Deadline& deadline) {
  WaitUntil(deadline, [&] {
    return std::all_of(step.takes.begin(), step.takes.end(), [](const Intake& take) { return take.arrived; });
  });
}

void Mesh::Finish(const Deadline& deadline) {
  WaitUntil(deadline, [this] { return !busy(); });
}

bool Mesh::busy() const {
  return std::any_of(channels_.begin(), channels_.end(),
                     [](const Channel& channel) { return channel.sending() || channel.receiving(); });
}

template <typename Done>
void Mesh::WaitUntil(const Deadline& deadline, Done&& done) {
  const auto look = [&] {
    Progress();
    return done();
  };
  while (!SpinUntil(keep_core_, look)) {
    WaitForSockets(deadline);
    if (abort_->raised()) throw Failure(Failure::Reason::kAborted);
    if (deadline.Passed() && !look()) ThrowTimeout();
  }
}

// What goes out is on its way to all before this rank sees to what has come.
void Mesh::Progress() {
  for (Channel& channel : channels_) channel.ProgressSend();
  for (Channel& channel : channels_) channel.ProgressReceive();
}

// Channels that are to receive show by themselves when their peer gives up or leaves. The others are looked at now and
// then: they cannot be polled for it, as the peer's next message may be there already, which is none of this call's
// business.
void Mesh::WaitForSockets(const Deadline& deadline) {
  constexpr int kNetworkGlanceMs = 250;
  constexpr int kGlanceMs = 50;
  std::vector<pollfd> fds{{abort_->fd(), POLLIN, 0}};
  int longest_ms = kNetworkGlanceMs;
  for (Channel& channel : channels_) {
    if (!has_peer(channel.peer())) continue;
    if (!channel.receiving()) {
      CheckIdlePeer(channel.peer());
      longest_ms = kGlanceMs;
    }
    const int events = (channel.receiving() ? POLLIN : 0) | (channel.sending() ? POLLOUT : 0);
    if (events != 0) fds.push_back({channel.fd(), static_cast<short>(events), 0});
  }
  if (poll(fds.data(), fds.size(), deadline.WaitMs(longest_ms)) != 0) return;
  for (const Channel& channel : channels_) {
    if (channel.receiving() || channel.sending()) channel.CheckNetwork();
  }
}

// A peer that has given and taken all of this step may leave; that it gave up ends this call, too.
void Mesh::CheckIdlePeer(int peer) {
  Channel& channel = channels_[peer];
  try {
    channel.CheckPeer();
  } catch (const Failure& failure) {
    if (failure.reason != Failure::Reason::kLost || channel.sending()) throw;
  }
}

void Mesh::Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) {
  channels_[peer].BeginSend(frame, data);
  Finish(deadline);
}

void Mesh::Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) {
  Intake intake{{0, frame.bytes}, data};
  channels_[peer].BeginReceive(frame, &intake);
  Finish(deadline);
}

void Mesh::TellFailure(const Frame& frame, const std::string& text) {
  for (Channel& channel : channels_) {
    if (has_peer(channel.peer())) channel.TellFailure(frame, text);
  }
}

void Mesh::ThrowTimeout() {
  Failure failure(Failure::Reason::kTimeout);
  for (const Channel& channel : channels_) {
    if (channel.receiving()) {
      failure.waits.push_back({channel.peer(), false, channel.received_bytes(), 0});
    } else if (channel.sending()) {
      failure.waits.push_back({channel.peer(), true, channel.sent_bytes(), channel.send_bytes()});
    }
  }
  throw failure;
}

}  // namespace shardrun
