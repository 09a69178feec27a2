#include "external_memory.h"

#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

namespace shardrun {

namespace {

struct Stretch {
  size_t num_bytes;
  std::shared_ptr<void> owner;
};

// Of all threads: every stretch that an ArrayBuffer shows, by its first byte.
struct Stretches {
  std::mutex mutex;
  std::map<const void*, Stretch, std::less<>> by_data;
};

// Never destroyed: threads may end after the process has begun to.
Stretches& All() {
  static auto* const all = new Stretches;
  return *all;
}

void Release(Napi::Env, void* data) {
  Stretch released;  // outlives the lock: unmapping takes a while
  const std::lock_guard<std::mutex> lock(All().mutex);
  const auto found = All().by_data.find(data);
  released = std::move(found->second);
  All().by_data.erase(found);
}

}  // namespace

Napi::ArrayBuffer NewArrayBuffer(Napi::Env env, void* data, size_t num_bytes, std::shared_ptr<void> owner) {
  {
    const std::lock_guard<std::mutex> lock(All().mutex);
    All().by_data[data] = {num_bytes, std::move(owner)};
  }
  return Napi::ArrayBuffer::New(env, data, num_bytes, Release);
}

std::shared_ptr<void> OwnerOf(const void* data) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  const auto after = All().by_data.upper_bound(data);
  if (after == All().by_data.begin()) return nullptr;
  const auto& [first, stretch] = *std::prev(after);
  const auto offset = static_cast<const std::byte*>(data) - static_cast<const std::byte*>(first);
  return static_cast<size_t>(offset) < stretch.num_bytes ? stretch.owner : nullptr;
}

}  // namespace shardrun
