// The words that every floor of native/ uses: element types, reductions, errors, deadlines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace shardrun {

enum class DataType : uint8_t { kFloat32, kFloat16, kBFloat16, kInt32, kInt64, kUInt8 };
enum class ReduceOp : uint8_t { kSum, kMax };

// A failure that reaches JavaScript as the class named by `kind` (CollectiveError, ExecutionError, UsageError,
// InternalError).
class Error : public std::runtime_error {
 public:
  enum class Kind { kCollective, kExecution, kUsage, kInternal };
  // `peer` is the rank that caused it, or -1.
  Error(Kind kind, const std::string& message, int peer = -1) : std::runtime_error(message), kind_(kind), peer_(peer) {}
  Kind kind() const { return kind_; }
  int peer() const { return peer_; }

 private:
  Kind kind_;
  int peer_;
};

}  // namespace shardrun
