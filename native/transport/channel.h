// One stream socket to one peer that carries framed messages without ever blocking: begin a message, then move it on
// whenever the socket allows, until it is done.
#pragma once

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

  // `data` must stay until sending() is false.
  void BeginSend(const Frame& frame, const void* data);
  // Expects a frame of the same call as `expected` with intake.range.bytes after it; they land in intake.into, or in
  // a buffer of this channel (see intake.view). `intake` must stay until receiving() is false.
  void BeginReceive(const Frame& expected, Intake* intake);
  bool sending() const { return sent_ < send_total_; }
  bool receiving() const { return intake_ != nullptr; }
  uint64_t sent_bytes() const;
  uint64_t received_bytes() const;
  uint64_t send_bytes() const { return send_frame_.bytes; }

  // Moves on what has begun as far as the socket allows. Throws Failure (kLost, kMismatch, kPeerFailed).
  void Progress();
  // Throws Failure if the peer has left or given up; takes no message from the stream.
  void CheckPeer();
  // Throws Failure(kSilent) when the network has brought nothing from the peer's machine for too long: no
  // acknowledgement, no answer to a keep-alive. A peer that is only slow, or stopped, is not silent: its kernel
  // answers.
  void CheckNetwork() const;
  // Sends a failure frame if the socket takes it at once, and hangs up if it does not.
  void TellFailure(const Frame& frame, const std::string& text);

 private:
  void ProgressSend();
  void ProgressReceive();
  // Reads up to `bytes`; 0 when nothing is there yet. Throws Failure(kLost) at the end of the stream.
  size_t ReadSome(void* into, size_t bytes);
  void CheckFrame();
  [[noreturn]] void ThrowPeerFailed();
  [[noreturn]] void ThrowLost();

  int peer_;
  FileDescriptor socket_;
  bool crosses_network_;

  Frame send_frame_;
  const uint8_t* send_data_ = nullptr;
  size_t sent_ = 0;  // of frame and data together
  size_t send_total_ = 0;

  Frame expected_;
  Frame received_frame_;
  Intake* intake_ = nullptr;
  uint8_t* receive_data_ = nullptr;
  size_t received_ = 0;  // of frame and data together
  std::vector<uint8_t> buffer_;
};

}  // namespace shardrun
