// The memory that sessions work in, as JavaScript objects: KeyValueCache, PrepackedWeights, and files mapped by
// mapFile.
#pragma once

#include <napi.h>

#include <memory>

#include "../onnxruntime/key_value_cache.h"
#include "../onnxruntime/session.h"

namespace shardrun {

// Adds createKeyValueCache, createPrepackedWeights and mapFile to the addon's exports.
void RegisterMemory(Napi::Env env, Napi::Object exports);

// What is inside those objects. Throws Error(kUsage) for a closed one.
std::shared_ptr<ort::KeyValueCache> UnwrapKeyValueCache(const Napi::Value& value);
ort::SharedPrepackedWeights UnwrapPrepackedWeights(const Napi::Value& value);

}  // namespace shardrun
