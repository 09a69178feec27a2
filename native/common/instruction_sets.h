// One compilation of a function's loops per instruction set, chosen when the program is loaded by what the CPU has:
// levels of x86-64, for "arch=haswell" would mean processors of that name only. Sanitizers are not ready by then.
#pragma once

#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHARDRUN_PER_INSTRUCTION_SET
#elif defined(__clang__) || __GNUC__ < 12  // which do not know the levels
#define SHARDRUN_PER_INSTRUCTION_SET __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SHARDRUN_PER_INSTRUCTION_SET __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
