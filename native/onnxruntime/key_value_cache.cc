#include "key_value_cache.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "../kernels/attention_group.h"

namespace shardrun::ort {

namespace {

constexpr size_t kPageBytes = 4096;

int64_t RoundUpToTiles(int64_t num_positions) {
  constexpr auto tile = static_cast<int64_t>(kTileKeys);
  return (num_positions + tile - 1) / tile * tile;
}

void CheckRows(int64_t first_row, int64_t num_rows, int64_t available_rows) {
  if (first_row >= 0 && num_rows >= 1 && num_rows <= available_rows - first_row) return;
  throw Error(Error::Kind::kUsage, "Cache rows [" + std::to_string(first_row) + ", " +
                                       std::to_string(first_row + num_rows) + ") do not exist: the cache has " +
                                       std::to_string(available_rows) + ".");
}

}  // namespace

KeyValueCache::KeyValueCache(int64_t num_rows, int64_t max_context, std::vector<TensorSpec> tensors)
    : num_rows_(num_rows),
      max_context_(max_context),
      num_positions_(RoundUpToTiles(max_context)),
      tensors_(std::move(tensors)) {
  for (const TensorSpec& tensor : tensors_) {
    offsets_.push_back(reserved_bytes_);
    const size_t bytes = static_cast<size_t>(num_rows_) * RowBytes(tensor);
    reserved_bytes_ += (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  }
  if (reserved_bytes_ == 0) return;  // a rank without heads
  void* memory =
      mmap(nullptr, reserved_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(Error::Kind::kExecution,
                "Reserving a key/value cache of " + std::to_string(num_rows_) + " rows x " +
                    std::to_string(max_context_) + " positions, " + std::to_string(reserved_bytes_) +
                    " bytes, failed: " + std::strerror(errno) + ". Lower maxContext or the number of rows.");
  }
  // Huge pages would make every head's first token cost 2 MiB.
  madvise(memory, reserved_bytes_, MADV_NOHUGEPAGE);
  memory_ = static_cast<uint8_t*>(memory);
}

KeyValueCache::~KeyValueCache() {
  if (memory_ != nullptr) munmap(memory_, reserved_bytes_);
}

TensorView KeyValueCache::Rows(size_t index, int64_t first_row, int64_t num_rows) const {
  CheckRows(first_row, num_rows, num_rows_);
  const TensorSpec& tensor = tensors_[index];
  const size_t row_bytes = RowBytes(tensor);
  return {tensor.past,
          ElementType::kFloat32,
          {num_rows, tensor.num_heads, num_positions_, tensor.head_dim},
          memory_ + offsets_[index] + static_cast<size_t>(first_row) * row_bytes,
          static_cast<size_t>(num_rows) * row_bytes,
          nullptr};
}

void KeyValueCache::CopyRow(int64_t from, int64_t to, int64_t num_tokens) {
  CheckRows(from, 1, num_rows_);
  CheckRows(to, 1, num_rows_);
  if (num_tokens < 0 || num_tokens > max_context_) {
    throw Error(Error::Kind::kUsage, "Cannot copy " + std::to_string(num_tokens) + " positions: a cache row has " +
                                         std::to_string(max_context_) + ".");
  }
  if (from == to) return;
  for (size_t index = 0; index < tensors_.size(); ++index) {
    const TensorSpec& tensor = tensors_[index];
    const size_t position_bytes = static_cast<size_t>(tensor.head_dim) * sizeof(float);
    const size_t head_bytes = static_cast<size_t>(num_positions_) * position_bytes;
    const uint8_t* source = static_cast<const uint8_t*>(Rows(index, from, 1).data);
    uint8_t* target = static_cast<uint8_t*>(Rows(index, to, 1).data);
    for (int64_t head = 0; head < tensor.num_heads; ++head) {
      std::memcpy(target + head * head_bytes, source + head * head_bytes,
                  static_cast<size_t>(RoundUpToTiles(num_tokens)) * position_bytes);
    }
  }
}

size_t KeyValueCache::RowBytes(const TensorSpec& tensor) const {
  return static_cast<size_t>(tensor.num_heads * num_positions_ * tensor.head_dim) * sizeof(float);
}

}  // namespace shardrun::ort
