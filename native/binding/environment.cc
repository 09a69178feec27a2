#include "environment.h"

#include <memory>
#include <utility>

namespace shardrun {

Environment& Environment::Of(Napi::Env env) {
  auto* environment = env.GetInstanceData<Environment>();
  if (environment == nullptr) {
    environment = new Environment(env);
    env.SetInstanceData<Environment>(environment);
  }
  return *environment;
}

// Hooks run last in, first out: ours must run before the one by which js_thread_ closes, so it is added after it.
Environment::Environment(Napi::Env env) : env_(env), js_thread_(JsThread::New(env, "shardrun", 0, 1)) {
  js_thread_.Unref(env);
  napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Environment*>(self)->TearDown(); }, this);
}

Environment::~Environment() = default;

void Environment::TearDown() {
  for (const auto& stop : std::exchange(stops_, {})) stop();
}

void Environment::SetErrorClasses(const Napi::Object& classes) {
  const Napi::Array names = classes.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>();
    error_classes_[name] = Napi::Persistent(classes.Get(name).As<Napi::Function>());
  }
}

Napi::Function Environment::ErrorClass(const std::string& name) const {
  const auto found = error_classes_.find(name);
  return found == error_classes_.end() ? env_.Global().Get("Error").As<Napi::Function>() : found->second.Value();
}

void Environment::CallOnJsThread(Callback callback) {
  auto owned = std::make_unique<Callback>(std::move(callback));
  if (js_thread_.BlockingCall(owned.get()) == napi_ok) static_cast<void>(owned.release());
}

void Environment::RunCallback(Napi::Env env, Napi::Function, std::nullptr_t*, Callback* callback) {
  const std::unique_ptr<Callback> owned(callback);
  (*owned)(env);
}

void Environment::BeginPending() {
  if (num_pending_++ == 0) js_thread_.Ref(env_);
}

void Environment::EndPending() {
  if (--num_pending_ == 0) js_thread_.Unref(env_);
}

void Environment::AtTeardown(std::function<void()> stop) { stops_.push_back(std::move(stop)); }

}  // namespace shardrun
