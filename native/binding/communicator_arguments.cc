#include "communicator_arguments.h"

#include "../collectives/reduce.h"
#include "arguments.h"

namespace shardrun {

namespace {

Error UsageError(const std::string& message) { return Error(Error::Kind::kUsage, message); }

}  // namespace

ConnectOptions ConnectOptionsOf(const Napi::Object& options) {
  ConnectOptions result;
  result.communicator = static_cast<uint32_t>(IntOf(options, "id"));
  result.epoch = static_cast<uint32_t>(IntOf(options, "epoch"));
  result.rank = static_cast<int>(IntOf(options, "rank"));
  result.world_size = static_cast<int>(IntOf(options, "worldSize"));
  result.timeout_ms = IntOf(options, "timeoutMs");
  for (const Napi::Object& peer : ObjectsOf(options, "peers")) {
    result.peers.push_back({static_cast<int>(IntOf(peer, "rank")), StringOf(peer, "host"), StringOf(peer, "address")});
  }
  const std::string transport = StringOf(options, "transport");
  if (transport == "shm") {
    result.transport = TransportKind::kShm;
  } else if (transport == "tcp") {
    result.transport = TransportKind::kTcp;
  } else if (transport == "grpc") {
    result.transport = TransportKind::kGrpc;
  } else if (transport != "auto") {
    throw UsageError("connect: expected the transport auto, shm, tcp or grpc, received \"" + transport + "\".");
  }
  return result;
}

DataType DataTypeOf(const Napi::Value& value) {
  const std::string name = value.ToString();
  for (const DataType type : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16, DataType::kInt32,
                              DataType::kInt64, DataType::kUInt8}) {
    if (name == DataTypeName(type)) return type;
  }
  throw UsageError("Expected the data type float32, float16, bfloat16, int32, int64 or uint8, received \"" + name +
                   "\".");
}

ReduceOp ReduceOpOf(const Napi::Value& value) {
  const std::string name = value.ToString();
  if (name == "sum") return ReduceOp::kSum;
  if (name == "max") return ReduceOp::kMax;
  throw UsageError("Expected the reduction sum or max, received \"" + name + "\".");
}

std::vector<size_t> SizesOf(const Napi::Value& value, const char* verb, int world_size) {
  const Napi::Array array = value.As<Napi::Array>();
  if (static_cast<int>(array.Length()) != world_size) {
    throw UsageError(std::string(verb) + ": expected one size per rank, which makes " + std::to_string(world_size) +
                     ", received " + std::to_string(array.Length()) + ".");
  }
  std::vector<size_t> sizes;
  for (uint32_t i = 0; i < array.Length(); ++i) sizes.push_back(array.Get(i).As<Napi::Number>().Int64Value());
  return sizes;
}

Bytes Bytes::Of(const Napi::Value& value) {
  Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength(), array};
}

size_t Bytes::CountOf(DataType type, const char* verb) const {
  const size_t element_bytes = ElementBytes(type);
  if (size % element_bytes != 0 || reinterpret_cast<uintptr_t>(data) % element_bytes != 0) {
    throw UsageError(std::string(verb) + ": expected whole, aligned " + DataTypeName(type) + " elements of " +
                     std::to_string(element_bytes) + " bytes, received " + std::to_string(size) + " bytes at offset " +
                     std::to_string(owner.Get("byteOffset").As<Napi::Number>().Int64Value()) + " of their buffer.");
  }
  return size / element_bytes;
}

void Bytes::CheckSize(size_t expected, const char* verb, const char* name) const {
  if (size == expected) return;
  throw UsageError(std::string(verb) + ": expected " + name + " to have " + std::to_string(expected) +
                   " bytes, received " + std::to_string(size) + ".");
}

Call Call::Of(const Napi::Value& options) {
  Call call;
  if (options.IsUndefined()) return call;
  const Napi::Object object = options.As<Napi::Object>();
  const Napi::Value label = object.Get("label");
  const Napi::Value timeout_ms = object.Get("timeoutMs");
  if (!label.IsUndefined()) call.label = label.As<Napi::String>();
  if (!timeout_ms.IsUndefined()) call.timeout_ms = timeout_ms.As<Napi::Number>().Int64Value();
  return call;
}

}  // namespace shardrun
