// Reads and writes the plain objects of src/collective/native.ts. Their types were checked in TypeScript: what does not
// fit throws TypeError.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../onnxruntime/tensor.h"

namespace shardrun {

inline int64_t IntOf(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Number>().Int64Value();
}

inline std::string StringOf(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::String>().Utf8Value();
}

inline std::vector<Napi::Object> ObjectsOf(const Napi::Object& object, const char* key) {
  const Napi::Array array = object.Get(key).As<Napi::Array>();
  std::vector<Napi::Object> objects;
  for (uint32_t i = 0; i < array.Length(); ++i) objects.push_back(array.Get(i).As<Napi::Object>());
  return objects;
}

// { name, dataType, shape, data } -> a view of data's memory, which the caller keeps alive.
ort::TensorView TensorOf(const Napi::Object& object);

// The reverse, handing over the memory: a new array, without a copy.
Napi::Object ToJs(Napi::Env env, ort::FetchedTensor&& tensor);

}  // namespace shardrun
