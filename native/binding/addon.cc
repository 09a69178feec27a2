// The addon's entry: registrations only. Loaded by src/collective/native.ts, once per thread that uses it
// (context-aware).
#include <napi.h>

#include "communicator_binding.h"
#include "file_lock_binding.h"
#include "kernels_binding.h"
#include "memory_binding.h"
#include "session_binding.h"

namespace {

Napi::Object RegisterAddon(Napi::Env env, Napi::Object exports) {
  shardrun::RegisterCommunicator(env, exports);
  shardrun::RegisterMemory(env, exports);
  shardrun::RegisterFileLock(env, exports);
  shardrun::RegisterKernels(env, exports);
  shardrun::RegisterSession(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(shardrun, RegisterAddon)
