#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "../common/types.h"

namespace shardrun::ort {

namespace {

[[noreturn]] void Fail(const std::string& path, const std::string& reason) {
  throw Error(Error::Kind::kUsage, "Mapping " + path + " failed: " + reason + ".");
}

// Closes the file when the mapping stands, or when it failed.
struct OpenFile {
  explicit OpenFile(const std::string& path) : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0) Fail(path, std::strerror(errno));
  }
  ~OpenFile() { close(descriptor); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  const int descriptor;
};

}  // namespace

MappedFile::MappedFile(const std::string& path, uint64_t offset, uint64_t num_bytes, bool is_read_whole) {
  const OpenFile file(path);
  struct stat status;
  if (fstat(file.descriptor, &status) != 0) Fail(path, std::strerror(errno));
  const auto file_bytes = static_cast<uint64_t>(status.st_size);
  if (offset > file_bytes || num_bytes > file_bytes - offset) {
    Fail(path, "bytes [" + std::to_string(offset) + ", " + std::to_string(offset + num_bytes) +
                   ") reach past its end at " + std::to_string(file_bytes));
  }
  if (num_bytes == 0) return;
  lead_bytes_ = offset % static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  mapping_bytes_ = lead_bytes_ + num_bytes;
  mapping_ =
      mmap(nullptr, mapping_bytes_, PROT_READ, MAP_PRIVATE, file.descriptor, static_cast<off_t>(offset - lead_bytes_));
  if (mapping_ == MAP_FAILED) Fail(path, std::strerror(errno));
  if (is_read_whole) madvise(mapping_, mapping_bytes_, MADV_HUGEPAGE);  // a system without them says no, and may
}

MappedFile::~MappedFile() {
  if (mapping_bytes_ != 0) munmap(mapping_, mapping_bytes_);
}

}  // namespace shardrun::ort
