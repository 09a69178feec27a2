// Chooses the scale of a block of weights of 4 bits, w = scale * q with q -8 .. 7, so that little of the weights is
// lost.
//
// With the scale that lets the value of largest magnitude be -8, the others are rounded to steps that are larger than
// need be: a smaller scale rounds all of them more finely, and costs a part of that one value. Which is better depends
// on the block, so a few scales are tried, with their roundings q. What an error costs is its square times v = |w| +
// mean |w|: with plain squares too much of the large weights was cut off, and SmolLM2 lost more than by no choice at
// all (docs/quantization.md). Of a rounding the best scale is known, sum(v w q) / sum(v q q), and what it leaves, sum(v
// w w) - sum(v w q)^2 / sum(v q q): the least such rest wins. Its scale is tried once more, for it may round better
// still. (More scales find at most 2 % less.)
#pragma once

#include <cstddef>
#include <cstdint>

namespace shardrun {

// As float16, the same on every CPU. 0: the weights are too small to be told from 0. Infinite or NaN: one of them is,
// or is too large.
uint16_t ChooseScale(const float* w, size_t count);

}  // namespace shardrun
