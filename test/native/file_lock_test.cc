// FileLock: who may hold it together, and that a path which has come to name another file is noticed.
#include "../../native/common/file_lock.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "../../native/common/types.h"
#include "check.h"

namespace shardrun {

namespace {

constexpr auto kShared = FileLock::Kind::kShared;
constexpr auto kExclusive = FileLock::Kind::kExclusive;

// An empty file, removed at the end.
struct TemporaryFile {
  TemporaryFile() {
    char name[] = "/tmp/shardrun-lock-XXXXXX";
    close(mkstemp(name));
    path = name;
  }
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

}  // namespace

TEST("FileLock: several may share, an exclusive one is alone, and either ends with its object") {
  const TemporaryFile file;
  {
    const auto first = FileLock::TryTake(file.path, kShared);
    CHECK(FileLock::TryTake(file.path, kShared).has_value());
    CHECK(!FileLock::TryTake(file.path, kExclusive).has_value());
  }
  auto alone = FileLock::TryTake(file.path, kExclusive);
  CHECK(alone.has_value());
  CHECK(!FileLock::TryTake(file.path, kShared).has_value());
  alone->Share();
  CHECK(FileLock::TryTake(file.path, kShared).has_value());
}

TEST("FileLock: a missing file is an error that names it") {
  try {
    FileLock::TryTake("/nowhere/lock", kShared);
    CHECK(false);
  } catch (const Error& error) {
    CHECK_EQUAL(std::string(error.what()), "Locking /nowhere/lock failed: No such file or directory.");
  }
}

}  // namespace shardrun

int main() { return check::RunAll(); }
