// The element types of tensors: onnxruntime's codes, our names of them (src/model/graph.ts), and their sizes.
#pragma once

#include <cstddef>
#include <string>

#include "../common/types.h"
#include "api.h"

namespace shardrun::ort {

// "float32" -> kFloat32. Throws Error(kUsage) for a name that is not known.
ElementType ElementTypeOf(const std::string& name);
// kFloat32 -> "float32". Throws Error(kExecution) for a type that we do not handle (strings, 4 bits, complex numbers).
const char* NameOf(ElementType type);
size_t BytesOf(ElementType type);
// The same type as collectives know it. Throws Error(kExecution) when it does not travel.
DataType WireTypeOf(ElementType type);

}  // namespace shardrun::ort
