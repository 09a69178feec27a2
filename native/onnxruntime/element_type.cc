#include "element_type.h"

#include <optional>

namespace shardrun::ort {

namespace {

struct Entry {
  ElementType type;
  const char* name;
  size_t bytes;
  std::optional<DataType> wire;
};

constexpr Entry kEntries[] = {
    {ElementType::kFloat32, "float32", 4, DataType::kFloat32},
    {ElementType::kFloat16, "float16", 2, DataType::kFloat16},
    {ElementType::kBFloat16, "bfloat16", 2, DataType::kBFloat16},
    {ElementType::kInt64, "int64", 8, DataType::kInt64},
    {ElementType::kInt32, "int32", 4, DataType::kInt32},
    {ElementType::kInt8, "int8", 1, std::nullopt},
    {ElementType::kUInt8, "uint8", 1, DataType::kUInt8},
    {ElementType::kBool, "bool", 1, std::nullopt},
};

const Entry& EntryOf(ElementType type) {
  for (const Entry& entry : kEntries) {
    if (entry.type == type) return entry;
  }
  throw Error(Error::Kind::kExecution,
              "ONNX element type " + std::to_string(static_cast<int>(type)) + " is not supported here.");
}

}  // namespace

ElementType ElementTypeOf(const std::string& name) {
  for (const Entry& entry : kEntries) {
    if (name == entry.name) return entry.type;
  }
  std::string known;
  for (const Entry& entry : kEntries) known += std::string(known.empty() ? "" : ", ") + entry.name;
  throw Error(Error::Kind::kUsage, "Unknown element type \"" + name + "\": expected one of " + known + ".");
}

const char* NameOf(ElementType type) { return EntryOf(type).name; }

size_t BytesOf(ElementType type) { return EntryOf(type).bytes; }

DataType WireTypeOf(ElementType type) {
  const Entry& entry = EntryOf(type);
  if (entry.wire) return *entry.wire;
  throw Error(Error::Kind::kExecution, std::string("Tensors of ") + entry.name + " do not travel in collectives.");
}

}  // namespace shardrun::ort
