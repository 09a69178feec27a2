// One compilation of a function's loops per instruction set, chosen when the program is loaded. Sanitizers are not
// ready by then.
#pragma once

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SHARDRUN_PER_INSTRUCTION_SET __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define SHARDRUN_PER_INSTRUCTION_SET
#endif
