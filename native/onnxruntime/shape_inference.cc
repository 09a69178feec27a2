#include "shape_inference.h"

#include <atomic>
#include <string>
#include <vector>

#include "../kernels/octaves.h"

namespace shardrun::ort {

namespace {

struct Axis {
  int64_t size = -1;
  std::string name;  // of a size that only a run knows
};

Status* ReadAxes(const TypeAndShape* x, std::vector<Axis>* axes) {
  size_t ndim = 0;
  if (Status* failed = GetApi().GetDimensionsCount(x, &ndim)) return failed;
  std::vector<int64_t> shape(ndim, -1);
  std::vector<const char*> names(ndim, "");
  if (Status* failed = GetApi().GetDimensions(x, shape.data(), ndim)) return failed;
  if (Status* failed = GetApi().GetSymbolicDimensions(x, names.data(), ndim)) return failed;
  for (size_t i = 0; i < ndim; ++i) axes->push_back({shape[i], names[i]});
  return nullptr;
}

// A size that is neither a number nor a name gets a name of its own: onnxruntime would hand it on as the number -1.
Status* WriteAxes(TypeAndShape* y, std::vector<Axis>* axes) {
  static std::atomic<uint64_t> num_unknown = 0;
  std::vector<int64_t> shape;
  std::vector<const char*> names;
  for (Axis& axis : *axes) {
    if (axis.size < 0 && axis.name.empty()) axis.name = "unknown_" + std::to_string(++num_unknown);
    shape.push_back(axis.size);
    names.push_back(axis.name.c_str());
  }
  if (Status* failed = GetApi().SetDimensions(y, shape.data(), shape.size())) return failed;
  return GetApi().SetSymbolicDimensions(y, names.data(), names.size());
}

// Output 0 has the axes of input 0, as `change` leaves them.
template <typename Change>
Status* InferFromInput(ShapeInferContext* context, const Change& change) {
  TypeAndShape* x = nullptr;  // the context's own, changed into the output's
  if (Status* failed = GetApi().ShapeInferContext_GetInputTypeShape(context, 0, &x)) return failed;
  std::vector<Axis> axes;
  if (Status* failed = ReadAxes(x, &axes)) return failed;
  if (axes.empty()) return nullptr;  // nothing is known
  change(&axes);
  if (Status* failed = WriteAxes(x, &axes)) return failed;
  return GetApi().ShapeInferContext_SetOutputTypeShape(context, 0, x);
}

// The same with the last axis of this size.
Status* InferLast(ShapeInferContext* context, int64_t size) {
  return InferFromInput(context, [&](std::vector<Axis>* axes) { axes->back() = {size, ""}; });
}

Status* ReadAttribute(ShapeInferContext* context, const char* name, int64_t* value) {
  const OpAttribute* attribute = nullptr;
  size_t num_bytes = 0;
  if (Status* failed = GetApi().ShapeInferContext_GetAttribute(context, name, &attribute)) return failed;
  return GetApi().ReadOpAttr(attribute, AttributeType::kInt, value, sizeof(*value), &num_bytes);
}

}  // namespace

Status* InferSameShape(const CustomOp*, ShapeInferContext* context) {
  return InferFromInput(context, [](std::vector<Axis>*) {});
}

Status* InferSameNdim(const CustomOp*, ShapeInferContext* context) {
  return InferFromInput(context, [](std::vector<Axis>* axes) { axes->assign(axes->size(), Axis()); });
}

Status* InferOctaves(const CustomOp*, ShapeInferContext* context) {
  return InferLast(context, static_cast<int64_t>(kOctaves));
}

Status* InferHalf(const CustomOp*, ShapeInferContext* context) {
  return InferFromInput(context, [](std::vector<Axis>* axes) {
    Axis& last = axes->back();
    last = {last.size < 0 ? -1 : last.size / 2, ""};
  });
}

Status* InferOutFeatures(const CustomOp*, ShapeInferContext* context) {
  int64_t out_features = 0;
  if (Status* failed = ReadAttribute(context, "out_features", &out_features)) return failed;
  return InferLast(context, out_features);
}

Status* InferHeads(const CustomOp*, ShapeInferContext* context) {
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  if (Status* failed = ReadAttribute(context, "num_heads", &num_heads)) return failed;
  if (Status* failed = ReadAttribute(context, "head_dim", &head_dim)) return failed;
  return InferLast(context, num_heads * head_dim);
}

}  // namespace shardrun::ort
