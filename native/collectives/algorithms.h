// The collectives as steps over a transport. Knows no deadlines, locks or messages beyond passing them on.
//
// P ranks, n bytes. A step is one exchange of all ranks (transport/transport.h); its cost is one latency plus the bytes
// that a rank takes. Messages longer than a transport's step go segment by segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/deadline.h"
#include "../transport/transport.h"
#include "all_reduce_by_hosts.h"

namespace shardrun {

// Up to here a second step costs more than reading everybody's bytes.
inline constexpr size_t kOneShotBytes = 16 << 10;

class Algorithms {
 public:
  // hosts: the ranks of each host in their order; of a transport that shares no memory, each rank by itself.
  Algorithms(Transport& transport, int rank, const std::vector<std::vector<int>>& hosts);

  // `frame` describes the call; its sequence is filled in here. All throw Failure.

  // One shot (few bytes; between two ranks, more, see Transport::pair_bytes): every rank gives all it has to all others
  // and reduces everything itself: 1 step, (P-1)n bytes. Otherwise, in shared memory, reduce-scatter and all-gather:
  // each rank reduces one chunk of P: 2 steps, 2n(P-1)/P bytes; over a network AllReduceByHosts does the same block by
  // block. All add each element in an order that is the same on all ranks: that of the ranks, or, of many bytes in a
  // group of several hosts, some with several ranks, host by host, which gives others for other placements.
  void AllReduce(Frame frame, void* data, size_t count, const Deadline& deadline);
  // 1 step, n - (own) bytes.
  void AllGather(Frame frame, const void* input, void* output, const std::vector<size_t>& bytes_per_rank,
                 const Deadline& deadline);
  // 1 step, (P-1) chunks.
  void ReduceScatter(Frame frame, const void* input, void* output, const std::vector<size_t>& counts,
                     const Deadline& deadline);
  // 1 step, n bytes from the root to each.
  void Broadcast(Frame frame, void* data, size_t bytes, const Deadline& deadline);
  // The size goes ahead of the message, in the same step as its beginning.
  void BroadcastMessage(Frame frame, std::vector<uint8_t>* message, const Deadline& deadline);
  // 1 step, no bytes.
  void Barrier(Frame frame, const Deadline& deadline);
  // 1 message; peers are paired by how many have gone before it.
  void Send(Frame frame, const void* data, int peer, const Deadline& deadline);
  void Receive(Frame frame, void* data, int peer, const Deadline& deadline);

 private:
  // Begins a step in which this rank offers `bytes` at `data` and, until told otherwise, nobody takes anything.
  void Begin(const Frame& frame, const void* data, size_t bytes);
  void GiveAll();
  void Exchange(const Deadline& deadline);
  // out = own op what was taken from the peers, in rank order.
  void ReduceTaken(const Frame& frame, void* out, const void* own, size_t count);
  void BroadcastRest(const Frame& frame, uint8_t* data, size_t first, size_t bytes, const Deadline& deadline);

  Transport& transport_;
  const int rank_;
  const int world_size_;
  uint64_t sequence_ = 0;
  std::vector<uint64_t> sent_;      // [worldSize], messages to each peer
  std::vector<uint64_t> received_;  // [worldSize], messages from each peer
  Step step_;
  std::vector<const void*> inputs_;  // [worldSize]
  std::vector<uint8_t> packed_;
  AllReduceByHosts by_hosts_;
};

}  // namespace shardrun
