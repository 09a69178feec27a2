// One rank of a measurement without Node: scripts/bench-collectives.mjs starts them all, on one host or on several.
//
//   bench_collectives auto|shm|tcp RANK ADDRESS HOST,HOST,... OPERATION:BYTES:CALLS...
//
// ADDRESS is where this rank listens, HOST that of each rank. It prints the address at which its peers reach it, reads
// the addresses of all from standard input, a line each, and then measures: allReduce (float32 sums in place), pingPong
// (half a round trip between the first rank and the last), or what the kernel alone takes to bring the bytes of an
// allReduce from each of two ranks to the other: bareExchange over one TCP connection, twoWireExchange over one for
// each direction. Rank 0 prints "OPERATION:BYTES MICROSECONDS" for each, the mean of one call.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../native/collectives/group_communicator.h"
#include "../native/collectives/measure.h"
#include "../native/common/spin.h"
#include "../native/transport/address.h"
#include "../native/transport/socket.h"

namespace {

using namespace shardrun;

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

TransportKind ParseTransport(const std::string& name) {
  if (name == "shm") return TransportKind::kShm;
  return name == "tcp" ? TransportKind::kTcp : TransportKind::kAuto;
}

// Plain TCP connections between ranks 0 and 1, and the loop around send and recv that waits as a communicator does.
class BareExchange {
 public:
  BareExchange(GroupCommunicator& communicator, const ConnectOptions& options, int num_wires) {
    const Deadline deadline(options.timeout_ms);
    const AbortFlag abort;
    const Patience patience{deadline, abort};
    const std::string host = Address::Parse(options.peers[0].address).tcp_host;
    std::string port;
    const FileDescriptor listening = options.rank == 0 ? ListenTcp(host, &port) : FileDescriptor();
    std::vector<uint8_t> message(port.begin(), port.end());
    communicator.BroadcastMessage(&message, 0, {"bare exchange"});
    port.assign(message.begin(), message.end());
    for (int wire = 0; wire < num_wires; ++wire) {
      wires_.push_back(options.rank == 0 ? Accept(listening.get()) : ConnectTcp(host, port, patience));
      const int on = 1;
      if (setsockopt(wires_.back().get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) Throw("connect");
    }
    out_ = wires_[options.rank == 0 ? 0 : num_wires - 1].get();
    in_ = wires_[options.rank == 0 ? num_wires - 1 : 0].get();
  }

  void Exchange(const std::vector<uint8_t>& given, std::vector<uint8_t>* taken) {
    size_t sent = 0, received = 0;
    const auto look = [&] {
      if (sent < given.size()) Advance(&sent, send(out_, &given[sent], given.size() - sent, kFlags), "send");
      if (received < taken->size()) {
        Advance(&received, recv(in_, taken->data() + received, taken->size() - received, kFlags), "recv");
      }
      return sent == given.size() && received == taken->size();
    };
    while (!SpinUntil(true, look)) {
      pollfd states[] = {{in_, POLLIN, 0}, {sent < given.size() ? out_ : -1, POLLOUT, 0}};
      poll(states, 2, 1000);
    }
  }

 private:
  static constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;

  [[noreturn]] static void Throw(const char* call) {
    throw std::runtime_error(std::string("bare exchange: ") + call + ": " + strerror(errno));
  }
  static FileDescriptor Accept(int listening) {
    pollfd state{listening, POLLIN, 0};
    poll(&state, 1, 10000);
    return FileDescriptor(accept(listening, nullptr, nullptr));
  }
  static void Advance(size_t* done, ssize_t count, const char* call) {
    if (count == 0 || (count < 0 && errno != EAGAIN)) Throw(call);
    if (count > 0) *done += count;
  }

  std::vector<FileDescriptor> wires_;
  int out_, in_;
};

double MeasureBareExchange(GroupCommunicator& communicator, const ConnectOptions& options, int num_wires, size_t bytes,
                           int num_calls) {
  using Clock = std::chrono::steady_clock;
  BareExchange wires(communicator, options, num_wires);
  const std::vector<uint8_t> given(bytes);
  std::vector<uint8_t> taken(bytes);
  for (int call = 0; call < num_calls / 10 + 1; ++call) wires.Exchange(given, &taken);
  const Clock::time_point start = Clock::now();
  for (int call = 0; call < num_calls; ++call) wires.Exchange(given, &taken);
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / num_calls;
}

void Measure(GroupCommunicator& communicator, const ConnectOptions& options, const std::string& task) {
  const std::vector<std::string> parts = Split(task, ':');
  const std::string& operation = parts.at(0);
  const size_t bytes = strtoull(parts.at(1).c_str(), nullptr, 10);
  const int num_calls = atoi(parts.at(2).c_str());
  double nanoseconds = 0;
  if (operation == "pingPong") {
    MeasurePingPong(communicator, bytes, num_calls / 10 + 1);
    nanoseconds = MeasurePingPong(communicator, bytes, num_calls);
  } else if (operation == "allReduce") {
    MeasureAllReduce(communicator, bytes, num_calls / 10 + 1, {});
    nanoseconds = MeasureAllReduce(communicator, bytes, num_calls, {});
  } else {
    nanoseconds =
        MeasureBareExchange(communicator, options, operation == "twoWireExchange" ? 2 : 1, bytes, num_calls);
  }
  if (communicator.rank() == 0) printf("%s:%zu %.3f\n", operation.c_str(), bytes, nanoseconds / 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: bench_collectives auto|shm|tcp RANK ADDRESS HOST,HOST,... OPERATION:BYTES:CALLS...\n");
    return 2;
  }
  const std::vector<std::string> hosts = Split(argv[4], ',');
  ConnectOptions options;
  options.rank = atoi(argv[2]);
  options.world_size = static_cast<int>(hosts.size());
  options.transport = ParseTransport(argv[1]);
  options.timeout_ms = 30000;
  const auto listener = std::make_shared<Listener>(
      ListenOptions{"bench-" + std::to_string(getpid()), options.rank, argv[3], std::vector<uint8_t>(32, 1)});
  std::cout << listener->address().Format() << std::endl;
  for (int rank = 0; rank < options.world_size; ++rank) {
    std::string address;
    std::getline(std::cin, address);
    options.peers.push_back({rank, hosts[rank], address});
  }
  GroupCommunicator communicator(listener, options, std::make_shared<AbortFlag>());
  for (int task = 5; task < argc; ++task) Measure(communicator, options, argv[task]);
  return 0;
}
