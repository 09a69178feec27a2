// The JavaScript class Listener, and the function listen that makes one.
#pragma once

#include <napi.h>

#include <memory>

#include "../transport/listener.h"

namespace shardrun {

void RegisterListener(Napi::Env env, Napi::Object exports);

// The listener inside a JavaScript Listener; nullptr for undefined. Throws UsageError for anything else.
std::shared_ptr<Listener> UnwrapListener(const Napi::Value& value);

}  // namespace shardrun
