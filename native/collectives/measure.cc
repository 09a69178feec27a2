#include "measure.h"

#include <time.h>

#include <cstdint>
#include <vector>

namespace shardrun {

namespace {

// Begins and ends at a barrier, so that no rank measures the others' way here.
template <typename Call>
double MeanNanoseconds(Communicator& communicator, int num_calls, Call&& call) {
  call();
  communicator.Barrier({"measuring"});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < num_calls; ++i) call();
  const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
  communicator.Barrier({"measuring"});
  return elapsed.count() / num_calls;
}

std::chrono::nanoseconds ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// On a core, as a product does: time in which the thread waits for one is not work.
void Compute(std::chrono::nanoseconds work) {
  const std::chrono::nanoseconds end = ThreadTime() + work;
  while (ThreadTime() < end) {
  }
}

}  // namespace

double MeasureAllReduce(Communicator& communicator, size_t bytes, int num_calls, const MeasuredWork& work) {
  std::vector<float> data(bytes / sizeof(float));
  const int rank = communicator.rank();
  if (work.num_ranks > 0 && work.num_ranks < communicator.world_size()) {
    if (rank >= work.num_ranks) return MeanNanoseconds(communicator, 1, [] {});
    std::vector<float> received(data.size());
    return MeanNanoseconds(communicator, num_calls, [&] {
      Compute(work.each);
      for (int peer = 0; peer < work.num_ranks; ++peer) {
        if (peer != rank) communicator.Send(data.data(), bytes, peer, {"measuring"});
      }
      for (int peer = 0; peer < work.num_ranks; ++peer) {
        if (peer != rank) communicator.Recv(received.data(), bytes, peer, {"measuring"});
      }
    });
  }
  return MeanNanoseconds(communicator, num_calls, [&] {
    if (work.num_ranks > 0) Compute(work.each);
    communicator.AllReduce(data.data(), data.size(), DataType::kFloat32, ReduceOp::kSum, {"measuring"});
  });
}

double MeasurePingPong(Communicator& communicator, size_t bytes, int num_calls) {
  std::vector<uint8_t> data(bytes);
  const int last = communicator.world_size() - 1;
  const bool begins = communicator.rank() == 0;
  if (!begins && communicator.rank() != last) {
    MeanNanoseconds(communicator, 1, [] {});
    return 0;
  }
  return MeanNanoseconds(communicator, num_calls,
                         [&] {
                           if (begins) communicator.Send(data.data(), bytes, last, {"measuring"});
                           communicator.Recv(data.data(), bytes, begins ? last : 0, {"measuring"});
                           if (!begins) communicator.Send(data.data(), bytes, 0, {"measuring"});
                         }) /
         2;
}

}  // namespace shardrun
