// A stretch of a file as read-only memory, mapped rather than read: weights that are used as they lie in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace shardrun::ort {

class MappedFile {
 public:
  // Bytes [offset, offset + num_bytes) of the file; any alignment. Those that are to be read whole are read from the
  // disk in huge pages, and mapped so, where the system has them for files. Throws Error(kUsage) when the file cannot
  // be opened or ends before that.
  MappedFile(const std::string& path, uint64_t offset, uint64_t num_bytes, bool is_read_whole);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // The mapping begins on a page, `lead_bytes` before `offset`. Null when num_bytes is 0.
  void* mapping() const { return mapping_; }
  size_t mapping_bytes() const { return mapping_bytes_; }
  size_t lead_bytes() const { return lead_bytes_; }

 private:
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  size_t lead_bytes_ = 0;
};

}  // namespace shardrun::ort
