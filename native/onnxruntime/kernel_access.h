// What kernels read of their node, and how they reach their inputs and outputs. All throw Error(kExecution).
#pragma once

#include <string>
#include <vector>

#include "runtime.h"
#include "tensor.h"

namespace shardrun::ort {

std::string ReadNodeName(const KernelInfo* info);
std::string ReadStringAttribute(const KernelInfo* info, const char* name);
int64_t ReadIntAttribute(const KernelInfo* info, const char* name);
float ReadFloatAttribute(const KernelInfo* info, const char* name);
std::vector<int64_t> ReadIntsAttribute(const KernelInfo* info, const char* name);

// Null for an optional one that is not there.
const Value* Input(const KernelContext* context, size_t index);
// Allocates it; where it is.
void* Output(KernelContext* context, size_t index, const std::vector<int64_t>& shape);

}  // namespace shardrun::ort
