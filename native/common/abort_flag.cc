#include "abort_flag.h"

#include <sys/eventfd.h>

#include <cstdint>
#include <vector>

namespace shardrun {

namespace {

struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<AbortFlag>> flags;
};

// Never destroyed: native threads may outlive the static objects of a process that exits.
Registry& AllFlags() {
  static auto* registry = new Registry;
  return *registry;
}

}  // namespace

std::shared_ptr<AbortFlag> AbortFlag::Create() {
  std::shared_ptr<AbortFlag> flag(new AbortFlag);
  Registry& registry = AllFlags();
  std::lock_guard<std::mutex> lock(registry.mutex);
  std::erase_if(registry.flags, [](const std::weak_ptr<AbortFlag>& each) { return each.expired(); });
  registry.flags.push_back(flag);
  return flag;
}

AbortFlag::AbortFlag() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw Error(Error::Kind::kInternal, "eventfd failed: too many open files. Raise the limit (ulimit -n).");
}

void AbortFlag::Raise(const std::string& message, int peer) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (raised()) return;
  message_ = message;
  peer_ = peer;
  raised_.store(true, std::memory_order_seq_cst);
  const uint64_t one = 1;
  static_cast<void>(!write(event_.get(), &one, sizeof(one)));
  if (wake_) wake_();
}

Error AbortFlag::error() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return Error(Error::Kind::kCollective, message_, peer_);
}

void AbortFlag::OnRaise(std::function<void()> wake) {
  std::lock_guard<std::mutex> lock(mutex_);
  wake_ = std::move(wake);
  if (wake_ && raised()) wake_();
}

void AbortAll(const std::string& message, int peer) {
  std::vector<std::shared_ptr<AbortFlag>> flags;
  {
    Registry& registry = AllFlags();
    std::lock_guard<std::mutex> lock(registry.mutex);
    for (const auto& flag : registry.flags) flags.push_back(flag.lock());
  }
  for (const auto& flag : flags) {
    if (flag) flag->Raise(message, peer);
  }
}

}  // namespace shardrun
