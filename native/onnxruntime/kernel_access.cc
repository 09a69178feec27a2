#include "kernel_access.h"

namespace shardrun::ort {

namespace {

constexpr const char* kReadingAttribute = "Reading an attribute of a custom op failed";

// Texts are read twice: once for their size, once for themselves.
template <typename Read>
std::string ReadText(Read read) {
  size_t num_bytes = 0;
  Status* too_small = read(nullptr, &num_bytes);
  if (too_small != nullptr) GetApi().ReleaseStatus(too_small);
  std::string text(num_bytes, '\0');
  Check(read(text.data(), &num_bytes), kReadingAttribute);
  return text.c_str();  // without the terminating 0 that num_bytes counts
}

}  // namespace

std::string ReadNodeName(const KernelInfo* info) {
  return ReadText([&](char* out, size_t* bytes) { return GetApi().KernelInfo_GetNodeName(info, out, bytes); });
}

std::string ReadStringAttribute(const KernelInfo* info, const char* name) {
  return ReadText(
      [&](char* out, size_t* bytes) { return GetApi().KernelInfoGetAttribute_string(info, name, out, bytes); });
}

int64_t ReadIntAttribute(const KernelInfo* info, const char* name) {
  int64_t value = 0;
  Check(GetApi().KernelInfoGetAttribute_int64(info, name, &value), kReadingAttribute);
  return value;
}

float ReadFloatAttribute(const KernelInfo* info, const char* name) {
  float value = 0;
  Check(GetApi().KernelInfoGetAttribute_float(info, name, &value), kReadingAttribute);
  return value;
}

std::vector<int64_t> ReadIntsAttribute(const KernelInfo* info, const char* name) {
  size_t count = 0;
  Check(GetApi().KernelInfoGetAttributeArray_int64(info, name, nullptr, &count), kReadingAttribute);
  std::vector<int64_t> values(count);
  Check(GetApi().KernelInfoGetAttributeArray_int64(info, name, values.data(), &count), kReadingAttribute);
  return values;
}

const Value* Input(const KernelContext* context, size_t index) {
  const Value* value = nullptr;
  Check(GetApi().KernelContext_GetInput(context, index, &value), "Reading the input of a custom op failed");
  return value;
}

void* Output(KernelContext* context, size_t index, const std::vector<int64_t>& shape) {
  Value* value = nullptr;
  Check(GetApi().KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value),
        "Making the output of a custom op failed");
  return MutableData(value);
}

}  // namespace shardrun::ort
