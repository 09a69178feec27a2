#include "session_binding.h"

namespace shardrun {

void RegisterSession(Napi::Env, Napi::Object) {}

}  // namespace shardrun
