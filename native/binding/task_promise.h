// A promise for work that runs on a TaskThread: the JavaScript thread stays free, the result comes back to it.
#pragma once

#include <napi.h>

#include <functional>
#include <vector>

#include "../common/task_thread.h"

namespace shardrun {

// Runs `work` on `thread`, then `finish` on the JavaScript thread, and resolves to what that returns; what either of
// them throws rejects, as ToJsError says. `keep_alive` (buffers that `work` reads or writes, wrappers whose memory it
// uses) stays referenced until then. When the environment is torn down first, the promise is forgotten.
Napi::Promise RunTask(Napi::Env env, TaskThread& thread, const std::vector<Napi::Object>& keep_alive,
                      std::function<void()> work, std::function<Napi::Value(Napi::Env)> finish);

// The same for work without a result: resolves to undefined.
Napi::Promise RunTask(Napi::Env env, TaskThread& thread, const std::vector<Napi::Object>& keep_alive,
                      std::function<void()> work);

}  // namespace shardrun
