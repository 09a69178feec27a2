#include "arguments.h"

#include <utility>

#include "external_memory.h"

namespace shardrun {

namespace {

Napi::Value ToJs(Napi::Env env, const std::vector<int64_t>& shape) {
  const Napi::Array array = Napi::Array::New(env, shape.size());
  for (size_t i = 0; i < shape.size(); ++i) array.Set(static_cast<uint32_t>(i), static_cast<double>(shape[i]));
  return array;
}

Napi::ArrayBuffer ToJs(Napi::Env env, std::unique_ptr<uint8_t[]> data, size_t num_bytes) {
  if (num_bytes == 0) return Napi::ArrayBuffer::New(env, 0);
  const std::shared_ptr<uint8_t[]> shared = std::move(data);
  return NewArrayBuffer(env, shared.get(), num_bytes, shared);
}

}  // namespace

ort::TensorView TensorOf(const Napi::Object& object) {
  ort::TensorView view;
  view.name = StringOf(object, "name");
  view.type = ort::ElementTypeOf(StringOf(object, "dataType"));
  const Napi::Array shape = object.Get("shape").As<Napi::Array>();
  for (uint32_t i = 0; i < shape.Length(); ++i) view.shape.push_back(shape.Get(i).As<Napi::Number>().Int64Value());
  Napi::Uint8Array data = object.Get("data").As<Napi::Uint8Array>();
  view.data = data.Data();
  view.num_bytes = data.ByteLength();
  view.owner = OwnerOf(view.data);
  return view;
}

Napi::Object ToJs(Napi::Env env, ort::FetchedTensor&& tensor) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("name", tensor.name);
  object.Set("dataType", ort::NameOf(tensor.type));
  object.Set("shape", ToJs(env, tensor.shape));
  const Napi::ArrayBuffer buffer = ToJs(env, std::move(tensor.data), tensor.num_bytes);
  object.Set("data", Napi::Uint8Array::New(env, tensor.num_bytes, buffer, 0));
  return object;
}

}  // namespace shardrun
