// openRuntime, createSession and the JavaScript class Session, as typed in src/collective/native.ts.
#pragma once

#include <napi.h>

namespace shardrun {

// Adds this file's functions to the addon's exports.
void RegisterSession(Napi::Env env, Napi::Object exports);

}  // namespace shardrun
