// What the addon keeps per environment (the main thread and each worker_thread load it once): the error classes, the
// way back to the JavaScript thread, and what must be stopped before the environment goes.
#pragma once

#include <napi.h>

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardrun {

class Environment {
 public:
  // The one of `env`, created at first use.
  static Environment& Of(Napi::Env env);
  ~Environment();

  // setErrorClasses(classes): the constructors that ToJsError throws, by name.
  void SetErrorClasses(const Napi::Object& classes);
  // The class handed in under this name; plain Error when there is none.
  Napi::Function ErrorClass(const std::string& name) const;

  // From any thread, until the environment is torn down: runs `callback` on the JavaScript thread. During teardown it
  // gets a null env.
  void CallOnJsThread(std::function<void(Napi::Env)> callback);
  // Pending work keeps the event loop alive. On the JavaScript thread.
  void BeginPending();
  void EndPending();

  // `stop` runs on the JavaScript thread before the environment goes: no native thread may touch JavaScript memory
  // after it.
  void AtTeardown(std::function<void()> stop);

  std::unordered_map<std::string, Napi::FunctionReference> constructors;  // of wrapped classes, by name

 private:
  using Callback = std::function<void(Napi::Env)>;
  static void RunCallback(Napi::Env env, Napi::Function unused, std::nullptr_t* context, Callback* callback);
  using JsThread = Napi::TypedThreadSafeFunction<std::nullptr_t, Callback, RunCallback>;

  explicit Environment(Napi::Env env);
  void TearDown();

  Napi::Env env_;
  JsThread js_thread_;
  int num_pending_ = 0;
  std::unordered_map<std::string, Napi::FunctionReference> error_classes_;
  std::vector<std::function<void()>> stops_;
};

}  // namespace shardrun
