// The JavaScript classes Listener and Communicator, and the functions listen, connect, setErrorClasses.
#pragma once

#include <napi.h>

#include <memory>

#include "../collectives/communicator.h"
#include "../common/task_thread.h"

namespace shardrun {

// A communicator and the one thread on which it may be called.
struct CommunicatorHandle {
  std::shared_ptr<Communicator> communicator;
  std::shared_ptr<TaskThread> thread;
};

// Adds this file's functions to the addon's exports.
void RegisterCommunicator(Napi::Env env, Napi::Object exports);

// The handle inside a JavaScript Communicator. Throws UsageError for anything else.
CommunicatorHandle UnwrapCommunicator(const Napi::Value& value);

}  // namespace shardrun
