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
#include "tcp_transport.h"

namespace shardrun {

namespace {

// After the deadline the peers not yet looked at get this long, so that the error names only those that are missing.
constexpr int kLastLookMs = 50;

Error UsageError(const std::string& message) { return Error(Error::Kind::kUsage, "connect: " + message); }

bool UsesSharedMemory(const ConnectOptions& options) {
  const bool one_host = std::all_of(options.peers.begin(), options.peers.end(),
                                    [&](const PeerAddress& peer) { return peer.host == options.peers[0].host; });
  if (options.transport == TransportKind::kShm && !one_host) {
    throw UsageError("the transport shm needs all ranks on one host. Choose tcp or auto.");
  }
  return one_host && options.transport != TransportKind::kTcp;
}

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
FileDescriptor ConnectPeer(const Listener& listener, const ConnectOptions& options, int peer, bool use_unix,
                           const Patience& patience) {
  constexpr std::chrono::milliseconds kBetweenTries{20};
  const Address address = Address::Parse(options.peers[peer].address);
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

std::string MissingPeersText(const ConnectOptions& options, const std::vector<int>& missing, const char* transport) {
  std::string text = "connect timed out after " + std::to_string(options.timeout_ms) + " ms on " +
                     options.Name(options.rank) + ": no connection with ";
  for (size_t i = 0; i < missing.size(); ++i) {
    const PeerAddress& peer = options.peers[missing[i]];
    text += (i == 0 ? "rank " : ", rank ") + std::to_string(peer.rank) + " (" + peer.host + ", " + transport + ")";
  }
  return text + " for communicator " + std::to_string(options.communicator) + ", epoch " +
         std::to_string(options.epoch) +
         ". It may not have started, or may have ended: look at its output, or allow more time with timeoutMs.";
}

std::vector<FileDescriptor> ConnectPeers(Listener& listener, const ConnectOptions& options, bool use_unix,
                                         const Deadline& deadline, const AbortFlag& abort) {
  std::vector<FileDescriptor> sockets(options.world_size);
  std::vector<int> missing;
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    const Deadline last_look(kLastLookMs);
    const Deadline& until = deadline.Passed() ? last_look : deadline;
    sockets[peer] =
        peer < options.rank
            ? ConnectPeer(listener, options, peer, use_unix, {until, abort})
            : listener.Take({options.communicator, options.epoch, static_cast<uint32_t>(peer)}, until, abort);
    if (abort.raised()) throw abort.error();
    if (!sockets[peer]) missing.push_back(peer);
  }
  if (!missing.empty()) {
    throw Error(Error::Kind::kCollective, MissingPeersText(options, missing, use_unix ? "shm" : "tcp"),
                options.peers[missing[0]].rank);
  }
  return sockets;
}

// Rank 0 makes the segment and hands it to each peer over their unix socket.
ShmSegment ShareSegment(const ConnectOptions& options, const std::vector<FileDescriptor>& sockets,
                        const Patience& patience) {
  if (options.rank == 0) {
    ShmSegment segment = ShmSegment::Create(options.world_size);
    for (int peer = 1; peer < options.world_size; ++peer) {
      if (!SendFile(sockets[peer].get(), segment.fd())) {
        throw Error(Error::Kind::kCollective, MissingPeersText(options, {peer}, "shm"), options.peers[peer].rank);
      }
    }
    segment.CloseFile();
    return segment;
  }
  FileDescriptor file = ReceiveFile(sockets[0].get(), patience);
  if (!file) throw Error(Error::Kind::kCollective, MissingPeersText(options, {0}, "shm"), options.peers[0].rank);
  ShmSegment segment = ShmSegment::Map(std::move(file), options.world_size);
  segment.CloseFile();
  return segment;
}

}  // namespace

std::string ConnectOptions::Name(int rank) const {
  return "rank " + std::to_string(peers[rank].rank) + " (" + peers[rank].host + ")";
}

std::unique_ptr<Transport> ConnectTransport(const std::shared_ptr<Listener>& listener, const ConnectOptions& options,
                                            const std::shared_ptr<AbortFlag>& abort) {
  CheckOptions(listener, options);
  if (options.world_size == 1) return std::make_unique<LocalTransport>();
  const Deadline deadline(options.timeout_ms);
  const bool use_shm = UsesSharedMemory(options);
  std::vector<FileDescriptor> sockets = ConnectPeers(*listener, options, use_shm, deadline, *abort);
  const auto ranks_on_host = std::count_if(options.peers.begin(), options.peers.end(), [&](const PeerAddress& peer) {
    return peer.host == options.peers[options.rank].host;
  });
  const bool keep_core = HasCorePerRank(static_cast<int>(ranks_on_host));
  if (!use_shm) return std::make_unique<TcpTransport>(Mesh(std::move(sockets), abort, keep_core));
  ShmSegment segment = ShareSegment(options, sockets, {deadline, *abort});
  return std::make_unique<ShmTransport>(options.rank, std::move(segment), Mesh(std::move(sockets), abort, keep_core),
                                        keep_core);
}

}  // namespace shardrun
