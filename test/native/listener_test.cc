// Who gets past the listener, and what connect says when a peer is missing.
#include "../../native/transport/listener.h"

#include <sys/socket.h>

#include <chrono>
#include <cstring>
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

Hello HelloFrom(int rank, const std::vector<uint8_t>& secret) {
  Hello hello;
  hello.from = rank;
  hello.proof = Secret(secret).connecting();
  return hello;
}

// Sends bytes to a listener over TCP; whether it answers with anything but the end of the connection.
bool Answers(const Listener& listener, const void* data, size_t bytes) {
  const auto abort = AbortFlag::Create();
  const Deadline deadline(5000);
  const Patience patience{deadline, *abort};
  const FileDescriptor socket = ConnectTcp(listener.address().tcp_host, listener.address().tcp_port, patience);
  CHECK(static_cast<bool>(socket));
  CHECK(SendAtOnce(socket.get(), data, bytes));
  Proof answer;
  return ReceiveAll(socket.get(), &answer, sizeof(answer), patience);
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
    ConnectTransport(listener, options, AbortFlag::Create());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST("Listener: lets in who knows the secret, and nobody else") {
  const auto listener = NewListener("secret", 0);
  const Hello right = HelloFrom(1, kSecret);
  CHECK(Answers(*listener, &right, sizeof(right)));

  const Hello wrong = HelloFrom(1, std::vector<uint8_t>(32, 8));
  CHECK(!Answers(*listener, &wrong, sizeof(wrong)));
  Hello last_bit = right;
  last_bit.proof[15] ^= 1;
  CHECK(!Answers(*listener, &last_bit, sizeof(last_bit)));
  const std::string garbage(5000, 'x');
  CHECK(!Answers(*listener, garbage.data(), garbage.size()));
}

TEST("Listener: half a hello is dropped after two seconds, and delays nobody") {
  const auto listener = NewListener("half", 0);
  const Hello hello = HelloFrom(1, kSecret);
  std::thread other([&] { CHECK(Answers(*listener, &hello, sizeof(hello))); });
  CHECK(!Answers(*listener, &hello, sizeof(hello) / 2));
  other.join();
}

TEST("Listener: a crowd of strangers does not keep the peers out") {
  const auto listener = NewListener("crowd", 0);
  const auto abort = AbortFlag::Create();
  const Deadline deadline(5000);
  std::vector<FileDescriptor> strangers;
  for (int i = 0; i < 200; ++i) {
    strangers.push_back(ConnectTcp(listener->address().tcp_host, listener->address().tcp_port, {deadline, *abort}));
  }
  const Hello hello = HelloFrom(1, kSecret);
  CHECK(Answers(*listener, &hello, sizeof(hello)));
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

TEST("connect: an abort ends it at once") {
  const auto lower = NewListener("abort", 0);
  const auto higher = NewListener("abort", 1);
  ConnectOptions options = GroupOfTwo(lower, higher, 0);
  options.timeout_ms = 0;
  const auto abort = AbortFlag::Create();
  std::thread aborter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    AbortAll("Rank 1 did not start.", 1);
  });
  std::string message;
  try {
    ConnectTransport(lower, options, abort);
  } catch (const Error& error) {
    message = error.what();
    CHECK_EQUAL(error.peer(), 1);
  }
  aborter.join();
  CHECK_EQUAL(message, "Rank 1 did not start.");
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
