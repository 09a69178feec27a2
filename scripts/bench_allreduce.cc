// Measures allReduce without Node: forks the ranks of one host, connects them, and times float32 sums of growing size.
//
//   bench_allreduce shm|tcp WORLD_SIZE BYTES...
//
// Rank 0 prints one line per size: "<bytes> <microseconds per call>", the mean over a loop that begins at a barrier.
// scripts/mpi_allreduce.c does the same with MPI_Allreduce; scripts/bench-collectives.mjs compares the two.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../native/collectives/group_communicator.h"

namespace {

using namespace shardrun;

constexpr int kMostRanks = 16;

// What the ranks must know of each other before they are connected, in memory they share.
struct Blackboard {
  std::atomic<int> num_written;
  char addresses[kMostRanks][256];
};

// About half a second per size: long enough that ranks do not owe their time to having been alone for a moment.
int NumCalls(size_t bytes) { return static_cast<int>((size_t{1} << 30) / (bytes + 16384)) + 1; }

void RunRank(int rank, int world_size, TransportKind transport, const std::vector<size_t>& sizes, Blackboard& board) {
  const auto listener = std::make_shared<Listener>(
      ListenOptions{"bench-" + std::to_string(getppid()), rank, "127.0.0.1", std::vector<uint8_t>(32, 1)});
  strncpy(board.addresses[rank], listener->address().Format().c_str(), sizeof(board.addresses[rank]) - 1);
  ++board.num_written;
  while (board.num_written < world_size) usleep(1000);
  ConnectOptions options;
  options.rank = rank;
  options.world_size = world_size;
  options.transport = transport;
  options.timeout_ms = 10000;
  for (int peer = 0; peer < world_size; ++peer) options.peers.push_back({peer, "localhost", board.addresses[peer]});
  GroupCommunicator communicator(listener, options, AbortFlag::Create());

  for (const size_t bytes : sizes) {
    std::vector<float> data(bytes / sizeof(float));
    const int num_calls = NumCalls(bytes);
    const auto call = [&] {
      communicator.AllReduce(data.data(), data.size(), DataType::kFloat32, ReduceOp::kSum, {"bench"});
    };
    for (int i = 0; i < num_calls / 10 + 2; ++i) call();
    communicator.Barrier({});
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < num_calls; ++i) call();
    const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
    if (rank == 0) printf("%zu %.3f\n", bytes, elapsed.count() / num_calls);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return fprintf(stderr, "usage: bench_allreduce shm|tcp WORLD_SIZE BYTES...\n"), 2;
  const TransportKind transport = strcmp(argv[1], "shm") == 0 ? TransportKind::kShm : TransportKind::kTcp;
  const int world_size = atoi(argv[2]);
  std::vector<size_t> sizes;
  for (int i = 3; i < argc; ++i) sizes.push_back(strtoull(argv[i], nullptr, 10));
  void* memory = mmap(nullptr, sizeof(Blackboard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* board = new (memory) Blackboard{};
  for (int rank = 0; rank < world_size; ++rank) {
    if (fork() != 0) continue;
    RunRank(rank, world_size, transport, sizes, *board);
    return 0;
  }
  int status;
  int failed = 0;
  while (wait(&status) > 0) failed |= status;
  return failed == 0 ? 0 : 1;
}
