// Groups of several hosts, some with several ranks: shared memory inside a host and TCP between them in one communicator.
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "world.h"

namespace shardrun {

namespace {

// 2+2, 3+1, 2+2+3, hosts taking turns, 4+4, and 1+2.
const std::vector<std::string> kLayouts[] = {{"a", "a", "b", "b"},
                                             {"a", "a", "a", "b"},
                                             {"a", "a", "b", "b", "c", "c", "c"},
                                             {"a", "b", "a", "b", "c"},
                                             {"a", "a", "a", "a", "b", "b", "b", "b"},
                                             {"a", "b", "b"}};

// Sums of these depend on the order in which they are taken.
float Sample(int rank, size_t i) { return (i % 7 == 0 ? 1e8f : 1.0f) / static_cast<float>(1 + rank + i % 13); }

void Add(std::vector<float>& sums, const std::vector<float>& values) {
  if (sums.empty()) {
    sums = values;
  } else {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
}

std::vector<float> SamplesOf(int rank, size_t count) {
  std::vector<float> data(count);
  for (size_t i = 0; i < count; ++i) data[i] = Sample(rank, i);
  return data;
}

std::vector<float> SumInRankOrder(const std::vector<std::string>& hosts, size_t count) {
  std::vector<float> sums;
  for (size_t rank = 0; rank < hosts.size(); ++rank) Add(sums, SamplesOf(static_cast<int>(rank), count));
  return sums;
}

// The layouts name their hosts in the order of the alphabet.
std::vector<float> SumHostByHost(const std::vector<std::string>& hosts, size_t count) {
  std::map<std::string, std::vector<float>> host_sums;
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    Add(host_sums[hosts[rank]], SamplesOf(static_cast<int>(rank), count));
  }
  std::vector<float> sums;
  for (const auto& [host, host_sum] : host_sums) Add(sums, host_sum);
  return sums;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void CheckNoErrors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) CHECK_EQUAL(error, "");
}

}  // namespace

TEST("AllReduce: few bytes in rank order, many host by host; the same bits on every rank") {
  for (const auto& hosts : kLayouts) {
    World world(hosts, TransportKind::kAuto);
    CHECK_EQUAL(world.communicators[0]->transport(), std::string("shm+tcp"));
    // The last ones take several blocks, and several steps inside a host.
    for (const size_t count : {size_t{1}, size_t{4096}, size_t{4097}, size_t{32769}, size_t{300001}, size_t{1100003}}) {
      const auto expected = count <= 4096 ? SumInRankOrder(hosts, count) : SumHostByHost(hosts, count);
      CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
        std::vector<float> data = SamplesOf(communicator.rank(), count);
        communicator.AllReduce(data.data(), count, DataType::kFloat32, ReduceOp::kSum, {"sum"});
        CHECK(SameBits(data, expected));
      }));
    }
  }
}

TEST("Many calls of all kinds in a row keep in step") {
  World world(kLayouts[2], TransportKind::kAuto);
  CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
    const int rank = communicator.rank();
    const int world_size = communicator.world_size();
    for (int round = 0; round < 30; ++round) {
      std::vector<int> data(round % 2 == 0 ? 10 : 30000, rank);
      communicator.AllReduce(data.data(), data.size(), DataType::kInt32, ReduceOp::kSum, {});
      CHECK(data == std::vector<int>(data.size(), world_size * (world_size - 1) / 2));
      const int root = round % world_size;
      std::vector<uint8_t> message(rank == root ? 1000 * round : 0, 1);
      communicator.BroadcastMessage(&message, root, {});
      CHECK(message == std::vector<uint8_t>(1000 * round, 1));
      const int peer = (round + 1) % world_size;
      if (rank == root) communicator.Send(&round, sizeof(round), peer, {});
      int received = -1;
      if (rank == peer) communicator.Recv(&received, sizeof(received), root, {});
      if (rank == peer) CHECK_EQUAL(received, round);
      communicator.Barrier({});
    }
  }));
}

TEST("Errors name the wire to the peer: shm inside a host, tcp between hosts") {
  for (const int absent : {1, 2}) {
    World world(kLayouts[0], TransportKind::kAuto);
    const auto errors = world.Run([&](GroupCommunicator& communicator) {
      if (communicator.rank() == 0) communicator.Barrier({"", 300});
      if (communicator.rank() != 0 && communicator.rank() != absent) communicator.Barrier({"", 3000});
    });
    const std::string name = absent == 1 ? "rank 1 (a, shm)" : "rank 2 (b, tcp)";
    CHECK_EQUAL(errors[0], "barrier timed out after 300 ms on rank 0 (a): nothing received from " + name +
                               ". Look at the output of rank " + std::to_string(absent) +
                               ", which may be stopped or busy, or allow more time with timeoutMs.");
    CHECK(errors[3].find("gave up with: ") != std::string::npos);
  }
}

TEST("A rank of another host that goes away ends the calls that wait for it at once") {
  World world(kLayouts[0], TransportKind::kAuto);
  const auto start = std::chrono::steady_clock::now();
  const auto errors = world.Run([&](GroupCommunicator& communicator) {
    if (communicator.rank() == 3) communicator.Close();
    if (communicator.rank() != 3) communicator.Barrier({"", 0});
  });
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  for (int rank = 0; rank < 3; ++rank) CHECK(errors[rank].find("the connection to rank 3 (b, ") != std::string::npos);
}

}  // namespace shardrun

int main() { return check::RunAll(); }
