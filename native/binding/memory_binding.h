// The memory that sessions work in, as JavaScript objects: KeyValueCache, and files mapped by mapFile.
#pragma once

#include <napi.h>

#include <memory>

#include "../onnxruntime/key_value_cache.h"

namespace shardrun {

// Adds createKeyValueCache and mapFile to the addon's exports.
void RegisterMemory(Napi::Env env, Napi::Object exports);

// What is inside a KeyValueCache. Throws Error(kUsage) for a closed one.
std::shared_ptr<ort::KeyValueCache> UnwrapKeyValueCache(const Napi::Value& value);

}  // namespace shardrun
