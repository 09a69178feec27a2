// An advisory lock on a file, held until it is destroyed or its process ends, however that happens: what tells a living
// owner from what a killed one left behind.
#pragma once

#include <optional>
#include <string>

#include "file_descriptor.h"

namespace shardrun {

class FileLock {
 public:
  enum class Kind { kShared, kExclusive };

  // Takes the lock of an existing file without waiting. Empty when others hold it in a way that forbids this kind, or
  // when the path has come to name another file meanwhile: then the file that was locked is not the one that was meant.
  // Throws Error(kUsage) when the file cannot be opened, or when its file system knows no locks.
  static std::optional<FileLock> TryTake(const std::string& path, Kind kind);

  // An exclusive lock becomes a shared one.
  void Share();

 private:
  explicit FileLock(FileDescriptor file) : file_(std::move(file)) {}

  FileDescriptor file_;
};

}  // namespace shardrun
