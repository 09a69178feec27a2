#include "channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "failure.h"

namespace shardrun {

namespace {

constexpr size_t kLongestFailureText = 4096;
// The kernel asks an idle peer for a sign of life after the first, and so often.
constexpr int kKeepAliveSeconds = 1;
constexpr uint32_t kLongestSilenceMs = 1800;

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Channel::Channel(int peer, FileDescriptor socket) : peer_(peer), socket_(std::move(socket)) {
  const int on = 1;
  crosses_network_ =
      setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0;  // or it is a unix socket
  if (!crosses_network_) return;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveSeconds, sizeof(kKeepAliveSeconds));
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveSeconds, sizeof(kKeepAliveSeconds));
  setsockopt(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void Channel::BeginSend(const Frame& frame, const void* data) {
  send_frame_ = frame;
  send_data_ = static_cast<const uint8_t*>(data);
  sent_ = 0;
  send_total_ = sizeof(Frame) + frame.bytes;
}

void Channel::BeginReceive(const Frame& expected, Intake* intake) {
  expected_ = expected;
  intake_ = intake;
  received_ = 0;
}

uint64_t Channel::sent_bytes() const { return sent_ - std::min(sent_, sizeof(Frame)); }
uint64_t Channel::received_bytes() const { return received_ - std::min(received_, sizeof(Frame)); }

void Channel::Progress() {
  if (sending()) ProgressSend();
  if (receiving()) ProgressReceive();
}

void Channel::ProgressSend() {
  while (sending()) {
    iovec parts[2];
    int num_parts = 0;
    if (sent_ < sizeof(Frame)) {
      parts[num_parts++] = {reinterpret_cast<uint8_t*>(&send_frame_) + sent_, sizeof(Frame) - sent_};
    }
    if (send_frame_.bytes > 0) {
      parts[num_parts++] = {const_cast<uint8_t*>(send_data_) + sent_bytes(), send_frame_.bytes - sent_bytes()};
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = num_parts;
    const ssize_t written = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written < 0) {
      if (WouldBlock()) return;
      CheckPeer();  // why it hung up, if it said so
      ThrowLost();
    }
    sent_ += written;
  }
}

void Channel::ProgressReceive() {
  while (receiving()) {
    if (received_ < sizeof(Frame)) {
      const size_t count =
          ReadSome(reinterpret_cast<uint8_t*>(&received_frame_) + received_, sizeof(Frame) - received_);
      if (count == 0) return;
      received_ += count;
      if (received_ == sizeof(Frame)) CheckFrame();
      continue;
    }
    const size_t missing = received_frame_.bytes - received_bytes();
    if (missing == 0) {
      intake_->view = receive_data_;
      intake_ = nullptr;
      return;
    }
    const size_t count = ReadSome(receive_data_ + received_bytes(), missing);
    if (count == 0) return;
    received_ += count;
  }
}

size_t Channel::ReadSome(void* into, size_t bytes) {
  const ssize_t count = recv(socket_.get(), into, bytes, MSG_DONTWAIT);
  if (count > 0) return count;
  if (count < 0 && WouldBlock()) return 0;
  ThrowLost();
}

// The frame has arrived whole: does it belong to this call, and where shall its data go?
void Channel::CheckFrame() {
  if (received_frame_.magic == Frame::kMagic && received_frame_.op == Op::kFailure) ThrowPeerFailed();
  Range& range = intake_->range;
  if (range.bytes == Intake::kAnySize) {
    range.bytes = received_frame_.bytes;
  }
  if (!received_frame_.SameCall(expected_) || received_frame_.bytes != range.bytes) {
    Failure failure(Failure::Reason::kMismatch, {{peer_, false, 0, 0}});
    failure.ours = expected_;
    failure.theirs = received_frame_;
    throw failure;
  }
  if (intake_->into == nullptr && buffer_.size() < range.bytes) buffer_.resize(range.bytes);
  receive_data_ = intake_->into == nullptr ? buffer_.data() : static_cast<uint8_t*>(intake_->into);
}

void Channel::CheckPeer() {
  pollfd state{socket_.get(), POLLIN | POLLRDHUP, 0};
  if (poll(&state, 1, 0) <= 0) return;
  if ((state.revents & POLLIN) != 0) {
    Frame frame;
    const ssize_t count = recv(socket_.get(), &frame, sizeof(frame), MSG_PEEK | MSG_DONTWAIT);
    if (count == sizeof(frame) && frame.magic == Frame::kMagic && frame.op == Op::kFailure) {
      ReadSome(&received_frame_, sizeof(frame));
      ThrowPeerFailed();
    }
  }
  if ((state.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0) ThrowLost();
}

void Channel::CheckNetwork() const {
  if (!crosses_network_) return;
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return;
  const uint32_t silence_ms = std::min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv);
  if (silence_ms <= kLongestSilenceMs) return;
  Failure failure(Failure::Reason::kSilent, {{peer_, false, 0, 0}});
  failure.silence_ms = silence_ms;
  throw failure;
}

void Channel::TellFailure(const Frame& frame, const std::string& text) {
  Frame notice = frame;
  notice.op = Op::kFailure;
  notice.bytes = std::min(text.size(), kLongestFailureText);
  const bool between_messages = !sending() || sent_ == 0;
  if (between_messages) {
    BeginSend(notice, text.data());
    try {
      ProgressSend();
    } catch (const Failure&) {
      return;  // it is gone, and needs no telling
    }
  }
  if (sending()) shutdown(socket_.get(), SHUT_RDWR);
}

void Channel::ThrowPeerFailed() {
  Failure failure(Failure::Reason::kPeerFailed, {{peer_, false, 0, 0}});
  failure.origin = received_frame_.root;
  failure.text.resize(std::min<size_t>(received_frame_.bytes, kLongestFailureText));
  const ssize_t count = recv(socket_.get(), failure.text.data(), failure.text.size(), MSG_DONTWAIT);
  failure.text.resize(std::max<ssize_t>(count, 0));
  throw failure;
}

void Channel::ThrowLost() { throw Failure(Failure::Reason::kLost, {{peer_, false, received_bytes(), 0}}); }

}  // namespace shardrun
