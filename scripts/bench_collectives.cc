// One rank of a measurement without Node: scripts/bench-collectives.mjs starts them all, on one host or on several.
//
//   bench_collectives auto|shm|tcp RANK ADDRESS HOST,HOST,... OPERATION:BYTES:CALLS...
//
// ADDRESS is where this rank listens, HOST that of each rank. It prints the address at which its peers reach it, reads
// the addresses of all from standard input, a line each, and then measures: allReduce (float32 sums in place) or
// pingPong (half a round trip between the first rank and the last). Rank 0 prints "OPERATION:BYTES MICROSECONDS" for
// each, the mean of one call.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../native/collectives/group_communicator.h"
#include "../native/collectives/measure.h"

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

void Measure(GroupCommunicator& communicator, const std::string& task) {
  const std::vector<std::string> parts = Split(task, ':');
  const size_t bytes = strtoull(parts.at(1).c_str(), nullptr, 10);
  const int num_calls = atoi(parts.at(2).c_str());
  const auto measure = parts[0] == "pingPong" ? MeasurePingPong : MeasureAllReduce;
  measure(communicator, bytes, num_calls / 10 + 1);
  const double nanoseconds = measure(communicator, bytes, num_calls);
  if (communicator.rank() == 0) printf("%s:%zu %.3f\n", parts[0].c_str(), bytes, nanoseconds / 1e3);
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
  GroupCommunicator communicator(listener, options, AbortFlag::Create());
  for (int task = 5; task < argc; ++task) Measure(communicator, argv[task]);
  return 0;
}
