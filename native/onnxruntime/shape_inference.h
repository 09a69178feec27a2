// What custom ops tell onnxruntime's planner about the shape of their output 0, as far as it follows from input 0.
#pragma once

#include "runtime.h"

namespace shardrun::ort {

// The same sizes.
Status* InferSameShape(const CustomOp*, ShapeInferContext* context);
// The same number of axes; nothing else is known.
Status* InferSameNdim(const CustomOp*, ShapeInferContext* context);
// The same sizes but the last, which is the number of octaves (kernels/octaves.h).
Status* InferOctaves(const CustomOp*, ShapeInferContext* context);
// The same sizes but the last, of which it is half.
Status* InferHalf(const CustomOp*, ShapeInferContext* context);
// The same sizes but the last, which is the attribute out_features.
Status* InferOutFeatures(const CustomOp*, ShapeInferContext* context);
// The same sizes but the last, which is the product of the attributes num_heads and head_dim.
Status* InferHeads(const CustomOp*, ShapeInferContext* context);

}  // namespace shardrun::ort
