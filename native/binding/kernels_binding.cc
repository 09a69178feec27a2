#include "kernels_binding.h"

#include <string>
#include <vector>

#include "../kernels/pack.h"
#include "../kernels/products.h"
#include "../onnxruntime/element_type.h"
#include "arguments.h"
#include "errors.h"

namespace shardrun {

namespace {

struct Bytes {
  uint8_t* data;
  size_t num_bytes;
};

Bytes BytesOf(const Napi::Object& object, const char* key) {
  Napi::Uint8Array array = object.Get(key).As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

size_t SizeOf(const Napi::Object& object, const char* key) { return static_cast<size_t>(IntOf(object, key)); }

void CheckBytes(const char* what, size_t received, size_t expected) {
  if (received == expected) return;
  throw Error(Error::Kind::kUsage, std::string("Packing a weight failed: ") + what + " takes " +
                                       std::to_string(expected) + " bytes, received " + std::to_string(received) + ".");
}

PackedLayout LayoutOf(const Napi::Object& object) {
  PackedLayout layout;
  layout.bits = static_cast<int>(IntOf(object, "bits"));
  layout.out_features = SizeOf(object, "outFeatures");
  layout.in_features = SizeOf(object, "inFeatures");
  if (layout.bits == 4) {
    layout.block_size = SizeOf(object, "blockSize");
    layout.has_minimum = object.Get("hasMinimum").ToBoolean();
    layout.in_offset = object.Get("inOffset").IsUndefined() ? 0 : SizeOf(object, "inOffset");
  }
  CheckLayout(layout);
  return layout;
}

// { layout, packed, firstOutput, numOutputs, numThreads }
struct Destination {
  explicit Destination(const Napi::Object& object)
      : layout(LayoutOf(object.Get("layout").As<Napi::Object>())),
        threads(static_cast<int>(IntOf(object, "numThreads"))) {
    const Bytes packed = BytesOf(object, "packed");
    CheckBytes("the packed weight", packed.num_bytes, layout.num_bytes());
    data = packed.data;
    first_output = SizeOf(object, "firstOutput");
    num_outputs = SizeOf(object, "numOutputs");
    if (first_output > layout.out_features || num_outputs > layout.out_features - first_output) {
      throw Error(Error::Kind::kUsage, "Packing a weight failed: it has " + std::to_string(layout.out_features) +
                                           " output features, received " + std::to_string(num_outputs) + " from " +
                                           std::to_string(first_output) + " on.");
    }
  }

  PackTarget target() const { return {layout, data, first_output, num_outputs}; }

  PackedLayout layout;
  uint8_t* data;
  size_t first_output;
  size_t num_outputs;
  OwnThreads threads;
};

// { data, dataType, numColumns, rowStride }
FloatMatrix FloatMatrixOf(const Napi::Object& object, size_t num_rows) {
  const Bytes bytes = BytesOf(object, "data");
  const DataType type = ort::WireTypeOf(ort::ElementTypeOf(StringOf(object, "dataType")));
  const FloatMatrix matrix = {bytes.data, type, SizeOf(object, "numColumns"), SizeOf(object, "rowStride")};
  const size_t element_bytes = type == DataType::kFloat32 ? 4 : 2;
  const size_t least_bytes =
      num_rows == 0 ? 0 : ((num_rows - 1) * matrix.row_stride + matrix.num_columns) * element_bytes;
  if (bytes.num_bytes < least_bytes) CheckBytes("its source", bytes.num_bytes, least_bytes);
  return matrix;
}

void CheckColumns(size_t received, size_t least, size_t most) {
  if (received >= least && received <= most) return;
  throw Error(Error::Kind::kUsage, "Packing a weight failed: its source has " + std::to_string(least) + " to " +
                                       std::to_string(most) + " columns, received " + std::to_string(received) + ".");
}

const float* BoundsOf(const Napi::Object& object, size_t num_outputs) {
  Napi::Float32Array bounds = object.Get("bounds").As<Napi::Float32Array>();
  CheckBytes("its bounds", bounds.ByteLength(), num_outputs * sizeof(float));
  return bounds.Data();
}

Napi::Value PackedWeightBytes(const Napi::CallbackInfo& info) {
  return ThrowingJsErrors(info.Env(), [&] {
    return Napi::Number::New(info.Env(), static_cast<double>(LayoutOf(info[0].As<Napi::Object>()).num_bytes()));
  });
}

// { source, numRows, maxima, numThreads }
void RunAbsoluteMaxima(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  ThrowingJsErrors(info.Env(), [&] {
    const size_t num_rows = SizeOf(options, "numRows");
    const FloatMatrix source = FloatMatrixOf(options.Get("source").As<Napi::Object>(), num_rows);
    Napi::Float32Array maxima = options.Get("maxima").As<Napi::Float32Array>();
    CheckBytes("its row maxima", maxima.ByteLength(), num_rows * sizeof(float));
    OwnThreads threads(static_cast<int>(IntOf(options, "numThreads")));
    AbsoluteMaxima(source, num_rows, maxima.Data(), &threads);
  });
}

void RunPackFloat32(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  ThrowingJsErrors(info.Env(), [&] {
    Destination destination(options);
    const FloatMatrix source = FloatMatrixOf(options.Get("source").As<Napi::Object>(), destination.num_outputs);
    CheckColumns(source.num_columns, destination.layout.in_features, destination.layout.in_features);
    PackFloat32(destination.target(), source, &destination.threads);
  });
}

void RunPackInt8(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  ThrowingJsErrors(info.Env(), [&] {
    Destination destination(options);
    const FloatMatrix source = FloatMatrixOf(options.Get("source").As<Napi::Object>(), destination.num_outputs);
    CheckColumns(source.num_columns, destination.layout.in_features, destination.layout.in_features);
    Napi::Float32Array maxima = options.Get("maxima").As<Napi::Float32Array>();
    CheckBytes("its row maxima", maxima.ByteLength(), destination.num_outputs * sizeof(float));
    PackInt8(destination.target(), source, maxima.Data(), &destination.threads);
  });
}

void RunPackInt4(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  ThrowingJsErrors(info.Env(), [&] {
    Destination destination(options);
    const PackedLayout& layout = destination.layout;
    const FloatMatrix source = FloatMatrixOf(options.Get("source").As<Napi::Object>(), destination.num_outputs);
    CheckColumns(source.num_columns, layout.in_offset + layout.in_features, layout.padded_inputs());
    PackInt4(destination.target(), source, BoundsOf(options, destination.num_outputs), &destination.threads);
  });
}

// { values, numColumns, scales, minima?, bounds } beside what Destination reads
void RunPackInt4Values(const Napi::CallbackInfo& info) {
  const Napi::Object options = info[0].As<Napi::Object>();
  ThrowingJsErrors(info.Env(), [&] {
    Destination destination(options);
    const PackedLayout& layout = destination.layout;
    const Bytes values = BytesOf(options, "values");
    const Bytes scales = BytesOf(options, "scales");
    QuantisedMatrix source = {values.data, SizeOf(options, "numColumns"), scales.data, nullptr,
                              BoundsOf(options, destination.num_outputs)};
    CheckColumns(source.num_columns, layout.in_offset + layout.in_features, layout.padded_inputs());
    const size_t half_bytes = destination.num_outputs * layout.num_blocks() * sizeof(uint16_t);
    CheckBytes("its values", values.num_bytes, destination.num_outputs * source.num_columns);
    CheckBytes("its scales", scales.num_bytes, half_bytes);
    if (layout.has_minimum) {
      const Bytes minima = BytesOf(options, "minima");
      CheckBytes("its minima", minima.num_bytes, half_bytes);
      source.minima = minima.data;
    }
    PackInt4Values(destination.target(), source, &destination.threads);
  });
}

Napi::Value RunSupportedKernels(const Napi::CallbackInfo& info) {
  const Napi::Array names = Napi::Array::New(info.Env());
  for (const std::string& name : SupportedKernels()) names.Set(names.Length(), name);
  return names;
}

void RunChooseKernels(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  ThrowingJsErrors(info.Env(), [&] { ChooseKernels(name); });
}

}  // namespace

void RegisterKernels(Napi::Env env, Napi::Object exports) {
  exports.Set("packedWeightBytes", Napi::Function::New(env, PackedWeightBytes));
  exports.Set("absoluteMaxima", Napi::Function::New(env, RunAbsoluteMaxima));
  exports.Set("packFloat32", Napi::Function::New(env, RunPackFloat32));
  exports.Set("packInt8", Napi::Function::New(env, RunPackInt8));
  exports.Set("packInt4", Napi::Function::New(env, RunPackInt4));
  exports.Set("packInt4Values", Napi::Function::New(env, RunPackInt4Values));
  exports.Set("supportedKernels", Napi::Function::New(env, RunSupportedKernels));
  exports.Set("chooseKernels", Napi::Function::New(env, RunChooseKernels));
}

}  // namespace shardrun
