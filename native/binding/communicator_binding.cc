#include "communicator_binding.h"

#include <chrono>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "../collectives/group_communicator.h"
#include "../collectives/measure.h"
#include "../transport/stream_transport.h"
#include "arguments.h"
#include "communicator_arguments.h"
#include "environment.h"
#include "errors.h"
#include "listener_binding.h"
#include "task_promise.h"

namespace shardrun {

namespace {

// What connect makes, on its way into the JavaScript object.
struct Connected {
  std::shared_ptr<GroupCommunicator> communicator;
  std::shared_ptr<TaskThread> thread;
};

class CommunicatorWrap : public Napi::ObjectWrap<CommunicatorWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Communicator",
        {InstanceAccessor<&CommunicatorWrap::Rank>("rank"), InstanceAccessor<&CommunicatorWrap::WorldSize>("worldSize"),
         InstanceAccessor<&CommunicatorWrap::Transport>("transport"),
         InstanceMethod<&CommunicatorWrap::AllReduce>("allReduce"),
         InstanceMethod<&CommunicatorWrap::AllGather>("allGather"),
         InstanceMethod<&CommunicatorWrap::ReduceScatter>("reduceScatter"),
         InstanceMethod<&CommunicatorWrap::Broadcast>("broadcast"),
         InstanceMethod<&CommunicatorWrap::BroadcastMessage>("broadcastMessage"),
         InstanceMethod<&CommunicatorWrap::Barrier>("barrier"), InstanceMethod<&CommunicatorWrap::Send>("send"),
         InstanceMethod<&CommunicatorWrap::Recv>("recv"), InstanceMethod<&CommunicatorWrap::Abort>("abort"),
         InstanceMethod<&CommunicatorWrap::Measure>("measure"),
         InstanceMethod<&CommunicatorWrap::GetStatistics>("statistics"),
         InstanceMethod<&CommunicatorWrap::Close>("close")});
  }

  // new Communicator(External<Connected>), by connect only.
  explicit CommunicatorWrap(const Napi::CallbackInfo& info)
      : ObjectWrap(info), connected_(*info[0].As<Napi::External<Connected>>().Data()) {}

  CommunicatorHandle handle() const { return {connected_.communicator, connected_.thread}; }

 private:
  using Work = std::function<void(GroupCommunicator&, const CallInfo&)>;

  GroupCommunicator& communicator() const { return *connected_.communicator; }

  Napi::Value Rank(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), communicator().rank()); }
  Napi::Value WorldSize(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), communicator().world_size());
  }
  Napi::Value Transport(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), communicator().transport());
  }

  // Runs `work` on the communicator's thread; resolves to what `finish` makes of it.
  Napi::Value RunCall(const Napi::CallbackInfo& info, const Napi::Value& options, std::vector<Napi::Object> keep_alive,
                      Work work, std::function<Napi::Value(Napi::Env)> finish) {
    keep_alive.push_back(Value());
    return RunTask(
        info.Env(), *connected_.thread, keep_alive,
        [communicator = connected_.communicator, call = Call::Of(options), work = std::move(work)] {
          work(*communicator, call.info());
        },
        std::move(finish));
  }
  Napi::Value RunCall(const Napi::CallbackInfo& info, const Napi::Value& options, std::vector<Napi::Object> keep_alive,
                      Work work) {
    return RunCall(info, options, std::move(keep_alive), std::move(work),
                   [](Napi::Env env) { return env.Undefined(); });
  }

  Napi::Value AllReduce(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] {
      const Bytes data = Bytes::Of(info[0]);
      const DataType type = DataTypeOf(info[1]);
      const ReduceOp op = ReduceOpOf(info[2]);
      const size_t count = data.CountOf(type, "allReduce");
      return RunCall(info, info[3], {data.owner},
                     [memory = data.data, count, type, op](GroupCommunicator& communicator, const CallInfo& call) {
                       communicator.AllReduce(memory, count, type, op, call);
                     });
    });
  }

  Napi::Value AllGather(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] {
      const Bytes input = Bytes::Of(info[0]);
      const Bytes output = Bytes::Of(info[1]);
      std::vector<size_t> sizes = SizesOf(info[2], "allGather", communicator().world_size());
      input.CheckSize(sizes[communicator().rank()], "allGather", "input");
      output.CheckSize(std::accumulate(sizes.begin(), sizes.end(), size_t{0}), "allGather", "output");
      return RunCall(info, info[3], {input.owner, output.owner},
                     [from = input.data, to = output.data, sizes = std::move(sizes)](GroupCommunicator& communicator,
                                                                                     const CallInfo& call) {
                       communicator.AllGather(from, to, sizes, call);
                     });
    });
  }

  Napi::Value ReduceScatter(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] {
      const Bytes input = Bytes::Of(info[0]);
      const Bytes output = Bytes::Of(info[1]);
      std::vector<size_t> counts = SizesOf(info[2], "reduceScatter", communicator().world_size());
      const DataType type = DataTypeOf(info[3]);
      const ReduceOp op = ReduceOpOf(info[4]);
      const size_t element_bytes = input.CountOf(type, "reduceScatter") == 0 ? 1 : input.size / input.CountOf(type, "");
      input.CheckSize(std::accumulate(counts.begin(), counts.end(), size_t{0}) * element_bytes, "reduceScatter",
                      "input");
      output.CheckSize(counts[communicator().rank()] * element_bytes, "reduceScatter", "output");
      return RunCall(info, info[5], {input.owner, output.owner},
                     [from = input.data, to = output.data, counts = std::move(counts), type, op](
                         GroupCommunicator& communicator, const CallInfo& call) {
                       communicator.ReduceScatter(from, to, counts, type, op, call);
                     });
    });
  }

  Napi::Value Broadcast(const Napi::CallbackInfo& info) {
    const Bytes data = Bytes::Of(info[0]);
    const int root = info[1].As<Napi::Number>();
    return RunCall(info, info[2], {data.owner},
                   [memory = data.data, size = data.size, root](GroupCommunicator& communicator, const CallInfo& call) {
                     communicator.Broadcast(memory, size, root, call);
                   });
  }

  Napi::Value BroadcastMessage(const Napi::CallbackInfo& info) {
    const int root = info[1].As<Napi::Number>();
    auto message = std::make_shared<std::vector<uint8_t>>();
    if (!info[0].IsUndefined()) {
      const Bytes given = Bytes::Of(info[0]);
      message->assign(given.data, given.data + given.size);
    }
    return RunCall(
        info, info[2], {},
        [message, root](GroupCommunicator& communicator, const CallInfo& call) {
          communicator.BroadcastMessage(message.get(), root, call);
        },
        [message](Napi::Env env) {
          const Napi::Uint8Array result = Napi::Uint8Array::New(env, message->size());
          std::copy(message->begin(), message->end(), Bytes::Of(result).data);
          return result;
        });
  }

  Napi::Value Barrier(const Napi::CallbackInfo& info) {
    return RunCall(info, info[0], {},
                   [](GroupCommunicator& communicator, const CallInfo& call) { communicator.Barrier(call); });
  }

  Napi::Value Send(const Napi::CallbackInfo& info) {
    const Bytes data = Bytes::Of(info[0]);
    const int peer = info[1].As<Napi::Number>();
    return RunCall(info, info[2], {data.owner},
                   [memory = data.data, size = data.size, peer](GroupCommunicator& communicator, const CallInfo& call) {
                     communicator.Send(memory, size, peer, call);
                   });
  }

  Napi::Value Recv(const Napi::CallbackInfo& info) {
    const Bytes data = Bytes::Of(info[0]);
    const int peer = info[1].As<Napi::Number>();
    return RunCall(info, info[2], {data.owner},
                   [memory = data.data, size = data.size, peer](GroupCommunicator& communicator, const CallInfo& call) {
                     communicator.Recv(memory, size, peer, call);
                   });
  }

  Napi::Value Measure(const Napi::CallbackInfo& info) {
    const size_t bytes = info[0].As<Napi::Number>().Int64Value();
    const int num_calls = info[1].As<Napi::Number>();
    const MeasuredWork work{std::chrono::nanoseconds(info[2].As<Napi::Number>().Int64Value()),
                            info[3].As<Napi::Number>()};
    auto measured = std::make_shared<std::pair<double, double>>();
    return RunCall(
        info, info.Env().Undefined(), {},
        [measured, bytes, num_calls, work](GroupCommunicator& communicator, const CallInfo&) {
          measured->first = MeasureAllReduce(communicator, bytes, num_calls, work);
          if (communicator.world_size() > 1) measured->second = MeasurePingPong(communicator, bytes, num_calls);
        },
        [measured](Napi::Env env) {
          const Napi::Object result = Napi::Object::New(env);
          result.Set("allReduceNanoseconds", measured->first);
          result.Set("halfRoundTripNanoseconds", measured->second);
          return result;
        });
  }

  void Abort(const Napi::CallbackInfo& info) {
    const int peer = info[1].IsUndefined() ? -1 : info[1].As<Napi::Number>().Int32Value();
    communicator().Abort(info[0].As<Napi::String>(), peer);
  }

  Napi::Value GetStatistics(const Napi::CallbackInfo& info) {
    const Communicator::Statistics statistics = communicator().statistics();
    const Napi::Object result = Napi::Object::New(info.Env());
    result.Set("calls", static_cast<double>(statistics.calls));
    result.Set("bytes", static_cast<double>(statistics.bytes));
    result.Set("nanoseconds", static_cast<double>(statistics.nanoseconds));
    return result;
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    if (closed_) {
      const auto deferred = Napi::Promise::Deferred::New(info.Env());
      deferred.Resolve(info.Env().Undefined());
      return deferred.Promise();
    }
    closed_ = true;
    const Napi::Promise promise = RunTask(info.Env(), *connected_.thread, {Value()},
                                          [communicator = connected_.communicator] { communicator->Close(); });
    connected_.thread->Close();
    return promise;
  }

  Connected connected_;
  bool closed_ = false;
};

// Before the environment goes, whatever runs on the communicator's thread must have ended: it may use JavaScript's
// memory.
void StopAtTeardown(Napi::Env env, const std::shared_ptr<TaskThread>& thread, const std::shared_ptr<AbortFlag>& abort) {
  Environment::Of(env).AtTeardown(
      [weak_thread = std::weak_ptr<TaskThread>(thread), weak_abort = std::weak_ptr<AbortFlag>(abort)] {
        if (const auto flag = weak_abort.lock()) flag->Raise("The thread that owns the communicator has ended.", -1);
        if (const auto running = weak_thread.lock()) running->Stop();
      });
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return ThrowingJsErrors(env, [&] {
    const std::shared_ptr<Listener> listener = UnwrapListener(info[0]);
    const ConnectOptions options = ConnectOptionsOf(info[1].As<Napi::Object>());
    const auto abort = listener == nullptr ? std::make_shared<AbortFlag>() : listener->aborts().CreateFlag();
    auto connected = std::make_shared<Connected>();
    connected->thread = std::make_shared<TaskThread>("shardrun-comm");
    StopAtTeardown(env, connected->thread, abort);
    return RunTask(
        env, *connected->thread, {},
        [connected, listener, options, abort] {
          connected->communicator = std::make_shared<GroupCommunicator>(listener, options, abort);
        },
        [connected](Napi::Env env) {
          const auto external = Napi::External<Connected>::New(env, connected.get());
          return Environment::Of(env).constructors.at("Communicator").New({external});
        });
  });
}

void SetErrorClasses(const Napi::CallbackInfo& info) {
  Environment::Of(info.Env()).SetErrorClasses(info[0].As<Napi::Object>());
}

}  // namespace

void RegisterCommunicator(Napi::Env env, Napi::Object exports) {
  RegisterListener(env, exports);
  Environment::Of(env).constructors["Communicator"] = Napi::Persistent(CommunicatorWrap::Define(env));
  exports.Set("connect", Napi::Function::New<Connect>(env, "connect"));
  exports.Set("oneShotBytes", static_cast<double>(kOneShotBytes));
  exports.Set("pairBytes", static_cast<double>(kPairBytes));
  exports.Set("blockBytes", static_cast<double>(kLongestBlockBytes));
  exports.Set("setErrorClasses", Napi::Function::New<SetErrorClasses>(env, "setErrorClasses"));
}

CommunicatorHandle UnwrapCommunicator(const Napi::Value& value) {
  const Napi::Function constructor = Environment::Of(value.Env()).constructors.at("Communicator").Value();
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor)) {
    throw Error(Error::Kind::kUsage, "Expected a Communicator, as connect returns it.");
  }
  return CommunicatorWrap::Unwrap(value.As<Napi::Object>())->handle();
}

}  // namespace shardrun
