#include "file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "types.h"

namespace shardrun {

namespace {

[[noreturn]] void Fail(const std::string& path) {
  throw Error(Error::Kind::kUsage, "Locking " + path + " failed: " + std::strerror(errno) + ".");
}

}  // namespace

std::optional<FileLock> FileLock::TryTake(const std::string& path, Kind kind) {
  const bool exclusive = kind == Kind::kExclusive;
  // Network file systems want a file that is open for writing before they lock it exclusively.
  FileDescriptor file(open(path.c_str(), (exclusive ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW));
  if (!file) Fail(path);
  if (flock(file.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    Fail(path);
  }
  struct stat locked;
  struct stat named;
  if (fstat(file.get(), &locked) != 0) Fail(path);
  const bool is_same =
      stat(path.c_str(), &named) == 0 && named.st_ino == locked.st_ino && named.st_dev == locked.st_dev;
  return is_same ? std::optional(FileLock(std::move(file))) : std::nullopt;
}

void FileLock::Share() { flock(file_.get(), LOCK_SH); }

}  // namespace shardrun
