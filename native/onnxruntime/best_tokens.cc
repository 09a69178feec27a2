#include "best_tokens.h"

#include <limits>

#include "../kernels/largest.h"
#include "stopwatch.h"

namespace shardrun::ort {

namespace {

struct Candidate {
  int32_t id;
  float logit;
};
static_assert(sizeof(Candidate) == 8);

// Of one position; candidates in rank order, which is that of ids: the first of equal ones has the lowest.
int32_t ChooseBest(const Candidate* candidates, size_t stride, size_t count) {
  const Candidate* best = nullptr;
  for (size_t i = 0; i < count; ++i) {
    const Candidate& candidate = candidates[i * stride];
    if (candidate.id == kNoToken) continue;
    if (!(candidate.logit < std::numeric_limits<float>::infinity())) return kNoToken;
    if (best == nullptr || candidate.logit > best->logit) best = &candidate;
  }
  return best == nullptr ? kNoToken : best->id;
}

}  // namespace

std::vector<int32_t> FindBestTokens(const TokenSearch& search, const float* logits, size_t width,
                                    CollectiveState* collectives) {
  const size_t num_positions = search.num_positions;
  std::vector<Candidate> own(num_positions, {kNoToken, 0});
  for (size_t position = 0; logits != nullptr && width > 0 && position < num_positions; ++position) {
    const Largest largest = FindLargest(logits + position * width, width);
    own[position] = {search.first_id + static_cast<int32_t>(largest.index), largest.value};
  }
  std::vector<Candidate> all;
  if (search.is_shard) {
    const Stopwatch stopwatch;
    const auto world_size = static_cast<size_t>(collectives->communicator->world_size());
    all.resize(world_size * num_positions);
    const std::vector<size_t> bytes_per_rank(world_size, num_positions * sizeof(Candidate));
    collectives->communicator->AllGather(own.data(), all.data(), bytes_per_rank, {"logits candidates"});
    collectives->nanoseconds += stopwatch.nanoseconds();
  } else {
    all = std::move(own);
  }
  std::vector<int32_t> best(num_positions);
  for (size_t position = 0; position < num_positions; ++position) {
    best[position] = ChooseBest(all.data() + position, num_positions, all.size() / num_positions);
  }
  return best;
}

}  // namespace shardrun::ort
