// The memory that the ranks of one host share: an anonymous file that lives as long as someone maps it, so nothing is
// left behind however a process ends, and /dev/shm (64 MB in containers) is not used.
//
// Layout: per rank of the host one Doorbell, two Posts and two slots. A rank's post number n uses Post and slot n % 2.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "../common/file_descriptor.h"
#include "frame.h"

namespace shardrun {

// Where a rank sleeps. 128 bytes: two cache lines, which are fetched as a pair.
struct alignas(128) Doorbell {
  std::atomic<uint32_t> rings;
  std::atomic<uint32_t> sleeping;
};

// What a rank says about its slot.
struct alignas(128) Post {
  Frame frame;
  std::atomic<uint64_t> number;  // of the post whose frame and slot are complete
};
static_assert(sizeof(Post) == 128 && std::atomic<uint64_t>::is_always_lock_free);

class ShmSegment {
 public:
  static constexpr size_t kSlotBytes = 256 << 10;

  // A new segment, zeroed.
  static ShmSegment Create(int num_ranks);
  // The segment that a peer made. Throws Error when its size is not that of `num_ranks` ranks.
  static ShmSegment Map(FileDescriptor file, int num_ranks);
  ShmSegment(ShmSegment&& other) noexcept;
  ShmSegment& operator=(ShmSegment&&) = delete;
  ~ShmSegment();

  int fd() const { return file_.get(); }
  // The file is needed no longer once every rank has it mapped.
  void CloseFile() { file_ = FileDescriptor(); }

  Doorbell& doorbell(int place) { return *reinterpret_cast<Doorbell*>(PartOf(place)); }
  Post& post(int place, uint64_t number) {
    return reinterpret_cast<Post*>(PartOf(place) + sizeof(Doorbell))[number % 2];
  }
  uint8_t* slot(int place, uint64_t number) { return PartOf(place) + kControlBytes + (number % 2) * kSlotBytes; }

 private:
  static constexpr size_t kControlBytes = 4096;
  static constexpr size_t kPartBytes = kControlBytes + 2 * kSlotBytes;

  ShmSegment(FileDescriptor file, uint8_t* memory, size_t bytes)
      : file_(std::move(file)), memory_(memory), bytes_(bytes) {}
  uint8_t* PartOf(int place) { return memory_ + place * kPartBytes; }

  FileDescriptor file_;
  uint8_t* memory_;
  size_t bytes_;
};

}  // namespace shardrun
