#include "algorithms.h"

#include <algorithm>
#include <cstring>

#include "chunks.h"
#include "reduce.h"

namespace shardrun {

namespace {

// The beginning of a broadcast message, which travels with its size.
constexpr size_t kMessageHeadBytes = 32 << 10;

int CountRanks(const std::vector<std::vector<int>>& hosts) {
  size_t count = 0;
  for (const std::vector<int>& ranks : hosts) count += ranks.size();
  return static_cast<int>(count);
}

}  // namespace

Algorithms::Algorithms(Transport& transport, int rank, const std::vector<std::vector<int>>& hosts)
    : transport_(transport),
      rank_(rank),
      world_size_(CountRanks(hosts)),
      sent_(world_size_),
      received_(world_size_),
      inputs_(world_size_),
      by_hosts_(transport, rank, hosts) {}

void Algorithms::Begin(const Frame& frame, const void* data, size_t bytes) {
  step_.frame = frame;
  step_.frame.sequence = ++sequence_;
  step_.offer = data;
  step_.offer_bytes = bytes;
  step_.gives.assign(world_size_, Range());
  step_.takes.assign(world_size_, Intake());
}

void Algorithms::GiveAll() { step_.gives.assign(world_size_, {0, step_.offer_bytes}); }

void Algorithms::Exchange(const Deadline& deadline) { transport_.Exchange(step_, deadline); }

void Algorithms::ReduceTaken(const Frame& frame, void* out, const void* own, size_t count) {
  for (int rank = 0; rank < world_size_; ++rank) inputs_[rank] = rank == rank_ ? own : step_.takes[rank].view;
  Reduce(out, inputs_.data(), world_size_, count, frame.type, frame.reduce);
}

void Algorithms::AllReduce(Frame frame, void* data, size_t count, const Deadline& deadline) {
  const size_t element_bytes = ElementBytes(frame.type);
  const bool one_shot = count * element_bytes <= (world_size_ == 2 ? transport_.pair_bytes() : kOneShotBytes);
  if (!one_shot && transport_.network() != nullptr) {
    return by_hosts_.Run(frame, At(data, 0), count, &sequence_, deadline);
  }
  const size_t segment_count = transport_.step_bytes() / element_bytes;
  size_t first = 0;
  do {
    const size_t size = std::min(segment_count, count - first);
    uint8_t* const segment = At(data, first * element_bytes);
    Begin(frame, segment, size * element_bytes);
    if (one_shot) {
      GiveAll();
      for (Intake& take : step_.takes) take.range = {0, size * element_bytes};
      Exchange(deadline);
      ReduceTaken(frame, segment, segment, size);
    } else {
      const auto chunk = [&](int rank) { return EvenChunk(size, world_size_, rank, element_bytes); };
      const Range mine = chunk(rank_);
      for (int peer = 0; peer < world_size_; ++peer) {
        step_.gives[peer] = chunk(peer);
        step_.takes[peer].range = mine;
      }
      Exchange(deadline);
      ReduceTaken(frame, segment + mine.offset, segment + mine.offset, mine.bytes / element_bytes);

      Begin(frame, segment + mine.offset, mine.bytes);
      GiveAll();
      for (int peer = 0; peer < world_size_; ++peer) {
        step_.takes[peer] = {{0, chunk(peer).bytes}, segment + chunk(peer).offset};
      }
      Exchange(deadline);
    }
    first += size;
  } while (first < count);
}

void Algorithms::AllGather(Frame frame, const void* input, void* output, const std::vector<size_t>& bytes_per_rank,
                           const Deadline& deadline) {
  const size_t longest = *std::max_element(bytes_per_rank.begin(), bytes_per_rank.end());
  size_t first = 0;
  do {
    const auto segment_bytes = [&](int rank) {
      return std::min(transport_.step_bytes(), bytes_per_rank[rank] - std::min(first, bytes_per_rank[rank]));
    };
    Begin(frame, At(input, first), segment_bytes(rank_));
    GiveAll();
    size_t offset = first;
    for (int peer = 0; peer < world_size_; ++peer) {
      step_.takes[peer] = {{0, segment_bytes(peer)}, At(output, offset)};
      if (peer == rank_ && segment_bytes(peer) > 0) memmove(At(output, offset), At(input, first), segment_bytes(peer));
      offset += bytes_per_rank[peer];
    }
    Exchange(deadline);
    first += std::min(transport_.step_bytes(), longest - first);
  } while (first < longest);
}

void Algorithms::ReduceScatter(Frame frame, const void* input, void* output, const std::vector<size_t>& counts,
                               const Deadline& deadline) {
  const size_t element_bytes = ElementBytes(frame.type);
  const size_t longest = *std::max_element(counts.begin(), counts.end());
  const size_t segment_count = transport_.step_bytes() / element_bytes / world_size_;
  size_t first = 0;
  do {
    const auto segment_bytes = [&](int rank) {
      return std::min(segment_count, counts[rank] - std::min(first, counts[rank])) * element_bytes;
    };
    // The segments of all chunks, side by side: they are what is offered.
    packed_.resize(0);
    std::vector<Range> segments;
    size_t offset = first * element_bytes;
    for (int peer = 0; peer < world_size_; ++peer) {
      segments.push_back({packed_.size(), segment_bytes(peer)});
      if (segment_bytes(peer) > 0) {
        packed_.insert(packed_.end(), At(input, offset), At(input, offset) + segment_bytes(peer));
      }
      offset += counts[peer] * element_bytes;
    }
    const Range mine = segments[rank_];
    Begin(frame, packed_.data(), packed_.size());
    step_.gives = segments;
    for (Intake& take : step_.takes) take.range = mine;
    Exchange(deadline);
    ReduceTaken(frame, At(output, first * element_bytes), packed_.data() + mine.offset, mine.bytes / element_bytes);
    first += std::min(segment_count, longest - first);
  } while (first < longest);
}

void Algorithms::Broadcast(Frame frame, void* data, size_t bytes, const Deadline& deadline) {
  BroadcastRest(frame, static_cast<uint8_t*>(data), 0, bytes, deadline);
}

// Segments of data from `first` on; one step at least.
void Algorithms::BroadcastRest(const Frame& frame, uint8_t* data, size_t first, size_t bytes,
                               const Deadline& deadline) {
  do {
    const size_t size = std::min(transport_.step_bytes(), bytes - first);
    Begin(frame, data + first, rank_ == frame.root ? size : 0);
    GiveAll();
    if (rank_ != frame.root) step_.takes[frame.root] = {{0, size}, data + first};
    Exchange(deadline);
    first += size;
  } while (first < bytes);
}

void Algorithms::BroadcastMessage(Frame frame, std::vector<uint8_t>* message, const Deadline& deadline) {
  uint64_t bytes = 0;
  size_t head = 0;
  if (rank_ == frame.root) {
    bytes = message->size();
    head = std::min(message->size(), kMessageHeadBytes);
    packed_.resize(sizeof(bytes) + head);
    memcpy(packed_.data(), &bytes, sizeof(bytes));
    std::copy_n(message->begin(), head, packed_.begin() + sizeof(bytes));
    Begin(frame, packed_.data(), packed_.size());
    GiveAll();
    Exchange(deadline);
  } else {
    Begin(frame, nullptr, 0);
    Intake& take = step_.takes[frame.root];
    take.range.bytes = Intake::kAnySize;
    Exchange(deadline);
    memcpy(&bytes, take.view, sizeof(bytes));
    head = take.range.bytes - sizeof(bytes);
    message->resize(bytes);
    std::copy_n(take.view + sizeof(bytes), head, message->begin());
  }
  if (head < bytes) BroadcastRest(frame, message->data(), head, bytes, deadline);
}

void Algorithms::Barrier(Frame frame, const Deadline& deadline) {
  Begin(frame, nullptr, 0);
  Exchange(deadline);
}

void Algorithms::Send(Frame frame, const void* data, int peer, const Deadline& deadline) {
  frame.sequence = ++sent_[peer];
  frame.bytes = frame.call_bytes;
  transport_.Send(peer, frame, data, deadline);
}

void Algorithms::Receive(Frame frame, void* data, int peer, const Deadline& deadline) {
  frame.sequence = ++received_[peer];
  frame.bytes = frame.call_bytes;
  transport_.Receive(peer, frame, data, deadline);
}

}  // namespace shardrun
