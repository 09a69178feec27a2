// One stream socket to one peer that carries framed messages without ever blocking: begin messages, then move them on
// whenever the socket allows, until they are done. Messages of one direction go one after the other, as they began.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../common/file_descriptor.h"
#include "frame.h"
#include "transport.h"

namespace shardrun {

class Channel {
 public:
  // A socket that has been connected and has proven itself.
  Channel(int peer, FileDescriptor socket);

  int peer() const { return peer_; }
  int fd() const { return socket_.get(); }

  // `data` must stay until it has been sent.
  void BeginSend(const Frame& frame, const void* data);
  // Expects a frame of the same call as `expected` with intake.range.bytes after it; they land in intake.into, or, for
  // one message at a time, in a buffer of this channel (see intake.view). `intake` must stay until it has arrived.
  void BeginReceive(const Frame& expected, Intake* intake);
  bool sending() const { return !sends_.empty(); }
  bool receiving() const { return !receives_.empty(); }
  // Of the message under way in each direction.
  uint64_t sent_bytes() const;
  uint64_t received_bytes() const;
  uint64_t send_bytes() const { return sending() ? sends_.front().frame.bytes : 0; }

  // Move on what has begun as far as the socket allows; receiving stops behind each message, for what it brought may be
  // awaited more urgently than the next. Throw Failure (kLost, kMismatch, kPeerFailed).
  void ProgressSend();
  void ProgressReceive();
  // Throws Failure if the peer has left or given up; takes no message from the stream.
  void CheckPeer();
  // Throws Failure(kSilent) when the network has brought nothing from the peer's machine for too long: no
  // acknowledgement, no answer to a keep-alive. A peer that is only slow, or stopped, is not silent: its kernel
  // answers.
  void CheckNetwork() const;
  // Sends a failure frame if the socket takes it at once, and hangs up if it does not.
  void TellFailure(const Frame& frame, const std::string& text);

 private:
  struct Outgoing {
    Frame frame;
    const uint8_t* data;
  };
  struct Incoming {
    Frame expected;
    Intake* intake;
  };

  const Frame& received_frame() const { return *reinterpret_cast<const Frame*>(buffer_.data()); }
  // Reads what is there; 0 when nothing is yet. Throws Failure(kLost) at the end of the stream.
  size_t ReadSome(iovec* parts, int num_parts);
  // Where the data of a message of `bytes` bytes shall lie.
  uint8_t* PlaceFor(const Intake& intake, size_t bytes);
  void CheckFrame(Incoming& incoming);
  // The beginning of what the peer says may have been read already.
  [[noreturn]] void ThrowPeerFailed(const uint8_t* text, size_t text_bytes);
  [[noreturn]] void ThrowLost();

  int peer_;
  FileDescriptor socket_;
  bool crosses_network_;

  std::vector<Outgoing> sends_;  // few: a step or two
  size_t sent_ = 0;              // of the first one's frame and data together

  std::vector<Incoming> receives_;
  uint8_t* receive_data_ = nullptr;
  size_t received_ = 0;  // of the first one's frame and data together
  // The frame, and behind it the data that shall lie nowhere else.
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(sizeof(Frame));
};

}  // namespace shardrun
