#include "session_binding.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../onnxruntime/session.h"
#include "arguments.h"
#include "communicator_binding.h"
#include "environment.h"
#include "errors.h"
#include "memory_binding.h"
#include "task_promise.h"

namespace shardrun {

namespace {

// What a session needs of JavaScript's memory for as long as it lives, beside itself.
struct SessionParts {
  std::shared_ptr<ort::GraphSession> session;
  CommunicatorHandle communicator;
  Napi::ObjectReference keep_alive;  // an array of the weights' bytes
};

class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Session",
        {InstanceMethod<&SessionWrap::Run>("run"), InstanceMethod<&SessionWrap::EndProfiling>("endProfiling"),
         InstanceMethod<&SessionWrap::Close>("close")});
  }

  // new Session(External<SessionParts>), by Create only.
  explicit SessionWrap(const Napi::CallbackInfo& info)
      : ObjectWrap(info), parts_(std::move(*info[0].As<Napi::External<SessionParts>>().Data())) {}

  static Napi::Value Create(Napi::Env env, SessionParts&& parts) {
    return Environment::Of(env).constructors.at("Session").New({Napi::External<SessionParts>::New(env, &parts)});
  }

 private:
  Napi::Value Run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Napi::Object options = info[0].As<Napi::Object>();
    std::vector<Napi::Object> keep_alive = {Value()};
    auto outcome = std::make_shared<ort::RunOutcome>();
    return ThrowingJsErrors(env, [&] {
      RequireOpen();
      ort::RunRequest request = RequestOf(options, &keep_alive);
      return RunTask(
          env, *parts_.communicator.thread, keep_alive,
          [session = parts_.session, request = std::move(request), outcome] { *outcome = session->Run(request); },
          [outcome](Napi::Env env) { return ResultOf(env, *outcome); });
    });
  }

  // endProfiling(): Promise<{ path, startMicroseconds }>, after the runs under way.
  Napi::Value EndProfiling(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto profile = std::make_shared<ort::SessionProfile>();
    return ThrowingJsErrors(env, [&] {
      RequireOpen();
      return RunTask(
          env, *parts_.communicator.thread, {Value()},
          [session = parts_.session, profile] { *profile = session->EndProfiling(); },
          [profile](Napi::Env env) {
            const Napi::Object result = Napi::Object::New(env);
            result.Set("path", profile->path);
            result.Set("startMicroseconds", static_cast<double>(profile->start_nanoseconds) / 1000);
            return result;
          });
    });
  }

  void RequireOpen() const {
    if (!parts_.session) throw Error(Error::Kind::kUsage, "The session is closed: create another one.");
  }

  // The runs under way end first: they are ahead on the same thread.
  Napi::Value Close(const Napi::CallbackInfo& info) {
    std::vector<Napi::Object> keep_alive;
    if (!parts_.keep_alive.IsEmpty()) keep_alive.push_back(parts_.keep_alive.Value());
    parts_.keep_alive.Reset();
    return RunTask(info.Env(), *parts_.communicator.thread, keep_alive,
                   [session = std::move(parts_.session)]() mutable { session.reset(); });
  }

  static ort::RunRequest RequestOf(const Napi::Object& options, std::vector<Napi::Object>* keep_alive) {
    ort::RunRequest request;
    for (const Napi::Object& feed : ObjectsOf(options, "feeds")) {
      request.feeds.push_back(TensorOf(feed));
      keep_alive->push_back(feed.Get("data").As<Napi::Object>());
    }
    const Napi::Array fetch = options.Get("fetch").As<Napi::Array>();
    for (uint32_t i = 0; i < fetch.Length(); ++i) request.fetch.push_back(fetch.Get(i).As<Napi::String>());
    if (!options.Get("cache").IsUndefined()) {
      const Napi::Object rows = options.Get("cache").As<Napi::Object>();
      request.cache = UnwrapKeyValueCache(rows.Get("cache"));
      request.first_row = IntOf(rows, "firstRow");
      request.num_rows = IntOf(rows, "numRows");
    }
    if (!options.Get("tokenSearch").IsUndefined()) {
      request.token_search = TokenSearchOf(options.Get("tokenSearch").As<Napi::Object>());
    }
    return request;
  }

  static ort::TokenSearch TokenSearchOf(const Napi::Object& options) {
    ort::TokenSearch search;
    if (!options.Get("output").IsUndefined()) search.output = StringOf(options, "output");
    search.num_positions = static_cast<size_t>(IntOf(options, "numPositions"));
    search.first_id = static_cast<int32_t>(IntOf(options, "firstId"));
    search.is_shard = options.Get("isShard").As<Napi::Boolean>();
    return search;
  }

  static Napi::Value ResultOf(Napi::Env env, ort::RunOutcome& outcome) {
    const Napi::Array outputs = Napi::Array::New(env, outcome.outputs.size());
    for (size_t i = 0; i < outcome.outputs.size(); ++i) {
      outputs.Set(static_cast<uint32_t>(i), ToJs(env, std::move(outcome.outputs[i])));
    }
    const Napi::Object result = Napi::Object::New(env);
    result.Set("outputs", outputs);
    Napi::Int32Array tokens = Napi::Int32Array::New(env, outcome.best_tokens.size());
    std::copy(outcome.best_tokens.begin(), outcome.best_tokens.end(), tokens.Data());
    result.Set("bestTokens", tokens);
    result.Set("nanoseconds", static_cast<double>(outcome.nanoseconds));
    result.Set("collectiveNanoseconds", static_cast<double>(outcome.collective_nanoseconds));
    return result;
  }

  SessionParts parts_;
};

Napi::Value OpenRuntime(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>();
  return ThrowingJsErrors(info.Env(),
                          [&] { return Napi::String::New(info.Env(), ort::Runtime::Open(path).version()); });
}

Napi::Value CreateSession(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = info[0].As<Napi::Object>();
  return ThrowingJsErrors(env, [&]() -> Napi::Value {
    auto parts = std::make_shared<SessionParts>();
    parts->communicator = UnwrapCommunicator(options.Get("communicator"));
    auto config = std::make_shared<ort::SessionConfig>();
    config->communicator = parts->communicator.communicator;
    config->intra_threads = static_cast<int>(IntOf(options, "intraThreads"));
    if (!options.Get("profilePrefix").IsUndefined()) config->profile_prefix = StringOf(options, "profilePrefix");
    const Napi::Uint8Array model = options.Get("model").As<Napi::Uint8Array>();
    config->model = model.Data();
    config->model_bytes = model.ByteLength();
    const Napi::Array weight_bytes = Napi::Array::New(env);
    for (const Napi::Object& weight : ObjectsOf(options, "weights")) {
      config->weights.push_back(TensorOf(weight));
      weight_bytes.Set(weight_bytes.Length(), weight.Get("data"));
    }
    parts->keep_alive = Napi::Persistent(weight_bytes.As<Napi::Object>());
    return RunTask(
        env, *parts->communicator.thread, {model, weight_bytes},
        [parts, config] { parts->session = std::make_shared<ort::GraphSession>(*config); },
        [parts](Napi::Env env) { return SessionWrap::Create(env, std::move(*parts)); });
  });
}

}  // namespace

void RegisterSession(Napi::Env env, Napi::Object exports) {
  Environment::Of(env).constructors["Session"] = Napi::Persistent(SessionWrap::Define(env));
  exports.Set("openRuntime", Napi::Function::New(env, OpenRuntime));
  exports.Set("createSession", Napi::Function::New(env, CreateSession));
}

}  // namespace shardrun
