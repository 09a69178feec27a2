// Causal attention of new tokens over the keys and values of their sequences, to which theirs are added first. The
// scores of a block of keys are all that exists of the square at any time (attention_group.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention_group.h"
#include "parallel.h"

namespace shardrun {

struct AttentionLayout {
  size_t num_heads = 0;            // N
  size_t num_key_value_heads = 0;  // K
  size_t group_size = 0;           // query heads that share a key/value head in the whole model
  size_t first_head = 0;           // of its group, the first query head here; the last group may be incomplete, too
  size_t head_dim = 0;             // H
  float score_scale = 1;
  float score_cap = 0;    // scaled scores x become cap * tanh(x / cap); 0: they stay
  size_t window = 0;      // positions that a token sees, its own included; 0: all up to its own
  size_t rotary_dim = 0;  // the first elements of a head of q and k, which are turned; even, at most H
};

// Heads of new tokens: [B, S, heads, H], tokens `stride` floats apart.
struct TokenHeads {
  const float* first = nullptr;
  size_t stride = 0;
};

struct AttentionStep {
  const AttentionLayout& layout;
  size_t num_sequences = 0;                 // B
  size_t num_tokens = 0;                    // S
  const int32_t* last_positions = nullptr;  // [B], of each sequence's last new token
  TokenHeads queries = {};
  TokenHeads keys = {};
  TokenHeads values = {};
  // cos and sin of each position and pair: element i of a head is turned with element i + rotary_dim / 2.
  const float* cos = nullptr;  // [positions, rotary_dim / 2]
  const float* sin = nullptr;
  size_t num_positions = 0;        // T, a multiple of kTileKeys
  float* cached_keys = nullptr;    // [B, K, T / 16, H, 16]
  float* cached_values = nullptr;  // [B, K, T, H]
  float* out = nullptr;            // [B, S, N, H]
};

// A (sequence, token, head) has the same bits whatever the other sequences, heads and tokens of the step, the tokens of
// earlier steps, and the number of threads; and the same with every vector instruction set, while plain C++ rounds
// products before it adds them.
void Attend(const AttentionStep& step, Threads* threads);

}  // namespace shardrun
