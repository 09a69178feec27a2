#include "memory_binding.h"

#include <string>
#include <utility>
#include <vector>

#include "../onnxruntime/mapped_file.h"
#include "arguments.h"
#include "environment.h"
#include "errors.h"
#include "external_memory.h"

namespace shardrun {

namespace {

class KeyValueCacheWrap : public Napi::ObjectWrap<KeyValueCacheWrap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "KeyValueCache",
        {InstanceAccessor<&KeyValueCacheWrap::NumRows>("numRows"),
         InstanceAccessor<&KeyValueCacheWrap::MaxContext>("maxContext"),
         InstanceAccessor<&KeyValueCacheWrap::ReservedBytes>("reservedBytes"),
         InstanceMethod<&KeyValueCacheWrap::CopyRow>("copyRow"), InstanceMethod<&KeyValueCacheWrap::Close>("close")});
  }

  explicit KeyValueCacheWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const Napi::Object options = info[0].As<Napi::Object>();
    std::vector<ort::KeyValueCache::TensorSpec> tensors;
    for (const Napi::Object& tensor : ObjectsOf(options, "tensors")) {
      tensors.push_back(
          {StringOf(tensor, "past"), StringOf(tensor, "present"), IntOf(tensor, "numHeads"), IntOf(tensor, "headDim")});
    }
    ThrowingJsErrors(info.Env(), [&] {
      cache_ = std::make_shared<ort::KeyValueCache>(IntOf(options, "numRows"), IntOf(options, "maxContext"),
                                                    std::move(tensors));
    });
  }

  const std::shared_ptr<ort::KeyValueCache>& cache() const {
    if (!cache_) throw Error(Error::Kind::kUsage, "The key/value cache is closed: create another one.");
    return cache_;
  }

 private:
  Napi::Value NumRows(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] { return Napi::Number::New(info.Env(), cache()->num_rows()); });
  }

  Napi::Value MaxContext(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] { return Napi::Number::New(info.Env(), cache()->max_context()); });
  }

  Napi::Value ReservedBytes(const Napi::CallbackInfo& info) {
    return ThrowingJsErrors(info.Env(), [&] { return Napi::Number::New(info.Env(), cache()->reserved_bytes()); });
  }

  void CopyRow(const Napi::CallbackInfo& info) {
    const auto argument = [&](size_t index) { return info[index].As<Napi::Number>().Int64Value(); };
    ThrowingJsErrors(info.Env(), [&] { cache()->CopyRow(argument(0), argument(1), argument(2)); });
  }

  // The memory goes when the last run that uses it has ended.
  void Close(const Napi::CallbackInfo&) { cache_.reset(); }

  std::shared_ptr<ort::KeyValueCache> cache_;
};

Napi::Value CreateKeyValueCache(const Napi::CallbackInfo& info) {
  return Environment::Of(info.Env()).constructors.at("KeyValueCache").New({info[0]});
}

// The ArrayBuffer begins where the mapping does, on a page, so that byteOffset tells the alignment of the bytes.
Napi::Value MapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>();
  const auto offset = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
  const auto num_bytes = static_cast<uint64_t>(info[2].As<Napi::Number>().Int64Value());
  const bool is_read_whole = info[3].IsObject() && info[3].As<Napi::Object>().Get("isReadWhole").ToBoolean();
  auto file =
      ThrowingJsErrors(env, [&] { return std::make_shared<ort::MappedFile>(path, offset, num_bytes, is_read_whole); });
  if (num_bytes == 0) return Napi::Uint8Array::New(env, 0);
  const Napi::ArrayBuffer buffer = NewArrayBuffer(env, file->mapping(), file->mapping_bytes(), file);
  return Napi::Uint8Array::New(env, num_bytes, buffer, file->lead_bytes());
}

}  // namespace

void RegisterMemory(Napi::Env env, Napi::Object exports) {
  auto& constructors = Environment::Of(env).constructors;
  constructors["KeyValueCache"] = Napi::Persistent(KeyValueCacheWrap::Define(env));
  exports.Set("createKeyValueCache", Napi::Function::New(env, CreateKeyValueCache));
  exports.Set("mapFile", Napi::Function::New(env, MapFile));
}

std::shared_ptr<ort::KeyValueCache> UnwrapKeyValueCache(const Napi::Value& value) {
  return KeyValueCacheWrap::Unwrap(value.As<Napi::Object>())->cache();
}

}  // namespace shardrun
