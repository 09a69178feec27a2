// How long calls take without Node around them: loops on the communicator's own thread. All ranks call them together.
#pragma once

#include <cstddef>

#include "communicator.h"

namespace shardrun {

// Nanoseconds of one allReduce of `bytes` bytes of float32, the mean of `num_calls`.
double MeasureAllReduce(Communicator& communicator, size_t bytes, int num_calls);
// Nanoseconds of half a round trip of `bytes` between the first rank and the last, likewise; 0 on all ranks but those.
double MeasurePingPong(Communicator& communicator, size_t bytes, int num_calls);

}  // namespace shardrun
