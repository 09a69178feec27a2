// Connects the ranks of one group with each other: the lower rank accepts, the higher connects.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../common/abort_flag.h"
#include "../common/deadline.h"
#include "listener.h"
#include "transport.h"

namespace shardrun {

// kGrpc: the peers' addresses are this process's ends of a bridge to them.
enum class TransportKind { kAuto, kShm, kTcp, kGrpc };

struct PeerAddress {
  int rank = 0;  // for messages; the place in the group is the index
  std::string host;
  std::string address;
};

struct ConnectOptions {
  uint32_t communicator = 0;
  uint32_t epoch = 0;
  int rank = 0;
  int world_size = 1;
  std::vector<PeerAddress> peers;  // [worldSize] in rank order
  TransportKind transport = TransportKind::kAuto;
  int64_t timeout_ms = 0;

  // "rank 2 (hostc)", as messages say it.
  std::string Name(int rank) const;
  // What carries bytes to a peer: "shm", "tcp" or "grpc".
  const char* WireTo(int peer) const;
  // The ranks of each host in their order, hosts in the order of their first rank.
  std::vector<std::vector<int>> Hosts() const;
};

// Shared memory between the ranks of a host, TCP between hosts; for one rank neither. Blocks until every peer is
// connected.
// Throws Error(kCollective) that names the peers that are missing when the deadline passes; Error(kUsage) for options
// that contradict each other.
std::unique_ptr<Transport> ConnectTransport(const std::shared_ptr<Listener>& listener, const ConnectOptions& options,
                                            const std::shared_ptr<AbortFlag>& abort);

}  // namespace shardrun
