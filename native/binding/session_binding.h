// openRuntime, createSession, createPrepackedWeights, createKeyValueCache and mapFile, as typed in src/collective/native.ts.
#pragma once

#include <napi.h>

namespace shardrun {

void RegisterSession(Napi::Env env, Napi::Object exports);

}  // namespace shardrun
