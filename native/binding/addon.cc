// The addon's entry: registrations only. Loaded by src/collective/native.ts, once per thread that uses it (context-aware).
#include <napi.h>

#include "communicator_binding.h"
#include "session_binding.h"

namespace {

Napi::Object RegisterAddon(Napi::Env env, Napi::Object exports) {
  shardrun::RegisterCommunicator(env, exports);  // listen, connect, abortAll, setErrorClasses
  shardrun::RegisterSession(env, exports);       // openRuntime, createSession, createPrepackedWeights, createKeyValueCache, mapFile
  return exports;
}

}  // namespace

NODE_API_MODULE(shardrun, RegisterAddon)
