#include "listener_binding.h"

#include <utility>

#include "arguments.h"
#include "environment.h"
#include "errors.h"

namespace shardrun {

namespace {

class ListenerWrap : public Napi::ObjectWrap<ListenerWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Listener",
                       {InstanceAccessor<&ListenerWrap::GetAddress>("address"),
                        InstanceMethod<&ListenerWrap::Abort>("abort"), InstanceMethod<&ListenerWrap::Close>("close")});
  }

  // new Listener(ListenOptions), by listen only.
  explicit ListenerWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const Napi::Object options = info[0].As<Napi::Object>();
    const Napi::Uint8Array secret = options.Get("secret").As<Napi::Uint8Array>();
    if (const Napi::Value function = options.Get("onFirstStranger"); function.IsFunction()) {
      on_first_stranger_ = std::make_shared<Napi::FunctionReference>(Napi::Persistent(function.As<Napi::Function>()));
    }
    ThrowingJsErrors(info.Env(), [&] {
      listener_ = std::make_shared<Listener>(ListenOptions{
          StringOf(options, "runId"), static_cast<int>(IntOf(options, "rank")), StringOf(options, "tcpHost"),
          std::vector<uint8_t>(secret.Data(), secret.Data() + secret.ByteLength()), TellOfStranger(info.Env())});
    });
    Environment::Of(info.Env()).AtTeardown([weak = std::weak_ptr<Listener>(listener_)] {
      if (const auto listener = weak.lock()) listener->Close();
    });
  }

  const std::shared_ptr<Listener>& listener() const { return listener_; }

 private:
  Napi::Value GetAddress(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), listener_->address().Format());
  }

  void Abort(const Napi::CallbackInfo& info) {
    listener_->aborts().Raise(info[0].As<Napi::String>(), info[1].As<Napi::Number>());
  }

  void Close(const Napi::CallbackInfo&) { listener_->Close(); }

  // Takes the word to the JavaScript thread, where alone the function may be held.
  std::function<void(const std::string&)> TellOfStranger(Napi::Env env) {
    return
        [&environment = Environment::Of(env), weak = std::weak_ptr(on_first_stranger_)](const std::string& stranger) {
          environment.CallOnJsThread([weak, stranger](Napi::Env env) {
            const auto function = weak.lock();
            if (env != nullptr && function) function->Call({Napi::String::New(env, stranger)});
          });
        };
  }

  std::shared_ptr<Napi::FunctionReference> on_first_stranger_;
  std::shared_ptr<Listener> listener_;
};

Napi::Value Listen(const Napi::CallbackInfo& info) {
  return Environment::Of(info.Env()).constructors.at("Listener").New({info[0]});
}

}  // namespace

void RegisterListener(Napi::Env env, Napi::Object exports) {
  Environment::Of(env).constructors["Listener"] = Napi::Persistent(ListenerWrap::Define(env));
  exports.Set("listen", Napi::Function::New<Listen>(env, "listen"));
}

std::shared_ptr<Listener> UnwrapListener(const Napi::Value& value) {
  if (value.IsUndefined()) return nullptr;
  const Napi::Function constructor = Environment::Of(value.Env()).constructors.at("Listener").Value();
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor)) {
    throw Error(Error::Kind::kUsage, "connect: expected a Listener, as listen returns it.");
  }
  return ListenerWrap::Unwrap(value.As<Napi::Object>())->listener();
}

}  // namespace shardrun
