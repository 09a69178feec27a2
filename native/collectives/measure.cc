#include "measure.h"

#include <chrono>
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

}  // namespace

double MeasureAllReduce(Communicator& communicator, size_t bytes, int num_calls) {
  std::vector<float> data(bytes / sizeof(float));
  return MeanNanoseconds(communicator, num_calls, [&] {
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
