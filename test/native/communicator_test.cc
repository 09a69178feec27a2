// The communicator over every transport with ranks as threads: results, their bits, and the ways in which calls fail.
#include <chrono>
#include <cstring>
#include <numeric>
#include <vector>

#include "../../native/transport/stream_transport.h"
#include "check.h"
#include "world.h"

namespace shardrun {

namespace {

constexpr TransportKind kTransports[] = {TransportKind::kShm, TransportKind::kTcp};
const CallInfo kProduct{"layers.3.o_proj"};

// Sums of these depend on the order in which they are taken.
float Sample(int rank, size_t i) { return (i % 7 == 0 ? 1e8f : 1.0f) / static_cast<float>(1 + rank + i % 13); }

std::vector<float> SumInRankOrder(int world_size, size_t count) {
  std::vector<float> sums(count);
  for (size_t i = 0; i < count; ++i) {
    sums[i] = Sample(0, i);
    for (int rank = 1; rank < world_size; ++rank) sums[i] += Sample(rank, i);
  }
  return sums;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void CheckNoErrors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) CHECK_EQUAL(error, "");
}

double SecondsOf(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST("AllReduce: every rank has the bits of the sum in rank order") {
  for (const TransportKind transport : kTransports) {
    for (const int world_size : {1, 2, 3, 4, 5, 16}) {
      World world(world_size, transport);
      // The limits of the algorithms in float32, and messages of several segments of shared memory, or blocks.
      const size_t one_shot = kOneShotBytes / sizeof(float);
      const size_t pair = kPairBytes / sizeof(float);
      for (const size_t count : {size_t{0}, size_t{1}, size_t{world_size - 1u}, size_t{1000}, one_shot, one_shot + 1,
                                 pair, pair + 1, size_t{150001}, size_t{270001}}) {
        const std::vector<float> expected = SumInRankOrder(world_size, count);
        CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
          std::vector<float> data(count);
          for (size_t i = 0; i < count; ++i) data[i] = Sample(communicator.rank(), i);
          communicator.AllReduce(data.data(), count, DataType::kFloat32, ReduceOp::kSum, kProduct);
          CHECK(SameBits(data, expected));
        }));
      }
    }
  }
}

TEST("AllGather, ReduceScatter: sizes differ per rank, some are zero, some take several segments") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    for (const std::vector<size_t>& counts :
         {std::vector<size_t>{0, 0, 0}, std::vector<size_t>{5, 0, 2}, std::vector<size_t>{0, 200000, 90000}}) {
      const size_t total = std::accumulate(counts.begin(), counts.end(), size_t{0});
      const std::vector<float> sums = SumInRankOrder(3, total);
      CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
        const int rank = communicator.rank();
        std::vector<float> input(total);
        for (size_t i = 0; i < total; ++i) input[i] = Sample(rank, i);
        std::vector<float> mine(counts[rank]);
        communicator.ReduceScatter(input.data(), mine.data(), counts, DataType::kFloat32, ReduceOp::kSum, kProduct);
        std::vector<size_t> bytes;
        for (const size_t count : counts) bytes.push_back(count * sizeof(float));
        std::vector<float> all(total);
        communicator.AllGather(mine.data(), all.data(), bytes, kProduct);
        CHECK(SameBits(all, sums));
      }));
    }
  }
}

TEST("Broadcast, BroadcastMessage: from every root, of every size") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{32 << 10}, size_t{(32 << 10) + 1}, size_t{5 << 20}}) {
      for (int root = 0; root < 3; ++root) {
        CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
          const bool is_root = communicator.rank() == root;
          const std::vector<uint8_t> sent(size, static_cast<uint8_t>(1 + root));
          std::vector<uint8_t> data = is_root ? sent : std::vector<uint8_t>(size);
          communicator.Broadcast(data.data(), size, root, {});
          CHECK(data == sent);
          std::vector<uint8_t> message = is_root ? sent : std::vector<uint8_t>(3);
          communicator.BroadcastMessage(&message, root, {});
          CHECK(message == sent);
        }));
      }
    }
  }
}

TEST("Send, Recv: in order, between all pairs, among collectives") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
      const int rank = communicator.rank();
      for (int from = 0; from < 3; ++from) {
        for (int to = 0; to < 3; ++to) {
          std::vector<int> data(100000, rank == from ? from * 10 + to : -1);
          const size_t bytes = data.size() * sizeof(int);
          if (rank == from && from != to) communicator.Send(data.data(), bytes, to, {});
          if (rank == to && from != to) communicator.Recv(data.data(), bytes, from, {});
          if (rank == to && from != to) CHECK(data == std::vector<int>(data.size(), from * 10 + to));
        }
        communicator.Barrier({});
      }
    }));
  }
}

TEST("A rank that does not come: a timeout that names it, and what it was about") {
  for (const TransportKind transport : kTransports) {
    World world(2, transport);
    const std::string name = world.communicators[0]->transport();
    const auto errors = world.Run([&](GroupCommunicator& communicator) {
      std::vector<float> data(14336);
      if (communicator.rank() == 0) {
        communicator.AllReduce(data.data(), data.size(), DataType::kFloat32, ReduceOp::kSum, {"layers.3.o_proj", 100});
      }
    });
    CHECK_EQUAL(errors[0], "allReduce timed out after 100 ms on rank 0 (hosta): nothing received from rank 1 (hosta, " +
                               name +
                               ") for \"layers.3.o_proj\" [14336] float32, 57344 bytes. Look at the output of "
                               "rank 1, which may be stopped or busy, or allow more time with timeoutMs.");
    // The communicator has ended: later calls say why. Its peer still finds what was given, and learns it in its next
    // call.
    const auto later = world.Run([&](GroupCommunicator& communicator) {
      std::vector<float> data(14336);
      if (communicator.rank() == 1) {
        communicator.AllReduce(data.data(), data.size(), DataType::kFloat32, ReduceOp::kSum, kProduct);
      }
      communicator.Barrier({});
    });
    CHECK_EQUAL(later[0], errors[0]);
    CHECK_EQUAL(later[1], "barrier failed on rank 1 (hosta): rank 0 (hosta, " + name + ") gave up with: " + errors[0]);
  }
}

TEST("Ranks in different calls: both say which") {
  for (const TransportKind transport : kTransports) {
    World world(2, transport);
    const std::string name = world.communicators[0]->transport();
    const auto errors = world.Run([&](GroupCommunicator& communicator) {
      std::vector<float> data(4);
      if (communicator.rank() == 0) {
        communicator.AllReduce(data.data(), 4, DataType::kFloat32, ReduceOp::kSum, {"a"});
      } else {
        communicator.AllReduce(data.data(), 4, DataType::kInt32, ReduceOp::kMax, {"b"});
      }
    });
    const std::string a = "step 1: allReduce (sum) of \"a\" [4] float32, 16 bytes";
    const std::string b = "step 1: allReduce (max) of \"b\" [4] int32, 16 bytes";
    const std::string remedy = ". Every rank must make the same calls, in the same order and with the same sizes.";
    CHECK_EQUAL(errors[0], "allReduce failed on rank 0 (hosta): rank 1 (hosta, " + name + ") is at " + b +
                               "; this rank at " + a + remedy);
    CHECK_EQUAL(errors[1], "allReduce failed on rank 1 (hosta): rank 0 (hosta, " + name + ") is at " + a +
                               "; this rank at " + b + remedy);
  }
}

TEST("An abort from another thread ends a wait without a deadline at once, and tells the peers") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    const std::string name = world.communicators[0]->transport();
    std::thread aborter([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      world.communicators[1]->Abort("Rank 2 left.", 2);
    });
    std::vector<std::string> errors;
    const double seconds = SecondsOf([&] {
      errors = world.Run([&](GroupCommunicator& communicator) {
        if (communicator.rank() != 2) communicator.Barrier({"", 0});
      });
    });
    aborter.join();
    CHECK(seconds < 2);
    CHECK_EQUAL(errors[0], "barrier failed on rank 0 (hosta): rank 1 (hosta, " + name + ") gave up with: Rank 2 left.");
    CHECK_EQUAL(errors[1], "Rank 2 left.");
  }
}

TEST("An abort between calls is told to the peers, too") {
  for (const TransportKind transport : kTransports) {
    World world(2, transport);
    const std::string name = world.communicators[0]->transport();
    std::thread aborter([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      world.communicators[1]->Abort("Stopped.", -1);
    });
    const auto errors = world.Run([&](GroupCommunicator& communicator) {
      if (communicator.rank() == 0) communicator.Barrier({"", 0});
    });
    aborter.join();
    CHECK_EQUAL(errors[0], "barrier failed on rank 0 (hosta): rank 1 (hosta, " + name + ") gave up with: Stopped.");
  }
}

TEST("A peer that closes after its last call does not disturb the others; one that closes before is missed") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
      if (communicator.rank() == 2) std::this_thread::sleep_for(std::chrono::milliseconds(150));
      communicator.Barrier({});
      if (communicator.rank() != 2) communicator.Close();
    }));
    const auto errors = world.Run([&](GroupCommunicator& communicator) {
      if (communicator.rank() == 2) communicator.Barrier({});
    });
    CHECK(errors[2].find("the connection to rank ") != std::string::npos);
  }
}

TEST("A long allReduce of which one rank stays away: the others name it") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    const std::string name = world.communicators[0]->transport();
    std::vector<float> data[3];
    const auto add_without_rank_1 = [&](GroupCommunicator& communicator) {
      const int rank = communicator.rank();
      data[rank].resize(3000000);
      const CallInfo info{"long", rank == 0 ? 300 : 0};
      if (rank != 1) communicator.AllReduce(data[rank].data(), 3000000, DataType::kFloat32, ReduceOp::kSum, info);
    };
    std::vector<std::string> errors;
    const double seconds = SecondsOf([&] { errors = world.Run(add_without_rank_1); });
    CHECK(seconds < 5);
    CHECK_EQUAL(errors[0], "allReduce timed out after 300 ms on rank 0 (hosta): nothing received from rank 1 (hosta, " +
                               name +
                               ") for \"long\" [3000000] float32, 12000000 bytes. Look at the output of rank 1, "
                               "which may be stopped or busy, or allow more time with timeoutMs.");
    CHECK_EQUAL(errors[2], "allReduce failed on rank 2 (hosta): rank 0 (hosta, " + name +
                               ") gave up with: " + errors[0]);
  }
}

TEST("Long allReduces and short ones in turn keep in step") {
  for (const TransportKind transport : kTransports) {
    World world(3, transport);
    CheckNoErrors(world.Run([&](GroupCommunicator& communicator) {
      for (const size_t count : {300000, 3, 100000, 5000, 0, 262144}) {
        std::vector<int> data(count, communicator.rank() + 1);
        communicator.AllReduce(data.data(), count, DataType::kInt32, ReduceOp::kSum, {});
        CHECK(data == std::vector<int>(count, 6));
        std::vector<uint16_t> message(10, communicator.rank() == 2 ? 7 : 0);
        communicator.Broadcast(message.data(), 20, 2, {});
        CHECK(message == std::vector<uint16_t>(10, 7));
      }
    }));
  }
}

TEST("Communicators of one process do not disturb each other") {
  World first(2, TransportKind::kShm);
  World second(2, TransportKind::kTcp);
  std::thread other([&] {
    CheckNoErrors(second.Run([](GroupCommunicator& communicator) {
      for (int i = 0; i < 200; ++i) communicator.Barrier({});
    }));
  });
  CheckNoErrors(first.Run([](GroupCommunicator& communicator) {
    for (int i = 0; i < 200; ++i) communicator.Barrier({});
    CHECK_EQUAL(communicator.statistics().calls, uint64_t{200});
  }));
  other.join();
}

}  // namespace shardrun

int main() { return check::RunAll(); }
