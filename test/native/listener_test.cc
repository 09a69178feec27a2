// Who gets past the listener, and what connect says when a peer is missing.
#include "../../native/transport/listener.h"

#include <malloc.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "../../native/transport/connect.h"
#include "../../native/transport/socket.h"
#include "check.h"
#include "world.h"

namespace shardrun {

namespace {

const std::vector<uint8_t> kSecret(32, 7);

std::shared_ptr<Listener> NewListener(const std::string& name, int rank) {
  return std::make_shared<Listener>(ListenOptions{name + "-" + std::to_string(getpid()), rank, "127.0.0.1", kSecret});
}

// A connection to a listener that has been asked to prove itself.
class Visit {
 public:
  explicit Visit(const Listener& listener)
      : socket_(ConnectTcp(listener.address().tcp_host, listener.address().tcp_port, patience_)) {
    CHECK(ReceiveAll(socket_.get(), &challenge_, sizeof(challenge_), patience_));
  }

  const Nonce& challenge() const { return challenge_.nonce; }
  Hello HelloWith(const std::vector<uint8_t>& secret) const {
    Hello hello;
    hello.from = 1;
    hello.nonce = NewNonce();
    hello.proof = Secret(secret).ProveConnecting(challenge_.nonce, hello);
    return hello;
  }
  // Whether the listener answers these bytes with anything but the end of the connection.
  bool Answers(const void* data, size_t bytes) {
    CHECK(SendAtOnce(socket_.get(), data, bytes));
    return ReceiveAll(socket_.get(), &answer_, sizeof(answer_), patience_);
  }
  bool Answers(const Hello& hello) { return Answers(&hello, sizeof(hello)); }
  const Proof& answer() const { return answer_; }

 private:
  const std::shared_ptr<AbortFlag> abort_ = std::make_shared<AbortFlag>();
  const Deadline deadline_{5000};
  const Patience patience_{deadline_, *abort_};
  FileDescriptor socket_;
  Challenge challenge_;
  Proof answer_{};
};

bool LetsIn(const Listener& listener) {
  Visit visit(listener);
  return visit.Answers(visit.HelloWith(kSecret));
}

size_t NumOpenFiles() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

ConnectOptions GroupOfTwo(const std::shared_ptr<Listener>& lower, const std::shared_ptr<Listener>& higher, int rank) {
  ConnectOptions options;
  options.rank = rank;
  options.world_size = 2;
  options.timeout_ms = 200;
  options.communicator = 3;
  options.epoch = 4;
  options.peers = {{0, "hosta", lower->address().Format()}, {1, "hosta", higher->address().Format()}};
  return options;
}

std::string ConnectError(const std::shared_ptr<Listener>& listener, const ConnectOptions& options) {
  try {
    ConnectTransport(listener, options, std::make_shared<AbortFlag>());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST("Listener: lets in who knows the secret, and nobody else") {
  const auto listener = NewListener("secret", 0);
  Visit right(*listener);
  const Hello hello = right.HelloWith(kSecret);
  CHECK(right.Answers(hello));
  CHECK(SameProof(right.answer(), Secret(kSecret).ProveAccepting(right.challenge(), hello)));

  Visit wrong(*listener);
  CHECK(!wrong.Answers(wrong.HelloWith(std::vector<uint8_t>(32, 8))));
  Visit last_bit(*listener);
  Hello changed = last_bit.HelloWith(kSecret);
  changed.proof[31] ^= 1;
  CHECK(!last_bit.Answers(changed));
  Visit garbage(*listener);
  const std::string bytes(5000, 'x');
  CHECK(!garbage.Answers(bytes.data(), bytes.size()));
}

TEST("Listener: an overheard hello opens nothing, neither again nor for another rank") {
  const auto listener = NewListener("replay", 0);
  Visit overheard(*listener);
  const Hello hello = overheard.HelloWith(kSecret);
  CHECK(overheard.Answers(hello));
  Visit replay(*listener);
  CHECK(replay.challenge() != overheard.challenge());
  CHECK(!replay.Answers(hello));

  Visit other_rank(*listener);
  Hello changed = other_rank.HelloWith(kSecret);
  changed.from = 2;
  CHECK(!other_rank.Answers(changed));
}

TEST("Proofs: of both sides differ, so that none can be sent back to its maker") {
  const Hello hello{.from = 1, .nonce = NewNonce()};
  const Nonce challenge = NewNonce();
  const Secret secret(kSecret);
  CHECK(!SameProof(secret.ProveConnecting(challenge, hello), secret.ProveAccepting(challenge, hello)));
}

// 10 000 with SHARDRUN_TEST_CONNECTIONS=10000.
TEST("Listener: any number of strangers leaves no connection and no memory behind") {
  const char* wanted = getenv("SHARDRUN_TEST_CONNECTIONS");
  const int num_connections = wanted == nullptr ? 300 : atoi(wanted);
  const auto listener = NewListener("many", 0);
  CHECK(LetsIn(*listener));  // whatever the first connection allocates for good
  const size_t num_files = NumOpenFiles();
  const size_t heap_bytes = mallinfo2().uordblks;
  const std::string garbage(500, 'x');
  for (int i = 0; i < num_connections; ++i) {
    Visit visit(*listener);
    if (i % 3 == 0) CHECK(!visit.Answers(visit.HelloWith(std::vector<uint8_t>(32, 8))));
    if (i % 3 == 1) CHECK(!visit.Answers(garbage.data(), garbage.size()));
    // The others leave after the challenge.
  }
  CHECK(LetsIn(*listener));
  CHECK(NumOpenFiles() <= num_files + 1);
  CHECK(mallinfo2().uordblks < heap_bytes + 16384);
}

TEST("Listener: says who was the first to be turned away, and only that") {
  std::vector<std::string> turned_away;
  ListenOptions options{"first-" + std::to_string(getpid()), 0, "127.0.0.1", kSecret};
  options.on_first_stranger = [&](const std::string& stranger) { turned_away.push_back(stranger); };
  {
    Listener listener(options);
    CHECK(LetsIn(listener));
    for (int i = 0; i < 2; ++i) {
      Visit visit(listener);
      CHECK(!visit.Answers(visit.HelloWith(std::vector<uint8_t>(32, 8))));
    }
  }
  CHECK_EQUAL(turned_away.size(), size_t{1});
  CHECK_EQUAL(turned_away.front().substr(0, 10), "127.0.0.1:");
}

TEST("Listener: half a hello is dropped after two seconds, and delays nobody") {
  const auto listener = NewListener("half", 0);
  Visit half(*listener);
  const Hello hello = half.HelloWith(kSecret);
  bool let_in = false;
  std::thread other([&] { let_in = LetsIn(*listener); });
  CHECK(!half.Answers(&hello, sizeof(hello) / 2));
  other.join();
  CHECK(let_in);
}

TEST("Listener: a crowd of strangers does not keep the peers out") {
  const auto listener = NewListener("crowd", 0);
  const auto abort = std::make_shared<AbortFlag>();
  const Deadline deadline(5000);
  std::vector<FileDescriptor> strangers;
  for (int i = 0; i < 200; ++i) {
    strangers.push_back(ConnectTcp(listener->address().tcp_host, listener->address().tcp_port, {deadline, *abort}));
  }
  CHECK(LetsIn(*listener));
}

TEST("Secret: too short or too long is refused") {
  for (const size_t size : {size_t{0}, size_t{15}, size_t{129}}) {
    std::string message;
    try {
      Secret(std::vector<uint8_t>(size, 1));
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK_EQUAL(message, "listen: expected a secret of 16 to 128 bytes, received " + std::to_string(size) + " bytes.");
  }
}

TEST("Address: survives its own format; anything else is refused") {
  const Address address = Address::Parse("unix=shardrun-a;tcp=b-1;tcp=::1:80");
  CHECK_EQUAL(address.unix_name, "shardrun-a;tcp=b-1");
  CHECK_EQUAL(address.tcp_host, "::1");
  CHECK_EQUAL(address.Format(), "unix=shardrun-a;tcp=b-1;tcp=::1:80");
  std::string message;
  try {
    Address::Parse("localhost:80");
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK_EQUAL(message, "connect: expected the address of a Listener, received \"localhost:80\".");
}

TEST("connect: names the peers that are missing, on either side") {
  const auto lower = NewListener("missing", 0);
  const auto higher = NewListener("missing", 1);
  const std::string rest =
      ", shm) for communicator 3, epoch 4. It may not have started, or may have ended: look at its "
      "output, or allow more time with timeoutMs.";
  CHECK_EQUAL(ConnectError(lower, GroupOfTwo(lower, higher, 0)),
              "connect timed out after 200 ms on rank 0 (hosta): no connection with rank 1 (hosta" + rest);
  ConnectOptions options = GroupOfTwo(lower, higher, 1);
  lower->Close();
  CHECK_EQUAL(ConnectError(higher, options),
              "connect timed out after 200 ms on rank 1 (hosta): no connection with rank 0 (hosta" + rest);
}

TEST("connect: an abort of the listener ends it at once, and whatever is connected later") {
  const auto lower = NewListener("abort", 0);
  const auto higher = NewListener("abort", 1);
  ConnectOptions options = GroupOfTwo(lower, higher, 0);
  options.timeout_ms = 0;
  std::thread aborter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lower->aborts().Raise("Rank 1 did not start.", 1);
  });
  const auto expect_abort = [&] {
    std::string message;
    try {
      ConnectTransport(lower, options, lower->aborts().CreateFlag());
    } catch (const Error& error) {
      message = error.what();
      CHECK_EQUAL(error.peer(), 1);
    }
    CHECK_EQUAL(message, "Rank 1 did not start.");
  };
  expect_abort();
  aborter.join();
  expect_abort();
}

TEST("connect: options that contradict each other are refused") {
  const auto lower = NewListener("refused", 0);
  const auto higher = NewListener("refused", 1);
  const ConnectOptions good = GroupOfTwo(lower, higher, 0);
  ConnectOptions options = good;
  options.rank = 2;
  CHECK_EQUAL(ConnectError(lower, options),
              "connect: expected 0 <= rank < worldSize, received rank 2 and worldSize 2.");
  options = good;
  options.peers.pop_back();
  CHECK_EQUAL(ConnectError(lower, options), "connect: expected one peer per rank, received 1 for worldSize 2.");
  CHECK_EQUAL(ConnectError(nullptr, good), "connect: expected a listener, as there are peers to accept.");
  options = good;
  options.transport = TransportKind::kShm;
  options.peers[1].host = "hostb";
  CHECK_EQUAL(ConnectError(lower, options),
              "connect: the transport shm needs all ranks on one host. Choose tcp or auto.");
}

TEST("listen: a rank that is taken is refused") {
  const auto first = NewListener("taken", 0);
  std::string message;
  try {
    NewListener("taken", 0);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK_EQUAL(message, "Listening on unix socket @shardrun-taken-" + std::to_string(getpid()) +
                           "-0 failed: Address already in use. Two processes of this run may have the same rank.");
}

}  // namespace shardrun

int main() { return check::RunAll(); }
