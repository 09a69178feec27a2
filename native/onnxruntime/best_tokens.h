// The likeliest token of each position, of logits that lie whole on every rank or in shards of the vocabulary: then the
// ranks exchange their candidates, 8 bytes per position, which counts among the run's collectives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collective_kernels.h"

namespace shardrun::ort {

// In place of a token: a rank without vocabulary has no candidate, and a logit that is no finite number is no
// likelihood.
inline constexpr int32_t kNoToken = -1;

// What to look for after a run.
struct TokenSearch {
  std::string output;  // of the graph, float32 [..., V or V/P]; empty: this rank holds no vocabulary
  size_t num_positions = 0;
  int32_t first_id = 0;  // of this rank's shard
  bool is_shard = false;
};

// logits: [num_positions, width], null when this rank has none. Returns [num_positions], the same on every rank: the
// lowest id of those with the largest logit; kNoToken where a logit is a NaN or the largest is infinite.
std::vector<int32_t> FindBestTokens(const TokenSearch& search, const float* logits, size_t width,
                                    CollectiveState* collectives);

}  // namespace shardrun::ort
