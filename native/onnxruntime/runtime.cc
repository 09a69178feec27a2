#include "runtime.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "../common/types.h"

namespace shardrun::ort {

namespace {

constexpr const char* kRemedy =
    "Install onnxruntime-node with npm ci, or let SHARDRUN_ONNXRUNTIME name another libonnxruntime.";

std::mutex opening;
// Never destroyed: sessions of other threads may still run while the process exits.
std::atomic<const Runtime*> opened = nullptr;

void Check(const Api& api, Status* status, const std::string& what) {
  if (status == nullptr) return;
  std::string message = what + ": " + api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  message.erase(message.find_last_not_of(" \n") + 1);
  throw Error(Error::Kind::kExecution, message);
}

[[noreturn]] void Refuse(const std::string& what) { throw Error(Error::Kind::kUsage, what + " " + kRemedy); }

const ApiBase& LoadApiBase(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) Refuse(std::string("Opening onnxruntime failed: ") + dlerror() + ".");
  const auto get_api_base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (get_api_base == nullptr) Refuse(path + " is not onnxruntime: it does not export OrtGetApiBase.");
  return *get_api_base();
}

// "1.30.0" -> its API table. The table of version 1.N has the number N.
const void* LoadTable(const std::string& path, const ApiBase& base) {
  const std::string version = base.GetVersionString();
  const bool known_major = version.rfind("1.", 0) == 0;
  if (!known_major || std::atoi(version.c_str() + 2) < static_cast<int>(kApiVersion)) {
    Refuse("onnxruntime " + version + " at " + path + " does not serve: shardrun needs 1." +
           std::to_string(kApiVersion) + " or a later 1.x.");
  }
  const void* table = base.GetApi(kApiVersion);
  if (table == nullptr) {
    Refuse("onnxruntime " + version + " at " + path + " does not offer API version " + std::to_string(kApiVersion) +
           ".");
  }
  return table;
}

}  // namespace

Runtime::Runtime(const std::string& path, const ApiBase& base)
    : path_(path), version_(base.GetVersionString()), api_(LoadTable(path, base)) {
  if (!Works()) {
    throw Error(Error::Kind::kInternal,
                "onnxruntime " + version_ + " at " + path + " does not answer as its C API should. " + kRemedy);
  }
  // Errors arrive as statuses; the log would print them a second time.
  Check(api_, api_.CreateEnv(LoggingLevel::kFatal, "shardrun", &env_), "Starting onnxruntime failed");
  Check(api_, api_.CreateCpuMemoryInfo(AllocatorType::kArena, MemoryType::kDefault, &cpu_),
        "Describing CPU memory failed");
  Check(api_, api_.GetAllocatorWithDefaultOptions(&allocator_), "Getting onnxruntime's allocator failed");
}

bool Runtime::Works() const {
  Status* status = api_.CreateStatus(ErrorCode::kFail, "trial");
  if (status == nullptr) return false;
  const bool message_returned = std::strcmp(api_.GetErrorMessage(status), "trial") == 0;
  api_.ReleaseStatus(status);

  MemoryInfo* memory = nullptr;
  Value* value = nullptr;
  TypeAndShape* info = nullptr;
  float data[6] = {};
  const int64_t shape[2] = {2, 3};
  void* returned_data = nullptr;
  ElementType returned_type = ElementType::kUndefined;
  int64_t returned_shape[2] = {};
  size_t ndim = 0;
  const bool tensor_returned =
      message_returned && api_.CreateCpuMemoryInfo(AllocatorType::kArena, MemoryType::kDefault, &memory) == nullptr &&
      api_.CreateTensorWithDataAsOrtValue(memory, data, sizeof(data), shape, 2, ElementType::kFloat32, &value) ==
          nullptr &&
      api_.GetTensorMutableData(value, &returned_data) == nullptr && returned_data == data &&
      api_.GetTensorTypeAndShape(value, &info) == nullptr &&
      api_.GetTensorElementType(info, &returned_type) == nullptr && returned_type == ElementType::kFloat32 &&
      api_.GetDimensionsCount(info, &ndim) == nullptr && ndim == 2 &&
      api_.GetDimensions(info, returned_shape, 2) == nullptr && returned_shape[0] == 2 && returned_shape[1] == 3;
  if (info != nullptr) api_.ReleaseTensorTypeAndShapeInfo(info);
  if (value != nullptr) api_.ReleaseValue(value);
  if (memory != nullptr) api_.ReleaseMemoryInfo(memory);
  return tensor_returned;
}

const Runtime& Runtime::Open(const std::string& path) {
  std::lock_guard<std::mutex> lock(opening);
  const Runtime* runtime = opened.load();
  if (runtime == nullptr) {
    runtime = new Runtime(path, LoadApiBase(path));
    opened.store(runtime);
  } else if (runtime->path_ != path) {
    throw Error(Error::Kind::kUsage, "Cannot open onnxruntime at " + path + ": this process already uses the one at " +
                                         runtime->path_ + ".");
  }
  return *runtime;
}

const Runtime& Runtime::Get() {
  const Runtime* runtime = opened.load();
  if (runtime == nullptr) throw Error(Error::Kind::kUsage, "onnxruntime is not open: call openRuntime first.");
  return *runtime;
}

void Check(Status* status, const std::string& what) { Check(GetApi(), status, what); }

}  // namespace shardrun::ort
