#include "channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "failure.h"

namespace shardrun {

namespace {

constexpr size_t kLongestFailureText = 4096;
// Between two of these a rank takes in what has come. Shorter and longer ones were measured: docs/performance.md.
constexpr size_t kLongestSendBytes = 128 << 10;
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
  sends_.push_back({frame, static_cast<const uint8_t*>(data)});
}

void Channel::BeginReceive(const Frame& expected, Intake* intake) {
  intake->arrived = false;
  receives_.push_back({expected, intake});
}

uint64_t Channel::sent_bytes() const { return sent_ - std::min(sent_, sizeof(Frame)); }
uint64_t Channel::received_bytes() const { return received_ - std::min(received_, sizeof(Frame)); }

void Channel::ProgressSend() {
  while (sending()) {
    Outgoing& message = sends_.front();
    iovec parts[2];
    int num_parts = 0;
    if (sent_ < sizeof(Frame)) {
      parts[num_parts++] = {reinterpret_cast<uint8_t*>(&message.frame) + sent_, sizeof(Frame) - sent_};
    }
    if (message.frame.bytes > 0) {
      parts[num_parts++] = {const_cast<uint8_t*>(message.data) + sent_bytes(),
                            std::min<size_t>(message.frame.bytes - sent_bytes(), kLongestSendBytes)};
    }
    msghdr header{};
    header.msg_iov = parts;
    header.msg_iovlen = num_parts;
    const ssize_t written = sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written < 0) {
      if (WouldBlock()) return;
      CheckPeer();  // why it hung up, if it said so
      ThrowLost();
    }
    sent_ += written;
    if (sent_ < sizeof(Frame) + message.frame.bytes) return;
    sends_.erase(sends_.begin());
    sent_ = 0;
  }
}

// A frame and the data that it is expected to announce are read at once: small messages cost one call, and into one
// place where the data's is free to choose, which makes every look of a waiting rank cheaper.
void Channel::ProgressReceive() {
  while (receiving()) {
    Incoming& incoming = receives_.front();
    iovec parts[2];
    int num_parts = 0;
    if (received_ < sizeof(Frame)) {
      const size_t bytes = incoming.intake->range.bytes == Intake::kAnySize ? 0 : incoming.intake->range.bytes;
      uint8_t* const data = PlaceFor(*incoming.intake, bytes);
      parts[num_parts++] = {buffer_.data() + received_, sizeof(Frame) - received_};
      if (data == buffer_.data() + sizeof(Frame)) {
        parts[0].iov_len += bytes;
      } else if (bytes > 0) {
        parts[num_parts++] = {data, bytes};
      }
    } else {
      parts[num_parts++] = {receive_data_ + received_bytes(), received_frame().bytes - received_bytes()};
    }
    const size_t count = ReadSome(parts, num_parts);
    if (count == 0) return;
    const bool had_frame = received_ >= sizeof(Frame);
    received_ += count;
    if (received_ < sizeof(Frame)) continue;
    if (!had_frame) CheckFrame(incoming);
    if (received_bytes() < received_frame().bytes) continue;
    incoming.intake->view = receive_data_;
    incoming.intake->arrived = true;
    receives_.erase(receives_.begin());
    received_ = 0;
    return;
  }
}

size_t Channel::ReadSome(iovec* parts, int num_parts) {
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = num_parts;
  const ssize_t count = num_parts == 1 ? recv(socket_.get(), parts[0].iov_base, parts[0].iov_len, MSG_DONTWAIT)
                                       : recvmsg(socket_.get(), &header, MSG_DONTWAIT);
  if (count > 0) return count;
  if (count < 0 && WouldBlock()) return 0;
  ThrowLost();
}

uint8_t* Channel::PlaceFor(const Intake& intake, size_t bytes) {
  if (intake.into != nullptr) return static_cast<uint8_t*>(intake.into);
  if (buffer_.size() < sizeof(Frame) + bytes) buffer_.resize(sizeof(Frame) + bytes);
  return buffer_.data() + sizeof(Frame);
}

// The frame has arrived whole: does it belong to this call, and where shall its data go?
void Channel::CheckFrame(Incoming& incoming) {
  Range& range = incoming.intake->range;
  const Frame frame = received_frame();
  if (frame.magic == Frame::kMagic && frame.op == Op::kFailure) {
    const size_t bytes = received_bytes();
    ThrowPeerFailed(bytes == 0 ? nullptr : PlaceFor(*incoming.intake, range.bytes), bytes);
  }
  if (range.bytes == Intake::kAnySize) range.bytes = frame.bytes;
  if (!frame.SameCall(incoming.expected) || frame.bytes != range.bytes) {
    Failure failure(Failure::Reason::kMismatch, {{peer_, false, 0, 0}});
    failure.ours = incoming.expected;
    failure.theirs = frame;
    throw failure;
  }
  receive_data_ = PlaceFor(*incoming.intake, range.bytes);
}

void Channel::CheckPeer() {
  pollfd state{socket_.get(), POLLIN | POLLRDHUP, 0};
  if (poll(&state, 1, 0) <= 0) return;
  if ((state.revents & POLLIN) != 0) {
    Frame frame;
    const ssize_t count = recv(socket_.get(), &frame, sizeof(frame), MSG_PEEK | MSG_DONTWAIT);
    if (count == sizeof(frame) && frame.magic == Frame::kMagic && frame.op == Op::kFailure) {
      iovec part{buffer_.data(), sizeof(frame)};
      ReadSome(&part, 1);
      ThrowPeerFailed(nullptr, 0);
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
  const bool between_messages = sent_ == 0;
  if (between_messages) {
    sends_.clear();
    BeginSend(notice, text.data());
    try {
      ProgressSend();
    } catch (const Failure&) {
      return;  // it is gone, and needs no telling
    }
  }
  if (sending()) shutdown(socket_.get(), SHUT_RDWR);
}

void Channel::ThrowPeerFailed(const uint8_t* text, size_t text_bytes) {
  const size_t bytes = std::min<size_t>(received_frame().bytes, kLongestFailureText);
  Failure failure(Failure::Reason::kPeerFailed, {{peer_, false, 0, 0}});
  failure.origin = received_frame().root;
  failure.text.assign(text, text + std::min(text_bytes, bytes));
  std::string rest(bytes - failure.text.size(), '\0');
  const ssize_t count = recv(socket_.get(), rest.data(), rest.size(), MSG_DONTWAIT);
  failure.text.append(rest, 0, std::max<ssize_t>(count, 0));
  throw failure;
}

void Channel::ThrowLost() { throw Failure(Failure::Reason::kLost, {{peer_, false, received_bytes(), 0}}); }

}  // namespace shardrun
