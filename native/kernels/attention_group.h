// What the attention of one instruction set works on: a few rows (a row is one query head of one token) that share a
// key/value head, against the keys and values of that head in the cache, a block at a time.
//
//   for each block of 64 keys, from position 0 on:      Milakov & Gimelshein 2018 (arXiv:1805.02867), Dao et al. 2022
//     scores = query . key                              (arXiv:2205.14135)
//     maximum' = max(maximum, scores)
//     weights = e^(scores - maximum')
//     total, sums = (total, sums) * e^(maximum - maximum') + weights . (1, values)
//
// Blocks begin at multiples of 64 positions, and every sum is taken in the order of the positions, so that a row's bits
// depend on nothing but the row: not on those beside it, nor on how a prompt was cut into steps.
#pragma once

#include <cfloat>
#include <cstddef>

#include "float_rows.h"

namespace shardrun {

// Keys lie in the cache in tiles of 16 positions, as packed weights lie in tiles of 16 outputs: [T / 16, H, 16].
inline constexpr size_t kTileKeys = 16;
// Keys whose scores are taken at once; elements of a query that lie side by side.
inline constexpr size_t kBlockKeys = 64;
inline constexpr size_t kSliceElements = 64;
// Partial sums of each row's total.
inline constexpr size_t kTotalLanes = 16;
// The maximum of no scores.
inline constexpr float kNoScore = -FLT_MAX;

// One key/value head of one sequence.
struct HeadCache {
  const float* keys;    // [T / 16, H, 16]
  const float* values;  // [T, H]
  size_t head_dim;      // H
  float score_cap;      // scores x become cap * tanh(x / cap); 0: they stay
};

struct AttentionGroup {
  size_t num_rows = 0;
  const float* queries;  // [H / 64 rounded up, kGroupRows, 64], with the factor of the scores
  // The positions that each row sees: [begin, end). Both never fall from row to row.
  size_t begins[kGroupRows];
  size_t ends[kGroupRows];
  // So far, of what has been seen.
  float* maxima;  // [kGroupRows]
  float* totals;  // [kGroupRows, kTotalLanes]
  float* sums;    // [kGroupRows, H rounded up to 16]
};

// Adds the keys and values of [first_key, first_key + kBlockKeys) to a group, some row of which sees one of them.
namespace plain::floats {
void AttendBlock(const HeadCache& head, size_t first_key, const AttentionGroup& group);
}
#if defined(__x86_64__)
namespace avx2::floats {
void AttendBlock(const HeadCache& head, size_t first_key, const AttentionGroup& group);
}
namespace avx512::floats {
void AttendBlock(const HeadCache& head, size_t first_key, const AttentionGroup& group);
}
#endif

}  // namespace shardrun
