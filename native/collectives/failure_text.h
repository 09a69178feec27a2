// Puts a failed call into words: what failed, with whom, on what, how much, how long; then what to do.
#pragma once

#include <string>

#include "../common/deadline.h"
#include "../transport/connect.h"
#include "../transport/failure.h"

namespace shardrun {

// What a call was about, for its error.
struct CallDescription {
  const char* verb;   // "recv", where the frame says send
  const char* label;  // whole, where the frame's is cut
  Frame frame;
};

const char* OpName(Op op);
std::string FailureText(const ConnectOptions& group, const CallDescription& call, const Deadline& deadline,
                        const Failure& failure);

}  // namespace shardrun
