#include "group_communicator.h"

#include <chrono>
#include <numeric>
#include <utility>

#include "reduce.h"

namespace shardrun {

namespace {

// FNV-1a over the sizes: ranks that disagree about them find out before they exchange anything.
uint32_t HashSizes(const std::vector<size_t>& sizes) {
  uint32_t hash = 2166136261u;
  for (const size_t size : sizes) {
    for (int shift = 0; shift < 64; shift += 8) hash = (hash ^ ((size >> shift) & 0xff)) * 16777619u;
  }
  return hash;
}

size_t SumOf(const std::vector<size_t>& sizes) { return std::accumulate(sizes.begin(), sizes.end(), size_t{0}); }

std::vector<std::vector<int>> EachAlone(int world_size) {
  std::vector<std::vector<int>> hosts;
  for (int rank = 0; rank < world_size; ++rank) hosts.push_back({rank});
  return hosts;
}

}  // namespace

GroupCommunicator::GroupCommunicator(const std::shared_ptr<Listener>& listener, ConnectOptions options,
                                     std::shared_ptr<AbortFlag> abort)
    : options_(std::move(options)),
      abort_(std::move(abort)),
      transport_(ConnectTransport(listener, options_, abort_)),
      transport_name_(transport_->name()),
      algorithms_(*transport_, options_.rank,
                  transport_->shares_memory() ? options_.Hosts() : EachAlone(options_.world_size)) {}

void GroupCommunicator::AllReduce(void* data, size_t count, DataType type, ReduceOp op, const CallInfo& info) {
  CallDescription call{"allReduce", info.label, NewFrame(Op::kAllReduce, info, count * ElementBytes(type))};
  call.frame.type = type;
  call.frame.reduce = op;
  Run(call, info, [&](const Deadline& deadline) { algorithms_.AllReduce(call.frame, data, count, deadline); });
}

void GroupCommunicator::AllGather(const void* input, void* output, const std::vector<size_t>& bytes_per_rank,
                                  const CallInfo& info) {
  CallDescription call{"allGather", info.label, NewFrame(Op::kAllGather, info, SumOf(bytes_per_rank))};
  call.frame.layout = HashSizes(bytes_per_rank);
  Run(call, info,
      [&](const Deadline& deadline) { algorithms_.AllGather(call.frame, input, output, bytes_per_rank, deadline); });
}

void GroupCommunicator::ReduceScatter(const void* input, void* output, const std::vector<size_t>& counts, DataType type,
                                      ReduceOp op, const CallInfo& info) {
  CallDescription call{"reduceScatter", info.label,
                       NewFrame(Op::kReduceScatter, info, SumOf(counts) * ElementBytes(type))};
  call.frame.type = type;
  call.frame.reduce = op;
  call.frame.layout = HashSizes(counts);
  Run(call, info,
      [&](const Deadline& deadline) { algorithms_.ReduceScatter(call.frame, input, output, counts, deadline); });
}

void GroupCommunicator::Broadcast(void* data, size_t bytes, int root, const CallInfo& info) {
  CheckRank("broadcast", "root", root, true);
  CallDescription call{"broadcast", info.label, NewFrame(Op::kBroadcast, info, bytes)};
  call.frame.root = root;
  Run(call, info, [&](const Deadline& deadline) { algorithms_.Broadcast(call.frame, data, bytes, deadline); });
}

void GroupCommunicator::BroadcastMessage(std::vector<uint8_t>* message, int root, const CallInfo& info) {
  CheckRank("broadcastMessage", "root", root, true);
  const size_t known_bytes = root == rank() ? message->size() : 0;
  CallDescription call{"broadcastMessage", info.label, NewFrame(Op::kBroadcastMessage, info, known_bytes)};
  call.frame.root = root;
  Run(call, info, [&](const Deadline& deadline) { algorithms_.BroadcastMessage(call.frame, message, deadline); });
}

void GroupCommunicator::Barrier(const CallInfo& info) {
  const CallDescription call{"barrier", info.label, NewFrame(Op::kBarrier, info, 0)};
  Run(call, info, [&](const Deadline& deadline) { algorithms_.Barrier(call.frame, deadline); });
}

void GroupCommunicator::Send(const void* data, size_t bytes, int peer, const CallInfo& info) {
  CheckRank("send", "peer", peer, false);
  const CallDescription call{"send", info.label, NewFrame(Op::kSend, info, bytes)};
  Run(call, info, [&](const Deadline& deadline) { algorithms_.Send(call.frame, data, peer, deadline); });
}

void GroupCommunicator::Recv(void* data, size_t bytes, int peer, const CallInfo& info) {
  CheckRank("recv", "peer", peer, false);
  const CallDescription call{"recv", info.label, NewFrame(Op::kSend, info, bytes)};
  Run(call, info, [&](const Deadline& deadline) { algorithms_.Receive(call.frame, data, peer, deadline); });
}

Frame GroupCommunicator::NewFrame(Op op, const CallInfo& info, uint64_t call_bytes) const {
  Frame frame;
  frame.epoch = options_.epoch;
  frame.communicator = options_.communicator;
  frame.op = op;
  frame.call_bytes = call_bytes;
  frame.SetLabel(info.label);
  return frame;
}

void GroupCommunicator::Run(const CallDescription& call, const CallInfo& info,
                            const std::function<void(const Deadline&)>& body) {
  {
    const std::lock_guard<std::mutex> lock(calling_);
    if (failed_) throw *failed_;
    const auto start = std::chrono::steady_clock::now();
    const Deadline deadline(info.timeout_ms < 0 ? options_.timeout_ms : info.timeout_ms);
    try {
      if (abort_->raised()) throw Failure(Failure::Reason::kAborted);
      body(deadline);
    } catch (const Failure& failure) {
      Fail(call, deadline, failure);
    }
    ++calls_;
    bytes_ += call.frame.call_bytes;
    nanoseconds_ += std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
  }
  if (abort_->raised()) TellAbort();
}

void GroupCommunicator::Fail(const CallDescription& call, const Deadline& deadline, const Failure& failure) {
  Frame notice = call.frame;
  notice.root = rank();
  if (failure.reason == Failure::Reason::kAborted) {
    failed_ = abort_->error();
    transport_->TellFailure(notice, failed_->what());
  } else {
    const std::string text = FailureText(options_, call, deadline, failure);
    failed_ = Error(Error::Kind::kCollective, text, options_.peers[failure.waits[0].peer].rank);
    const bool began_elsewhere = failure.reason == Failure::Reason::kPeerFailed;
    if (began_elsewhere) notice.root = failure.origin;
    transport_->TellFailure(notice, began_elsewhere ? failure.text : text);
  }
  peers_told_ = true;
  throw *failed_;
}

void GroupCommunicator::CheckRank(const char* verb, const char* name, int rank, bool may_be_own) const {
  if (rank >= 0 && rank < world_size() && (may_be_own || rank != options_.rank)) return;
  throw Error(Error::Kind::kUsage, std::string(verb) + ": expected " + name + " to be " +
                                       (may_be_own ? "a rank" : "another rank") + " of this communicator's " +
                                       std::to_string(world_size()) + ", received " + std::to_string(rank) + ".");
}

// A call under way sees the flag and tells the peers as it fails; one that has just succeeded looks at the flag after
// it has let go of the lock. So whichever of the two threads comes last tells them.
void GroupCommunicator::Abort(const std::string& message, int peer) {
  abort_->Raise(message, peer);
  TellAbort();
}

void GroupCommunicator::TellAbort() {
  const std::unique_lock<std::mutex> lock(calling_, std::try_to_lock);
  if (!lock.owns_lock() || peers_told_) return;
  peers_told_ = true;
  failed_ = abort_->error();
  Frame notice = NewFrame(Op::kFailure, {}, 0);
  notice.root = rank();
  transport_->TellFailure(notice, failed_->what());
}

void GroupCommunicator::Close() {
  const std::lock_guard<std::mutex> lock(calling_);
  if (!failed_) failed_ = Error(Error::Kind::kUsage, "The communicator is closed: create another one.");
  peers_told_ = true;
  transport_.reset();
}

Communicator::Statistics GroupCommunicator::statistics() const { return {calls_, bytes_, nanoseconds_}; }

}  // namespace shardrun
