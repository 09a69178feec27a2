#include "socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "../common/types.h"

namespace shardrun {

namespace {

constexpr int kBacklog = 128;
constexpr int kLongestWaitMs = 60000;

// Hyphens make up what a name lacks of the longest: some versions of Node, which must reach it, take any other for one
// with zeros at its end.
struct UnixName {
  sockaddr_un address{};

  explicit UnixName(const std::string& name) {
    if (name.size() + 1 > sizeof(address.sun_path)) {
      throw Error(Error::Kind::kUsage, "listen: the run id is too long for a unix socket's name: \"" + name + "\".");
    }
    address.sun_family = AF_UNIX;
    memset(address.sun_path + 1, '-', sizeof(address.sun_path) - 1);
    memcpy(address.sun_path + 1, name.data(), name.size());  // the leading zero makes it abstract: no file
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) found = nullptr;
  return AddressList(found, freeaddrinfo);
}

[[noreturn]] void ThrowCannotListen(const std::string& where, const std::string& remedy) {
  throw Error(Error::Kind::kCollective, "Listening on " + where + " failed: " + strerror(errno) + ". " + remedy);
}

// False when patience ended.
bool WaitFor(int socket, short events, const Patience& patience) {
  while (!patience.Over()) {
    pollfd states[] = {{socket, events, 0}, {patience.abort.fd(), POLLIN, 0}};
    if (poll(states, 2, patience.deadline.WaitMs(kLongestWaitMs)) > 0 && states[0].revents != 0) return true;
  }
  return false;
}

bool ShouldWait(ssize_t result) { return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR); }

}  // namespace

FileDescriptor ListenUnix(const std::string& abstract_name) {
  const UnixName name(abstract_name);
  FileDescriptor listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(listening.get(), name.get(), sizeof(name.address)) != 0 || listen(listening.get(), kBacklog) != 0) {
    ThrowCannotListen("unix socket @" + abstract_name, "Two processes of this run may have the same rank.");
  }
  return listening;
}

FileDescriptor ListenTcp(const std::string& host, std::string* port) {
  const AddressList addresses = Resolve(host, "0", AI_PASSIVE);
  if (!addresses) {
    throw Error(Error::Kind::kCollective,
                "Listening on " + host + " failed: the name has no address. Check the hostfile.");
  }
  FileDescriptor listening(socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(listening.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 || listen(listening.get(), kBacklog) != 0) {
    ThrowCannotListen(host, "Check that the address belongs to this host.");
  }
  sockaddr_storage bound;
  socklen_t length = sizeof(bound);
  char service[NI_MAXSERV];
  getsockname(listening.get(), reinterpret_cast<sockaddr*>(&bound), &length);
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), length, nullptr, 0, service, sizeof(service), NI_NUMERICSERV);
  *port = service;
  return listening;
}

FileDescriptor ConnectUnix(const std::string& abstract_name) {
  const UnixName name(abstract_name);
  FileDescriptor connected(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(connected.get(), name.get(), sizeof(name.address)) != 0) return FileDescriptor();
  return connected;
}

FileDescriptor ConnectTcp(const std::string& host, const std::string& port, const Patience& patience) {
  const AddressList addresses = Resolve(host, port, AI_NUMERICSERV);
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    FileDescriptor connected(socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(connected.get(), each->ai_addr, each->ai_addrlen) != 0) {
      if (errno != EINPROGRESS || !WaitFor(connected.get(), POLLOUT, patience)) continue;
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(connected.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) continue;
    }
    return connected;
  }
  return FileDescriptor();
}

bool SameUser(int socket) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length);
  if (domain != AF_UNIX) return true;
  ucred peer{};
  length = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == geteuid();
}

std::string PeerName(int socket) {
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  char host[NI_MAXHOST], port[NI_MAXSERV];
  getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &length);
  if (peer.ss_family == AF_UNIX) return "a process of this host";
  if (getnameinfo(reinterpret_cast<sockaddr*>(&peer), length, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "a connection already gone";
  }
  return peer.ss_family == AF_INET6 ? std::string("[") + host + "]:" + port : std::string(host) + ":" + port;
}

bool SendAtOnce(int socket, const void* data, size_t bytes) {
  return send(socket, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes);
}

bool ReceiveAll(int socket, void* data, size_t bytes, const Patience& patience) {
  auto* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t count = recv(socket, next, bytes, MSG_DONTWAIT);
    if (ShouldWait(count)) {
      if (!WaitFor(socket, POLLIN, patience)) return false;
      continue;
    }
    if (count <= 0) return false;
    next += count;
    bytes -= count;
  }
  return true;
}

// One byte travels with the descriptor: a message may not be empty.
bool SendFile(int socket, int file) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &file, sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

FileDescriptor ReceiveFile(int socket, const Patience& patience) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t count;
  do {
    if (!WaitFor(socket, POLLIN, patience)) return FileDescriptor();
    count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (ShouldWait(count));
  const cmsghdr* header = count == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return FileDescriptor();
  int file;
  memcpy(&file, CMSG_DATA(header), sizeof(int));
  return FileDescriptor(file);
}

}  // namespace shardrun
