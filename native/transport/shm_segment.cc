#include "shm_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "../common/types.h"

namespace shardrun {

namespace {

[[noreturn]] void ThrowSystemError(const std::string& what, size_t bytes) {
  throw Error(Error::Kind::kCollective, what + " failed for " + std::to_string(bytes) + " bytes of shared memory: " +
                                            strerror(errno) + ". Without shared memory, choose the transport tcp.");
}

}  // namespace

ShmSegment ShmSegment::Create(int num_ranks) {
  const size_t bytes = num_ranks * kPartBytes;
  FileDescriptor file(memfd_create("shardrun", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ftruncate(file.get(), bytes) != 0) ThrowSystemError("Creating", bytes);
  // No peer can cut it short under our feet.
  fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return Map(std::move(file), num_ranks);
}

// MAP_POPULATE: page faults are paid now and not in the first steps.
ShmSegment ShmSegment::Map(FileDescriptor file, int num_ranks) {
  const size_t bytes = num_ranks * kPartBytes;
  struct stat info;
  if (fstat(file.get(), &info) != 0 || static_cast<size_t>(info.st_size) != bytes) {
    throw Error(Error::Kind::kCollective,
                "The shared memory of this host's first rank has another size than this rank expects (" +
                    std::to_string(bytes) +
                    " bytes): the ranks run different versions of shardrun. Install the same one for all.");
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (memory == MAP_FAILED) ThrowSystemError("Mapping", bytes);
  return ShmSegment(std::move(file), static_cast<uint8_t*>(memory), bytes);
}

ShmSegment::ShmSegment(ShmSegment&& other) noexcept
    : file_(std::move(other.file_)), memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}

ShmSegment::~ShmSegment() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace shardrun
