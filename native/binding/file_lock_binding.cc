#include "file_lock_binding.h"

#include <optional>
#include <string>
#include <utility>

#include "../common/file_lock.h"
#include "environment.h"
#include "errors.h"

namespace shardrun {

namespace {

// Made by lockFile only, which hands it the lock.
class FileLockWrap : public Napi::ObjectWrap<FileLockWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "FileLock",
        {InstanceMethod<&FileLockWrap::Share>("share"), InstanceMethod<&FileLockWrap::Release>("release")});
  }

  explicit FileLockWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

  void Hold(FileLock lock) { lock_ = std::move(lock); }

 private:
  void Share(const Napi::CallbackInfo&) {
    if (lock_) lock_->Share();
  }

  void Release(const Napi::CallbackInfo&) { lock_.reset(); }

  std::optional<FileLock> lock_;
};

// lockFile(path, kind): FileLock | undefined
Napi::Value LockFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>();
  const bool exclusive = info[1].As<Napi::String>().Utf8Value() == "exclusive";
  auto lock = ThrowingJsErrors(
      env, [&] { return FileLock::TryTake(path, exclusive ? FileLock::Kind::kExclusive : FileLock::Kind::kShared); });
  if (!lock) return env.Undefined();
  const Napi::Object wrap = Environment::Of(env).constructors.at("FileLock").New({});
  FileLockWrap::Unwrap(wrap)->Hold(std::move(*lock));
  return wrap;
}

}  // namespace

void RegisterFileLock(Napi::Env env, Napi::Object exports) {
  Environment::Of(env).constructors["FileLock"] = Napi::Persistent(FileLockWrap::Define(env));
  exports.Set("lockFile", Napi::Function::New(env, LockFile));
}

}  // namespace shardrun
