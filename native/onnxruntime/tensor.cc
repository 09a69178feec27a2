#include "tensor.h"

namespace shardrun::ort {

namespace {

size_t CountElements(const std::vector<int64_t>& shape) {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

}  // namespace

std::string Print(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  return text + "]";
}

size_t TypedShape::num_elements() const { return CountElements(shape); }

size_t TypedShape::num_rows() const { return CountElements({shape.begin(), shape.end() - 1}); }

OwnedValue MakeValue(const TensorView& view) {
  const size_t expected_bytes = CountElements(view.shape) * BytesOf(view.type);
  if (view.num_bytes != expected_bytes) {
    throw Error(Error::Kind::kUsage, "\"" + view.name + "\" " + Print(view.shape) + " " + NameOf(view.type) +
                                         " takes " + std::to_string(expected_bytes) + " bytes, received " +
                                         std::to_string(view.num_bytes) + ".");
  }
  static char nothing;  // a tensor without elements has an address too
  void* data = view.data == nullptr ? &nothing : view.data;
  Value* value = nullptr;
  Check(GetApi().CreateTensorWithDataAsOrtValue(Runtime::Get().cpu(), data, view.num_bytes, view.shape.data(),
                                                view.shape.size(), view.type, &value),
        "Making the tensor \"" + view.name + "\" failed");
  return OwnedValue(value);
}

TypedShape ReadTypedShape(const Value* value) {
  constexpr const char* what = "Reading a tensor's shape failed";
  TypeAndShape* raw = nullptr;
  Check(GetApi().GetTensorTypeAndShape(value, &raw), what);
  const OwnedTypeAndShape info(raw);
  TypedShape typed;
  Check(GetApi().GetTensorElementType(raw, &typed.type), what);
  size_t ndim = 0;
  Check(GetApi().GetDimensionsCount(raw, &ndim), what);
  typed.shape.resize(ndim);
  Check(GetApi().GetDimensions(raw, typed.shape.data(), ndim), what);
  return typed;
}

void* MutableData(const Value* value) {
  void* data = nullptr;
  Check(GetApi().GetTensorMutableData(const_cast<Value*>(value), &data), "Reading a tensor's data failed");
  return data;
}

}  // namespace shardrun::ort
