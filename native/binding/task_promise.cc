#include "task_promise.h"

#include <exception>
#include <memory>
#include <utility>

#include "environment.h"
#include "errors.h"

namespace shardrun {

namespace {

// One promise on its way: created and destroyed on the JavaScript thread, filled on the task's.
struct Pending {
  explicit Pending(Napi::Env env) : environment(Environment::Of(env)), deferred(Napi::Promise::Deferred::New(env)) {
    environment.BeginPending();
  }

  void Settle(Napi::Env env) {
    environment.EndPending();
    if (thrown) return deferred.Reject(ToJsError(env, thrown).Value());
    try {
      deferred.Resolve(finish(env));
    } catch (...) {
      deferred.Reject(ToJsError(env, std::current_exception()).Value());
    }
  }

  Environment& environment;
  Napi::Promise::Deferred deferred;
  std::vector<Napi::ObjectReference> keep_alive;
  std::function<void()> work;
  std::function<Napi::Value(Napi::Env)> finish;
  std::exception_ptr thrown;
};

void RunAndReport(std::shared_ptr<Pending> pending) {
  try {
    pending->work();
  } catch (...) {
    pending->thrown = std::current_exception();
  }
  Environment& environment = pending->environment;
  environment.CallOnJsThread([pending = std::move(pending)](Napi::Env env) {
    if (env != nullptr) pending->Settle(env);
  });
}

}  // namespace

Napi::Promise RunTask(Napi::Env env, TaskThread& thread, const std::vector<Napi::Object>& keep_alive,
                      std::function<void()> work, std::function<Napi::Value(Napi::Env)> finish) {
  auto pending = std::make_shared<Pending>(env);
  const Napi::Promise promise = pending->deferred.Promise();
  for (const Napi::Object& object : keep_alive) pending->keep_alive.push_back(Napi::Persistent(object));
  pending->work = std::move(work);
  pending->finish = std::move(finish);
  if (!thread.Post([pending]() mutable { RunAndReport(std::move(pending)); })) {
    pending->thrown =
        std::make_exception_ptr(Error(Error::Kind::kUsage, "The communicator is closed: create another one."));
    pending->Settle(env);
  }
  return promise;
}

Napi::Promise RunTask(Napi::Env env, TaskThread& thread, const std::vector<Napi::Object>& keep_alive,
                      std::function<void()> work) {
  return RunTask(env, thread, keep_alive, std::move(work), [](Napi::Env env) { return env.Undefined(); });
}

}  // namespace shardrun
