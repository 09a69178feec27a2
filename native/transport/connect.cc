#include "connect.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "../common/spin.h"
#include "local_transport.h"
#include "mesh.h"
#include "shm_segment.h"
#include "shm_transport.h"
#include "socket.h"
#include "stream_transport.h"

namespace shardrun {

namespace {

// After the deadline the peers not yet looked at get this long, so that the error names only those that are missing.
constexpr int kLastLookMs = 50;

Error UsageError(const std::string& message) { return Error(Error::Kind::kUsage, "connect: " + message); }

void CheckOptions(const std::shared_ptr<Listener>& listener, const ConnectOptions& options) {
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    throw UsageError("expected 0 <= rank < worldSize, received rank " + std::to_string(options.rank) +
                     " and worldSize " + std::to_string(options.world_size) + ".");
  }
  if (static_cast<int>(options.peers.size()) != options.world_size) {
    throw UsageError("expected one peer per rank, received " + std::to_string(options.peers.size()) +
                     " for worldSize " + std::to_string(options.world_size) + ".");
  }
  if (options.world_size > 1 && !listener) throw UsageError("expected a listener, as there are peers to accept.");
  if (options.transport == TransportKind::kShm && options.Hosts().size() > 1) {
    throw UsageError("the transport shm needs all ranks on one host. Choose tcp or auto.");
  }
}

bool SharesMemory(const ConnectOptions& options, int peer) {
  const bool may_share = options.transport == TransportKind::kAuto || options.transport == TransportKind::kShm;
  return may_share && options.peers[peer].host == options.peers[options.rank].host;
}

FileDescriptor OpenSocket(const Address& address, bool use_unix, const Patience& patience) {
  return use_unix ? ConnectUnix(address.unix_name) : ConnectTcp(address.tcp_host, address.tcp_port, patience);
}

// The connecting side of hello.h; whether the peer has proven itself, too.
bool Introduce(int socket, Hello hello, const Secret& secret, const Patience& patience) {
  Challenge challenge;
  if (!ReceiveAll(socket, &challenge, sizeof(challenge), patience) || challenge.magic != Challenge::kMagic)
    return false;
  hello.nonce = NewNonce();
  hello.proof = secret.ProveConnecting(challenge.nonce, hello);
  Proof answer;
  return SendAtOnce(socket, &hello, sizeof(hello)) && ReceiveAll(socket, &answer, sizeof(answer), patience) &&
         SameProof(answer, secret.ProveAccepting(challenge.nonce, hello));
}

// Opens the connection to one lower rank, again and again until it proves itself or the deadline passes.
FileDescriptor ConnectPeer(const Listener& listener, const ConnectOptions& options, int peer,
                           const Patience& patience) {
  constexpr std::chrono::milliseconds kBetweenTries{20};
  const Address address = Address::Parse(options.peers[peer].address);
  const bool use_unix = options.transport == TransportKind::kGrpc || SharesMemory(options, peer);
  Hello hello;
  hello.communicator = options.communicator;
  hello.epoch = options.epoch;
  hello.from = options.rank;
  while (true) {
    FileDescriptor socket = OpenSocket(address, use_unix, patience);
    if (socket && SameUser(socket.get()) && Introduce(socket.get(), hello, listener.secret(), patience)) return socket;
    if (patience.Over()) return FileDescriptor();
    std::this_thread::sleep_for(kBetweenTries);
  }
}

std::string MissingPeersText(const ConnectOptions& options, const std::vector<int>& missing) {
  std::string text = "connect timed out after " + std::to_string(options.timeout_ms) + " ms on " +
                     options.Name(options.rank) + ": no connection with ";
  for (size_t i = 0; i < missing.size(); ++i) {
    const PeerAddress& peer = options.peers[missing[i]];
    text += (i == 0 ? "rank " : ", rank ") + std::to_string(peer.rank) + " (" + peer.host + ", " +
            options.WireTo(missing[i]) + ")";
  }
  return text + " for communicator " + std::to_string(options.communicator) + ", epoch " +
         std::to_string(options.epoch) +
         ". It may not have started, or may have ended: look at its output, or allow more time with timeoutMs.";
}

std::vector<FileDescriptor> ConnectPeers(Listener& listener, const ConnectOptions& options, const Deadline& deadline,
                                         const AbortFlag& abort) {
  std::vector<FileDescriptor> sockets(options.world_size);
  std::vector<int> missing;
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    const Deadline last_look(kLastLookMs);
    const Deadline& until = deadline.Passed() ? last_look : deadline;
    sockets[peer] =
        peer < options.rank
            ? ConnectPeer(listener, options, peer, {until, abort})
            : listener.Take({options.communicator, options.epoch, static_cast<uint32_t>(peer)}, until, abort);
    if (abort.raised()) throw abort.error();
    if (!sockets[peer]) missing.push_back(peer);
  }
  if (!missing.empty()) {
    throw Error(Error::Kind::kCollective, MissingPeersText(options, missing), options.peers[missing[0]].rank);
  }
  return sockets;
}

// The host's first rank makes the segment and hands it to each other over their unix socket.
ShmSegment ShareSegment(const ConnectOptions& options, const std::vector<int>& host_ranks,
                        const std::vector<FileDescriptor>& sockets, const Patience& patience) {
  const int first = host_ranks[0];
  const int num_ranks = static_cast<int>(host_ranks.size());
  const auto missing = [&](int peer) {
    return Error(Error::Kind::kCollective, MissingPeersText(options, {peer}), options.peers[peer].rank);
  };
  if (options.rank == first) {
    ShmSegment segment = ShmSegment::Create(num_ranks);
    for (const int peer : host_ranks) {
      if (peer != first && !SendFile(sockets[peer].get(), segment.fd())) throw missing(peer);
    }
    segment.CloseFile();
    return segment;
  }
  FileDescriptor file = ReceiveFile(sockets[first].get(), patience);
  if (!file) throw missing(first);
  ShmSegment segment = ShmSegment::Map(std::move(file), num_ranks);
  segment.CloseFile();
  return segment;
}

}  // namespace

std::string ConnectOptions::Name(int rank) const {
  return "rank " + std::to_string(peers[rank].rank) + " (" + peers[rank].host + ")";
}

const char* ConnectOptions::WireTo(int peer) const {
  if (transport == TransportKind::kGrpc) return "grpc";
  return SharesMemory(*this, peer) ? "shm" : "tcp";
}

std::vector<std::vector<int>> ConnectOptions::Hosts() const {
  std::vector<std::vector<int>> hosts;
  for (int rank = 0; rank < world_size; ++rank) {
    const auto same_host = [&](const std::vector<int>& ranks) { return peers[ranks[0]].host == peers[rank].host; };
    const auto found = std::find_if(hosts.begin(), hosts.end(), same_host);
    if (found == hosts.end()) {
      hosts.push_back({rank});
    } else {
      found->push_back(rank);
    }
  }
  return hosts;
}

std::unique_ptr<Transport> ConnectTransport(const std::shared_ptr<Listener>& listener, const ConnectOptions& options,
                                            const std::shared_ptr<AbortFlag>& abort) {
  CheckOptions(listener, options);
  if (options.world_size == 1) return std::make_unique<LocalTransport>();
  const Deadline deadline(options.timeout_ms);
  std::vector<FileDescriptor> sockets = ConnectPeers(*listener, options, deadline, *abort);
  const std::vector<std::vector<int>> hosts = options.Hosts();
  const auto has_this_rank = [&](const std::vector<int>& ranks) {
    return std::find(ranks.begin(), ranks.end(), options.rank) != ranks.end();
  };
  const std::vector<int>& host_ranks = *std::find_if(hosts.begin(), hosts.end(), has_this_rank);
  const bool keep_core = HasCorePerRank(static_cast<int>(host_ranks.size()));
  // A rank that is alone on its host takes the same steps as the others.
  const bool one_rank_per_host = static_cast<int>(hosts.size()) == options.world_size;
  const bool is_grpc = options.transport == TransportKind::kGrpc;
  if (is_grpc || options.transport == TransportKind::kTcp || one_rank_per_host) {
    return std::make_unique<StreamTransport>(Mesh(std::move(sockets), abort, keep_core), is_grpc ? "grpc" : "tcp");
  }
  ShmSegment segment = ShareSegment(options, host_ranks, sockets, {deadline, *abort});
  return std::make_unique<ShmTransport>(options.rank, host_ranks, std::move(segment),
                                        Mesh(std::move(sockets), abort, keep_core), keep_core);
}

}  // namespace shardrun
