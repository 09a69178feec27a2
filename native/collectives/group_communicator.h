// The Communicator over any transport: checks a call, runs its algorithm, counts it, and turns what went wrong into an
// error that every rank gets. The first failure ends the communicator: later calls repeat it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../common/abort_flag.h"
#include "../transport/connect.h"
#include "algorithms.h"
#include "communicator.h"
#include "failure_text.h"

namespace shardrun {

class GroupCommunicator final : public Communicator {
 public:
  // Blocks until all peers are connected. Throws as ConnectTransport does.
  GroupCommunicator(const std::shared_ptr<Listener>& listener, ConnectOptions options,
                    std::shared_ptr<AbortFlag> abort);

  int rank() const override { return options_.rank; }
  int world_size() const override { return options_.world_size; }
  const char* transport() const { return transport_name_; }

  void AllReduce(void* data, size_t count, DataType type, ReduceOp op, const CallInfo& info) override;
  void AllGather(const void* input, void* output, const std::vector<size_t>& bytes_per_rank,
                 const CallInfo& info) override;
  void ReduceScatter(const void* input, void* output, const std::vector<size_t>& counts, DataType type, ReduceOp op,
                     const CallInfo& info) override;
  void Broadcast(void* data, size_t bytes, int root, const CallInfo& info) override;
  void BroadcastMessage(std::vector<uint8_t>* message, int root, const CallInfo& info) override;
  void Barrier(const CallInfo& info) override;
  void Send(const void* data, size_t bytes, int peer, const CallInfo& info) override;
  void Recv(void* data, size_t bytes, int peer, const CallInfo& info) override;

  void Abort(const std::string& message, int peer) override;
  Statistics statistics() const override;
  // Ends the connections; peers that still wait for this rank fail. Later calls do, too.
  void Close();

 private:
  Frame NewFrame(Op op, const CallInfo& info, uint64_t call_bytes) const;
  void Run(const CallDescription& call, const CallInfo& info, const std::function<void(const Deadline&)>& body);
  // Ends the communicator: keeps the error for later calls and tells the peers.
  [[noreturn]] void Fail(const CallDescription& call, const Deadline& deadline, const Failure& failure);
  void CheckRank(const char* verb, const char* name, int rank, bool may_be_own) const;
  void TellAbort();

  const ConnectOptions options_;
  const std::shared_ptr<AbortFlag> abort_;
  std::unique_ptr<Transport> transport_;  // nullptr once closed
  const char* const transport_name_;
  Algorithms algorithms_;

  std::mutex calling_;  // held by the call under way
  std::optional<Error> failed_;
  bool peers_told_ = false;

  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> nanoseconds_{0};
};

}  // namespace shardrun
