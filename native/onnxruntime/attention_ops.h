// The custom op of domain "shardrun", version 1, for attention over a cache that it extends (kernels/attention.h):
//
//   CachedAttention(query, key?, value?, past_key, past_value, seqlens_k, cos?, sin?) -> (y, present_key,
//   present_value)
//
//     query [B, S, N*H], key and value [B, S, K*H]; or the three packed in query, [B, S, (N+2K)*H]
//     past_key, past_value [B, K, T, H], T a multiple of 16; present_key and present_value must be the same memory.
//     Values lie as the shape says, keys in tiles of 16 positions: [B, K, T/16, H, 16]
//     seqlens_k int32 [B], the position of each sequence's last new token; cos, sin [positions, rotary_dim / 2]
//     y [B, S, N*H]
//
// Attributes: num_heads (N), kv_num_heads (K), group_size (query heads that share a key/value head in the whole model),
// first_head (of its group, the first query head here); head_dim (H), rotary_dim (0: cos and sin are not there); scale
// and softcap (0: none) of the scores; local_window_size (0: all). It computes what com.microsoft's GroupQueryAttention
// does.
#pragma once

#include <memory>

#include "custom_op.h"

namespace shardrun::ort {

std::unique_ptr<Op> MakeCachedAttentionOp(int num_threads);

}  // namespace shardrun::ort
