// Packing of quantised weights, and the choice of kernels, for JavaScript: packedWeightBytes, absoluteMaxima, packInt8,
// packInt4, packInt4Values, supportedKernels, chooseKernels.
#pragma once

#include <napi.h>

namespace shardrun {

void RegisterKernels(Napi::Env env, Napi::Object exports);

}  // namespace shardrun
