// A tensor as it crosses from JavaScript into a session and back, and as onnxruntime's Value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "element_type.h"
#include "runtime.h"

namespace shardrun::ort {

// Memory that someone else owns, which must outlive every Value made from it.
struct TensorView {
  std::string name;
  ElementType type = ElementType::kUndefined;
  std::vector<int64_t> shape;
  void* data = nullptr;
  size_t num_bytes = 0;
  std::shared_ptr<void> owner;  // keeps `data` where it is; null: someone else sees to that
};

// An output of a run, in memory of its own.
struct FetchedTensor {
  std::string name;
  ElementType type = ElementType::kUndefined;
  std::vector<int64_t> shape;
  std::unique_ptr<uint8_t[]> data;
  size_t num_bytes = 0;
};

struct TypedShape {
  ElementType type = ElementType::kUndefined;
  std::vector<int64_t> shape;
  size_t num_elements() const;
  // A row is the last axis.
  size_t num_rows() const;
  size_t num_bytes() const { return num_elements() * BytesOf(type); }
};

// [1, 7, 4096], for messages.
std::string Print(const std::vector<int64_t>& shape);

// A Value over the view's memory. Throws Error(kUsage) when its bytes are not what type and shape say.
OwnedValue MakeValue(const TensorView& view);
TypedShape ReadTypedShape(const Value* value);
void* MutableData(const Value* value);

}  // namespace shardrun::ort
