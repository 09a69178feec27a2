// How long calls take without Node around them: loops on the communicator's own thread. All ranks call them together.
#pragma once

#include <chrono>
#include <cstddef>

#include "communicator.h"

namespace shardrun {

// What ranks compute before each call: ranks that meet after some work do not find each other spinning.
struct MeasuredWork {
  std::chrono::nanoseconds each{0};
  int num_ranks = 0;  // the first so many; 0: no work, and all ranks take part
};

// Nanoseconds of one allReduce of `bytes` bytes of float32 and of the work before it, the mean of `num_calls`. When
// only some ranks work they exchange the bytes as a group of their own would, directly, and the others do not take
// part: so few bytes that the sockets hold them.
double MeasureAllReduce(Communicator& communicator, size_t bytes, int num_calls, const MeasuredWork& work);
// Nanoseconds of half a round trip of `bytes` between the first rank and the last, likewise; 0 on all ranks but those.
double MeasurePingPong(Communicator& communicator, size_t bytes, int num_calls);

}  // namespace shardrun
