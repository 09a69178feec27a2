// Sums, or takes the largest of, arrays of one element type. The only arithmetic of the collectives.
#pragma once

#include <cstddef>

#include "../common/types.h"

namespace shardrun {

size_t ElementBytes(DataType type);
const char* DataTypeName(DataType type);

// out[i] = inputs[0][i] op inputs[1][i] op ..., strictly in this order, so that whoever computes it gets the same bits.
// Halves are summed in float32 and rounded once. Integers wrap around. A NaN stays one. `out` may be one of the inputs.
void Reduce(void* out, const void* const* inputs, int num_inputs, size_t count, DataType type, ReduceOp op);

}  // namespace shardrun
