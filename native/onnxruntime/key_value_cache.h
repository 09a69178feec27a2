// Memory for the keys and values of every layer: one lazy reservation, cut into tensors [numRows, numHeads, T,
// headDim]; T is maxContext, rounded up to whole tiles of keys (kernels/attention_group.h).
//
// A row is one sequence, so the rows of a step that lie side by side are one contiguous tensor, which a session reads
// and extends in place. A page costs nothing until a token has reached it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor.h"

namespace shardrun::ort {

class KeyValueCache {
 public:
  // One tensor of the graph, by the names of its input and its output.
  struct TensorSpec {
    std::string past;
    std::string present;
    int64_t num_heads;
    int64_t head_dim;
  };

  // Throws Error(kExecution) when that much address space is not to be had.
  KeyValueCache(int64_t num_rows, int64_t max_context, std::vector<TensorSpec> tensors);
  ~KeyValueCache();
  KeyValueCache(const KeyValueCache&) = delete;
  KeyValueCache& operator=(const KeyValueCache&) = delete;

  int64_t num_rows() const { return num_rows_; }
  int64_t max_context() const { return max_context_; }
  size_t reserved_bytes() const { return reserved_bytes_; }
  const std::vector<TensorSpec>& tensors() const { return tensors_; }

  // Rows [first_row, first_row + num_rows) of tensor `index`: [num_rows, numHeads, T, headDim], named as its past.
  // Throws Error(kUsage) for rows that do not exist.
  TensorView Rows(size_t index, int64_t first_row, int64_t num_rows) const;
  // Copies the first `num_tokens` positions of every head of row `from` over those of row `to`, in whole tiles.
  void CopyRow(int64_t from, int64_t to, int64_t num_tokens);

 private:
  size_t RowBytes(const TensorSpec& tensor) const;

  int64_t num_rows_;
  int64_t max_context_;
  int64_t num_positions_;  // T
  std::vector<TensorSpec> tensors_;
  std::vector<size_t> offsets_;  // of each tensor, bytes
  size_t reserved_bytes_ = 0;
  uint8_t* memory_ = nullptr;
};

}  // namespace shardrun::ort
