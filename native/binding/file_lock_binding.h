// FileLock as a JavaScript object.
#pragma once

#include <napi.h>

namespace shardrun {

// Adds lockFile to the addon's exports.
void RegisterFileLock(Napi::Env env, Napi::Object exports);

}  // namespace shardrun
