#include "all_reduce_by_hosts.h"

#include <algorithm>
#include <iterator>

#include "chunks.h"
#include "reduce.h"

namespace shardrun {

namespace {

// Messages shorter than a few of the longest blocks have shorter ones, so that theirs overlap, too.
constexpr size_t kShortestBlockBytes = 128 << 10;
constexpr size_t kBlocksPerMessage = 4;

}  // namespace

AllReduceByHosts::AllReduceByHosts(Transport& transport, int rank, const std::vector<std::vector<int>>& hosts)
    : transport_(transport), hosts_(hosts) {
  for (size_t host = 0; host < hosts_.size(); ++host) {
    world_size_ += hosts_[host].size();
    for (size_t place = 0; place < hosts_[host].size(); ++place) {
      if (hosts_[host][place] == rank) host_ = host, place_ = place;
    }
  }
  for (Block& block : blocks_) block.host_sums.resize(hosts_.size());
  host_step_.within_host = true;
  inputs_.resize(world_size_);
}

void AllReduceByHosts::Run(const Frame& frame, uint8_t* data, size_t count, uint64_t* sequence,
                           const Deadline& deadline) {
  element_bytes_ = ElementBytes(frame.type);
  const size_t block_bytes =
      std::clamp(count * element_bytes_ / kBlocksPerMessage, kShortestBlockBytes, kLongestBlockBytes);
  const size_t block_count = block_bytes / element_bytes_;
  const size_t num_blocks = (count + block_count - 1) / block_count;
  const auto block = [&](size_t index) -> Block& { return blocks_[index % std::size(blocks_)]; };
  const auto begin = [&](size_t index) {
    block(index).data = data + index * block_count * element_bytes_;
    block(index).count = std::min(block_count, count - index * block_count);
    block(index).sequence = *sequence + 2 * index;
    Begin(block(index), frame, deadline);
  };
  for (size_t index = 0; index < std::min(kBlocksAhead, num_blocks); ++index) begin(index);
  for (size_t index = 0; index < num_blocks; ++index) {
    if (index + kBlocksAhead < num_blocks) begin(index + kBlocksAhead);
    Turn(block(index), frame, deadline);
    if (index > 0) End(block(index - 1), frame, deadline);
  }
  End(block(num_blocks - 1), frame, deadline);
  transport_.network()->Finish(deadline);
  *sequence += 2 * num_blocks;
}

Range AllReduceByHosts::ChunkOf(const Block& block, size_t host) const {
  return EvenChunk(block.count, hosts_.size(), host, element_bytes_);
}

Range AllReduceByHosts::PieceOf(const Block& block, size_t chunk, size_t host, size_t place) const {
  const Range whole = ChunkOf(block, chunk);
  const Range piece = EvenChunk(whole.bytes / element_bytes_, hosts_[host].size(), place, element_bytes_);
  return {whole.offset + piece.offset, piece.bytes};
}

Range AllReduceByHosts::Common(const Block& block, size_t chunk, size_t host, size_t place) const {
  return Intersection(PieceOf(block, chunk, host_, place_), PieceOf(block, chunk, host, place));
}

template <typename Visit>
void AllReduceByHosts::ForEachAbroad(Visit&& visit) const {
  for (size_t host = 0; host < hosts_.size(); ++host) {
    for (size_t place = 0; host != host_ && place < hosts_[host].size(); ++place) {
      visit(host, place, hosts_[host][place]);
    }
  }
}

void AllReduceByHosts::StartStep(Step& step, const Frame& frame, uint64_t sequence, const void* offer) const {
  step.frame = frame;
  step.frame.sequence = sequence;
  step.offer = offer;
  step.gives.assign(world_size_, Range());
  step.takes.assign(world_size_, Intake());
}

void AllReduceByHosts::BeginAbroad(Step& step) {
  Mesh& network = *transport_.network();
  ForEachAbroad([&](size_t, size_t, int rank) { network.Begin(step, rank); });
  network.Progress();
}

void AllReduceByHosts::Begin(Block& block, const Frame& frame, const Deadline& deadline) {
  for (size_t chunk = 0; chunk < hosts_.size(); ++chunk) {
    const Range whole = ChunkOf(block, chunk);
    ReduceScatterInHost(frame, block.data + whole.offset, whole.bytes / element_bytes_, deadline);
  }
  StartStep(block.scatter, frame, block.sequence + 1, block.data);
  const Range mine = PieceOf(block, host_, host_, place_);
  ForEachAbroad([&](size_t host, size_t place, int rank) {
    const Range taken = Common(block, host_, host, place);
    std::vector<uint8_t>& sums = block.host_sums[host];
    if (sums.size() < mine.bytes) sums.resize(mine.bytes);
    block.scatter.gives[rank] = Common(block, host, host, place);
    block.scatter.takes[rank] = {taken, sums.data() + (taken.bytes == 0 ? 0 : taken.offset - mine.offset)};
  });
  BeginAbroad(block.scatter);
}

void AllReduceByHosts::Turn(Block& block, const Frame& frame, const Deadline& deadline) {
  transport_.network()->Await(block.scatter, deadline);
  const Range mine = PieceOf(block, host_, host_, place_);
  uint8_t* const own = block.data + mine.offset;
  for (size_t host = 0; host < hosts_.size(); ++host) {
    inputs_[host] = host == host_ ? own : block.host_sums[host].data();
  }
  Reduce(own, inputs_.data(), static_cast<int>(hosts_.size()), mine.bytes / element_bytes_, frame.type, frame.reduce);
  StartStep(block.gather, frame, block.sequence + 2, block.data);
  ForEachAbroad([&](size_t host, size_t place, int rank) {
    const Range taken = Common(block, host, host, place);
    block.gather.gives[rank] = Common(block, host_, host, place);
    block.gather.takes[rank] = {taken, block.data + taken.offset};
  });
  BeginAbroad(block.gather);
}

void AllReduceByHosts::End(Block& block, const Frame& frame, const Deadline& deadline) {
  transport_.network()->Await(block.gather, deadline);
  for (size_t chunk = 0; chunk < hosts_.size(); ++chunk) {
    const Range whole = ChunkOf(block, chunk);
    AllGatherInHost(frame, block.data + whole.offset, whole.bytes / element_bytes_, deadline);
  }
}

void AllReduceByHosts::ReduceScatterInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const std::vector<int>& ranks = hosts_[host_];
  const size_t num_ranks = ranks.size();
  const size_t part_bytes = transport_.step_bytes() / element_bytes_ / num_ranks * element_bytes_;
  const size_t longest = (count + num_ranks - 1) / num_ranks * element_bytes_;
  for (size_t first = 0; num_ranks > 1 && first < longest; first += part_bytes) {
    // The next part of each chunk, side by side: they are what is offered.
    std::vector<Range> parts;
    packed_.resize(0);
    for (size_t place = 0; place < num_ranks; ++place) {
      const Range chunk = EvenChunk(count, num_ranks, place, element_bytes_);
      const Range part = Intersection(chunk, {chunk.offset + first, part_bytes});
      parts.push_back({packed_.size(), part.bytes});
      packed_.insert(packed_.end(), data + part.offset, data + part.offset + part.bytes);
    }
    StartStep(host_step_, frame, ++host_sequence_, packed_.data());
    host_step_.offer_bytes = packed_.size();
    for (size_t place = 0; place < num_ranks; ++place) {
      host_step_.gives[ranks[place]] = parts[place];
      host_step_.takes[ranks[place]].range = parts[place_];
    }
    transport_.Exchange(host_step_, deadline);
    uint8_t* const mine = data + EvenChunk(count, num_ranks, place_, element_bytes_).offset + first;
    for (size_t place = 0; place < num_ranks; ++place) {
      inputs_[place] = place == place_ ? mine : host_step_.takes[ranks[place]].view;
    }
    Reduce(mine, inputs_.data(), static_cast<int>(num_ranks), parts[place_].bytes / element_bytes_, frame.type,
           frame.reduce);
  }
}

void AllReduceByHosts::AllGatherInHost(const Frame& frame, uint8_t* data, size_t count, const Deadline& deadline) {
  const std::vector<int>& ranks = hosts_[host_];
  const size_t num_ranks = ranks.size();
  const size_t longest = (count + num_ranks - 1) / num_ranks * element_bytes_;
  const size_t part_bytes = transport_.step_bytes();
  for (size_t first = 0; num_ranks > 1 && first < longest; first += part_bytes) {
    const auto part_of = [&](size_t place) {
      const Range chunk = EvenChunk(count, num_ranks, place, element_bytes_);
      return Intersection(chunk, {chunk.offset + first, part_bytes});
    };
    const Range mine = part_of(place_);
    StartStep(host_step_, frame, ++host_sequence_, data + mine.offset);
    host_step_.offer_bytes = mine.bytes;
    for (size_t place = 0; place < ranks.size(); ++place) {
      const Range part = part_of(place);
      host_step_.gives[ranks[place]] = {0, mine.bytes};
      host_step_.takes[ranks[place]] = {{0, part.bytes}, data + part.offset};
    }
    transport_.Exchange(host_step_, deadline);
  }
}

}  // namespace shardrun
