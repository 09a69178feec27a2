// The instructions of x86-64 by name, for files that have functions for instruction sets which not every CPU has.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

// GCC 12 takes the undefined operand of its own intrinsics for a mistake (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#endif

// Before a loop over what shall stay in registers.
#define SHARDRUN_UNROLL _Pragma("GCC unroll 32")
