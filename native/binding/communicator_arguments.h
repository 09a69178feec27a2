// Reads the arguments of a communicator's calls, and checks what would otherwise reach past the memory handed in.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../collectives/communicator.h"
#include "../transport/connect.h"

namespace shardrun {

// All of these throw Error(kUsage) for what does not fit.

ConnectOptions ConnectOptionsOf(const Napi::Object& options);
DataType DataTypeOf(const Napi::Value& value);
ReduceOp ReduceOpOf(const Napi::Value& value);
// One size per rank.
std::vector<size_t> SizesOf(const Napi::Value& value, const char* verb, int world_size);

// The memory of a Uint8Array.
struct Bytes {
  uint8_t* data;
  size_t size;
  Napi::Object owner;

  static Bytes Of(const Napi::Value& value);
  // The number of elements. Checks that they are whole and aligned.
  size_t CountOf(DataType type, const char* verb) const;
  void CheckSize(size_t expected, const char* verb, const char* name) const;
};

// CallOptions, kept for the time of the call.
struct Call {
  std::string label;
  int64_t timeout_ms = -1;

  static Call Of(const Napi::Value& options);
  CallInfo info() const { return {label.c_str(), timeout_ms}; }
};

}  // namespace shardrun
