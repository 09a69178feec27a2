// The few socket calls of the transports: listen, connect, whose process is at the other end, hand over a file.
#pragma once

#include <cstddef>
#include <string>

#include "../common/abort_flag.h"
#include "../common/deadline.h"
#include "../common/file_descriptor.h"

namespace shardrun {

// Both listen without blocking, and throw Error(kCollective) when they cannot.
FileDescriptor ListenUnix(const std::string& abstract_name);
// Any free port, which is stored in `port`.
FileDescriptor ListenTcp(const std::string& host, std::string* port);

// How long a wait may last: until the deadline, or an abort.
struct Patience {
  const Deadline& deadline;
  const AbortFlag& abort;

  bool Over() const { return deadline.Passed() || abort.raised(); }
};

// Empty when nobody accepts there, or patience ends.
FileDescriptor ConnectUnix(const std::string& abstract_name);
FileDescriptor ConnectTcp(const std::string& host, const std::string& port, const Patience& patience);

// Whether the process at the other end of a unix socket belongs to this process's user. True for other sockets.
bool SameUser(int socket);
// The other end of a connection for a message: "10.0.0.5:4711", "[fd00::5]:4711", or that it is a process of this host.
std::string PeerName(int socket);

// Few bytes, which always fit the buffer of a new connection; false when the peer has left.
bool SendAtOnce(int socket, const void* data, size_t bytes);
// All bytes, or false: patience ended, or the peer left.
bool ReceiveAll(int socket, void* data, size_t bytes, const Patience& patience);

// A file descriptor over a unix socket; false or empty like above.
bool SendFile(int socket, int file);
FileDescriptor ReceiveFile(int socket, const Patience& patience);

}  // namespace shardrun
