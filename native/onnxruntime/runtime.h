// The one onnxruntime of this process: opened from a path, checked, and kept until the process ends.
#pragma once

#include <memory>
#include <string>

#include "api.h"

namespace shardrun::ort {

class Runtime {
 public:
  // Opens the library at the first call; later calls must name the same path. From any thread.
  // Throws Error(kUsage) when there is no usable onnxruntime at `path`, Error(kInternal) when its table is not the one
  // we know.
  static const Runtime& Open(const std::string& path);
  // The opened one. Throws Error(kUsage) before Open.
  static const Runtime& Get();

  const Api& api() const { return api_; }
  const std::string& version() const { return version_; }
  const Env* env() const { return env_; }
  const MemoryInfo* cpu() const { return cpu_; }
  Allocator* allocator() const { return allocator_; }

 private:
  Runtime(const std::string& path, const ApiBase& base);
  // Makes and reads a status and a tensor: a table that is not the one of api.h would show here.
  bool Works() const;

  std::string path_;
  std::string version_;
  Api api_;
  Env* env_ = nullptr;
  MemoryInfo* cpu_ = nullptr;
  Allocator* allocator_ = nullptr;
};

inline const Api& GetApi() { return Runtime::Get().api(); }

// Throws Error(kExecution): `what` happened, then onnxruntime's own message. Does nothing for a null status.
void Check(Status* status, const std::string& what);

// Owners of onnxruntime's objects.
template <typename T, void (*Api::*release)(T*)>
struct Releaser {
  void operator()(T* object) const { (GetApi().*release)(object); }
};
template <typename T, void (*Api::*release)(T*)>
using Owned = std::unique_ptr<T, Releaser<T, release>>;
using OwnedValue = Owned<Value, &Api::ReleaseValue>;
using OwnedTypeAndShape = Owned<TypeAndShape, &Api::ReleaseTensorTypeAndShapeInfo>;
using OwnedSessionOptions = Owned<SessionOptions, &Api::ReleaseSessionOptions>;
using OwnedSession = Owned<Session, &Api::ReleaseSession>;
using OwnedBinding = Owned<IoBinding, &Api::ReleaseIoBinding>;
using OwnedDomain = Owned<CustomOpDomain, &Api::ReleaseCustomOpDomain>;

}  // namespace shardrun::ort
