// allReduce of many bytes between hosts, the network's and the processors' work at the same time.
//
// H hosts, n bytes. The message goes block by block, a block in H chunks, of which each host reduces one:
//
//   1. the k ranks of a host reduce-scatter every chunk in shared memory: each has a piece of each, 1/k of the chunk
//   2. each rank sends its piece of another host's chunk to those ranks there that hold the same elements
//   3. and reduces what it got for its own host's chunk
//   4. the sums go back to all who hold these elements
//   5. the ranks of a host gather every chunk in shared memory
//
// A block's 2 begins before 3 of the two blocks before it, and its 5 comes after 4 of the next has begun: while a rank
// computes or copies, the kernel has something to send. Each host sends and receives 2n(H-1)/H bytes, the least
// possible, which a ring takes as well; but a block has the latency of two messages, not of 2(H-1), and each element is
// summed in one order, whichever chunk it lies in: over the hosts, in the order of their first ranks, the host's sum in
// rank order. So all ranks hold the same bits, which neither the message's size nor the moment changes.
//
// A rank that shares no memory is a host of its own here; then 1 and 5 are nothing, and the sum is that in rank order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/deadline.h"
#include "../transport/mesh.h"
#include "../transport/transport.h"

namespace shardrun {

// Short enough that what was received is still in the cache when it is reduced, and long enough that a block takes many
// times the latency of a network.
inline constexpr size_t kLongestBlockBytes = 512 << 10;
// How many blocks have begun before one turns.
inline constexpr size_t kBlocksAhead = 2;

class AllReduceByHosts {
 public:
  // hosts: the ranks of each in their order.
  AllReduceByHosts(Transport& transport, int rank, const std::vector<std::vector<int>>& hosts);

  // data: [count], in place. `sequence` is that of the group's last step, and moves on. Throws Failure.
  void Run(const Frame& frame, uint8_t* data, size_t count, uint64_t* sequence, const Deadline& deadline);

 private:
  struct Block {
    uint8_t* data = nullptr;
    size_t count = 0;
    uint64_t sequence = 0;                        // of the step before its own two
    Step scatter;                                 // step 2
    Step gather;                                  // step 4
    std::vector<std::vector<uint8_t>> host_sums;  // of each other host, this rank's piece of this host's chunk
  };

  // Steps 1 and 2, 3 and 4, 5.
  void Begin(Block& block, const Frame& frame, const Deadline& deadline);
  void Turn(Block& block, const Frame& frame, const Deadline& deadline);
  void End(Block& block, const Frame& frame, const Deadline& deadline);

  // A host's chunk of a block, and a rank's piece of it.
  Range ChunkOf(const Block& block, size_t host) const;
  Range PieceOf(const Block& block, size_t chunk, size_t host, size_t place) const;
  // What this rank and another both hold of a host's chunk.
  Range Common(const Block& block, size_t chunk, size_t host, size_t place) const;

  void ReduceScatterInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline);
  void AllGatherInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline);
  // A step at which nobody gives or takes anything yet.
  void StartStep(Step& step, const Frame& frame, uint64_t sequence, const void* offer) const;
  void BeginAbroad(Step& step);
  // Calls visit(host, place, rank) for every rank of every other host.
  template <typename Visit>
  void ForEachAbroad(Visit&& visit) const;

  Transport& transport_;
  const std::vector<std::vector<int>> hosts_;
  size_t world_size_ = 0;
  size_t host_ = 0;   // index in hosts_ of this rank's host
  size_t place_ = 0;  // index of this rank there
  size_t element_bytes_ = 1;
  uint64_t host_sequence_ = 0;      // steps within this host, which the other hosts do not count
  Block blocks_[kBlocksAhead + 2];  // under way: those ahead, one that turns, one that ends
  Step host_step_;
  std::vector<uint8_t> packed_;
  std::vector<const void*> inputs_;
};

}  // namespace shardrun
