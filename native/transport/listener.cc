#include "listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "socket.h"

namespace shardrun {

namespace {

constexpr int kHelloTimeoutMs = 2000;
constexpr size_t kMostStrangers = 64;

}  // namespace

Listener::Listener(const ListenOptions& options)
    : secret_(options.secret),
      on_first_stranger_(options.on_first_stranger),
      closing_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  address_.unix_name = "shardrun-" + options.run_id + "-" + std::to_string(options.rank);
  address_.tcp_host = options.tcp_host;
  unix_ = ListenUnix(address_.unix_name);
  tcp_ = ListenTcp(address_.tcp_host, &address_.tcp_port);
  thread_ = std::thread([this] { Serve(); });
}

Listener::~Listener() { Close(); }

void Listener::Close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    closed_ = true;
    connections_.clear();
  }
  changed_.notify_all();
  const uint64_t one = 1;
  static_cast<void>(!write(closing_.get(), &one, sizeof(one)));
  thread_.join();
  strangers_.clear();
  unix_ = FileDescriptor();
  tcp_ = FileDescriptor();
}

FileDescriptor Listener::Take(const ConnectionKey& key, const Deadline& deadline, const AbortFlag& abort) {
  constexpr int kGlanceMs = 20;  // how often the abort flag is looked at
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    const auto found = connections_.find(key);
    if (found != connections_.end()) {
      FileDescriptor socket = std::move(found->second);
      connections_.erase(found);
      return socket;
    }
    if (closed_ || abort.raised() || deadline.Passed()) return FileDescriptor();
    changed_.wait_for(lock, std::chrono::milliseconds(deadline.WaitMs(kGlanceMs)));
  }
}

void Listener::Serve() {
  while (true) {
    std::vector<pollfd> fds{{closing_.get(), POLLIN, 0}, {unix_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    for (const Stranger& stranger : strangers_) fds.push_back({stranger.socket.get(), POLLIN, 0});
    poll(fds.data(), fds.size(), strangers_.empty() ? -1 : kHelloTimeoutMs / 10);
    if ((fds[0].revents & POLLIN) != 0) return;
    std::erase_if(strangers_, [this](Stranger& stranger) {
      const Standing standing = Judge(stranger);
      if (standing == Standing::kTurnedAway) ReportOnce(stranger);
      return standing != Standing::kWaiting;
    });
    if ((fds[1].revents & POLLIN) != 0) Accept(unix_.get());
    if ((fds[2].revents & POLLIN) != 0) Accept(tcp_.get());
  }
}

void Listener::Accept(int listening) {
  FileDescriptor socket(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || !SameUser(socket.get())) return;
  if (strangers_.size() == kMostStrangers) strangers_.erase(strangers_.begin());
  const Challenge challenge{.nonce = NewNonce()};
  if (!SendAtOnce(socket.get(), &challenge, sizeof(challenge))) return;
  std::string name = PeerName(socket.get());
  strangers_.push_back({std::move(socket), std::move(name), Deadline(kHelloTimeoutMs), challenge.nonce, Hello(), 0});
}

Listener::Standing Listener::Judge(Stranger& stranger) {
  const ssize_t count = recv(stranger.socket.get(), reinterpret_cast<uint8_t*>(&stranger.hello) + stranger.received,
                             sizeof(Hello) - stranger.received, MSG_DONTWAIT);
  const bool would_wait = count < 0 && (errno == EAGAIN || errno == EINTR);
  if (count <= 0 && !would_wait) return Standing::kTurnedAway;
  if (count > 0) stranger.received += count;
  if (stranger.received == sizeof(Hello)) return JudgeProof(stranger);
  return stranger.deadline.Passed() ? Standing::kTurnedAway : Standing::kWaiting;
}

Listener::Standing Listener::JudgeProof(Stranger& stranger) {
  const Hello& hello = stranger.hello;
  if (hello.magic != Challenge::kMagic) return Standing::kTurnedAway;
  if (!SameProof(hello.proof, secret_.ProveConnecting(stranger.challenge, hello))) return Standing::kTurnedAway;
  const Proof answer = secret_.ProveAccepting(stranger.challenge, hello);
  if (!SendAtOnce(stranger.socket.get(), &answer, sizeof(answer)))
    return Standing::kLetIn;  // it knows the secret, and left
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return Standing::kLetIn;
    connections_[{hello.communicator, hello.epoch, hello.from}] = std::move(stranger.socket);
  }
  changed_.notify_all();
  return Standing::kLetIn;
}

void Listener::ReportOnce(const Stranger& stranger) {
  if (on_first_stranger_) std::exchange(on_first_stranger_, nullptr)(stranger.name);
}

}  // namespace shardrun
