#include "abort_flag.h"

#include <sys/eventfd.h>

#include <cstdint>

namespace shardrun {

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

std::shared_ptr<AbortFlag> AbortGroup::CreateFlag() {
  auto flag = std::make_shared<AbortFlag>();
  std::lock_guard<std::mutex> lock(mutex_);
  if (cause_) flag->Raise(cause_->message, cause_->peer);
  std::erase_if(flags_, [](const std::weak_ptr<AbortFlag>& each) { return each.expired(); });
  flags_.push_back(flag);
  return flag;
}

void AbortGroup::Raise(const std::string& message, int peer) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (cause_) return;
  cause_ = {message, peer};
  for (const auto& weak : flags_) {
    if (const auto flag = weak.lock()) flag->Raise(message, peer);
  }
}

}  // namespace shardrun
