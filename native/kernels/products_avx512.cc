// The kernels of AVX-512, where the CPU has its VNNI.
#include "products_avx512.h"

#if defined(__x86_64__)

namespace shardrun {

const Kernels kAvx512Kernels = {"avx512vnni",
                                [] {
                                  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
                                },
                                avx512::MultiplyInt8,
                                avx512::MultiplyInt4,
                                avx512::floats::Multiply,
                                avx512::floats::AttendBlock};

}  // namespace shardrun

#endif
