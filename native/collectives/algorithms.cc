#include "algorithms.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "reduce.h"

namespace shardrun {

namespace {

// The beginning of a broadcast message, which travels with its size.
constexpr size_t kMessageHeadBytes = 32 << 10;

// What goes by hosts at once: long enough that the latency between hosts does not count.
constexpr size_t kHostSegmentBytes = 4 << 20;

// More than the steps in which any host reduces or gathers such a segment: hosts count steps in strides of it, so that
// they agree on the number of the step in which they meet.
constexpr uint64_t kHostStride = 64;

// Chunk `index` of `count` elements over `num_chunks` ranks: sizes differ by one at most.
Range EvenChunk(size_t count, int num_chunks, int index, size_t element_bytes) {
  const size_t first = count * index / num_chunks;
  const size_t last = count * (index + 1) / num_chunks;
  return {first * element_bytes, (last - first) * element_bytes};
}

Range Intersection(const Range& a, const Range& b) {
  const size_t first = std::max(a.offset, b.offset);
  const size_t last = std::min(a.offset + a.bytes, b.offset + b.bytes);
  return {first, last - std::min(first, last)};
}

int CountRanks(const std::vector<std::vector<int>>& hosts) {
  size_t count = 0;
  for (const std::vector<int>& ranks : hosts) count += ranks.size();
  return static_cast<int>(count);
}

uint8_t* At(void* data, size_t offset) { return static_cast<uint8_t*>(data) + offset; }
const uint8_t* At(const void* data, size_t offset) { return static_cast<const uint8_t*>(data) + offset; }

}  // namespace

Algorithms::Algorithms(Transport& transport, int rank, std::vector<std::vector<int>> hosts)
    : transport_(transport),
      rank_(rank),
      hosts_(std::move(hosts)),
      world_size_(CountRanks(hosts_)),
      all_ranks_(world_size_),
      sent_(world_size_),
      received_(world_size_),
      inputs_(world_size_),
      host_sums_(hosts_.size()) {
  std::iota(all_ranks_.begin(), all_ranks_.end(), 0);
  for (size_t host = 0; host < hosts_.size(); ++host) {
    for (size_t place = 0; place < hosts_[host].size(); ++place) {
      if (hosts_[host][place] == rank) host_ = host, place_ = place;
    }
  }
}

void Algorithms::Begin(const Frame& frame, const void* data, size_t bytes) {
  step_.frame = frame;
  step_.frame.sequence = ++sequence_;
  step_.within_host = false;
  step_.offer = data;
  step_.offer_bytes = bytes;
  step_.gives.assign(world_size_, Range());
  step_.takes.assign(world_size_, Intake());
}

void Algorithms::GiveAll() { step_.gives.assign(world_size_, {0, step_.offer_bytes}); }

void Algorithms::Exchange(const Deadline& deadline) { transport_.Exchange(step_, deadline); }

void Algorithms::ReduceTaken(const Frame& frame, void* out, const void* own, size_t count) {
  ReduceTaken(frame, all_ranks_, out, own, count);
}

void Algorithms::ReduceTaken(const Frame& frame, const std::vector<int>& ranks, void* out, const void* own,
                             size_t count) {
  for (size_t i = 0; i < ranks.size(); ++i) inputs_[i] = ranks[i] == rank_ ? own : step_.takes[ranks[i]].view;
  Reduce(out, inputs_.data(), static_cast<int>(ranks.size()), count, frame.type, frame.reduce);
}

void Algorithms::AllReduce(Frame frame, void* data, size_t count, const Deadline& deadline) {
  const size_t element_bytes = ElementBytes(frame.type);
  if (transport_.spans_hosts() && count * element_bytes > kOneShotBytes) {
    return AllReduceByHosts(frame, At(data, 0), count, deadline);
  }
  const bool one_shot = count * element_bytes <= (world_size_ == 2 ? transport_.pair_bytes() : kOneShotBytes);
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

void Algorithms::AllReduceByHosts(Frame frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const size_t element_bytes = ElementBytes(frame.type);
  const size_t segment_count = kHostSegmentBytes / element_bytes;
  for (size_t first = 0; first < count; first += segment_count) {
    const size_t size = std::min(segment_count, count - first);
    uint8_t* const segment = data + first * element_bytes;
    const uint64_t begun = sequence_;
    ReduceScatterInHost(frame, segment, size, deadline);
    sequence_ = begun + kHostStride;
    AllReduceBetweenHosts(frame, segment, size, deadline);
    AllGatherInHost(frame, segment, size, deadline);
    sequence_ = begun + 2 * kHostStride;
  }
}

void Algorithms::ReduceScatterInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const std::vector<int>& ranks = hosts_[host_];
  const int num_ranks = static_cast<int>(ranks.size());
  const size_t element_bytes = ElementBytes(frame.type);
  const size_t part_bytes = transport_.step_bytes() / element_bytes / num_ranks * element_bytes;
  const size_t longest = (count + num_ranks - 1) / num_ranks * element_bytes;
  for (size_t first = 0; num_ranks > 1 && first < longest; first += part_bytes) {
    // The next part of each chunk, side by side: they are what is offered.
    std::vector<Range> parts;
    packed_.resize(0);
    for (int place = 0; place < num_ranks; ++place) {
      const Range chunk = EvenChunk(count, num_ranks, place, element_bytes);
      const Range part = Intersection(chunk, {chunk.offset + first, part_bytes});
      parts.push_back({packed_.size(), part.bytes});
      packed_.insert(packed_.end(), data + part.offset, data + part.offset + part.bytes);
    }
    Begin(frame, packed_.data(), packed_.size());
    step_.within_host = true;
    for (int place = 0; place < num_ranks; ++place) {
      step_.gives[ranks[place]] = parts[place];
      step_.takes[ranks[place]].range = parts[place_];
    }
    Exchange(deadline);
    uint8_t* const mine = data + EvenChunk(count, num_ranks, static_cast<int>(place_), element_bytes).offset + first;
    ReduceTaken(frame, ranks, mine, mine, parts[place_].bytes / element_bytes);
  }
}

// The chunks of a host's ranks follow each other and make up the segment, so what is taken from a host's ranks is this
// rank's chunk as that host has it.
void Algorithms::AllReduceBetweenHosts(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const size_t element_bytes = ElementBytes(frame.type);
  const auto chunk_of = [&](size_t host, size_t place) {
    return EvenChunk(count, static_cast<int>(hosts_[host].size()), static_cast<int>(place), element_bytes);
  };
  const Range mine = chunk_of(host_, place_);
  Begin(frame, data + mine.offset, mine.bytes);
  for (size_t host = 0; host < hosts_.size(); ++host) {
    if (host == host_) {
      inputs_[host] = data + mine.offset;
      continue;
    }
    if (host_sums_[host].size() < mine.bytes) host_sums_[host].resize(mine.bytes);
    inputs_[host] = host_sums_[host].data();
    for (size_t place = 0; place < hosts_[host].size(); ++place) {
      const Range common = Intersection(mine, chunk_of(host, place));
      const size_t offset = common.bytes == 0 ? 0 : common.offset - mine.offset;
      step_.gives[hosts_[host][place]] = {offset, common.bytes};
      step_.takes[hosts_[host][place]] = {{offset, common.bytes}, host_sums_[host].data() + offset};
    }
  }
  Exchange(deadline);
  Reduce(data + mine.offset, inputs_.data(), static_cast<int>(hosts_.size()), mine.bytes / element_bytes, frame.type,
         frame.reduce);
}

void Algorithms::AllGatherInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const std::vector<int>& ranks = hosts_[host_];
  const int num_ranks = static_cast<int>(ranks.size());
  const size_t element_bytes = ElementBytes(frame.type);
  const size_t longest = (count + num_ranks - 1) / num_ranks * element_bytes;
  const size_t part_bytes = transport_.step_bytes();
  for (size_t first = 0; num_ranks > 1 && first < longest; first += part_bytes) {
    const auto part_of = [&](size_t place) {
      const Range chunk = EvenChunk(count, num_ranks, static_cast<int>(place), element_bytes);
      return Intersection(chunk, {chunk.offset + first, part_bytes});
    };
    const Range mine = part_of(place_);
    Begin(frame, data + mine.offset, mine.bytes);
    step_.within_host = true;
    for (size_t place = 0; place < ranks.size(); ++place) {
      const Range part = part_of(place);
      step_.gives[ranks[place]] = {0, mine.bytes};
      step_.takes[ranks[place]] = {{0, part.bytes}, data + part.offset};
    }
    Exchange(deadline);
  }
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
