#include "hello.h"

#include <algorithm>

#include "../common/types.h"

namespace shardrun {

Secret::Secret(const std::vector<uint8_t>& bytes) {
  if (bytes.size() < 16 || bytes.size() > 2 * sizeof(Proof)) {
    throw Error(Error::Kind::kUsage,
                "listen: expected a secret of 16 to 128 bytes, received " + std::to_string(bytes.size()) + " bytes.");
  }
  const auto middle = bytes.begin() + bytes.size() / 2;
  std::copy(bytes.begin(), middle, connecting_.begin());
  std::copy(middle, bytes.end(), accepting_.begin());
}

bool SameProof(const Proof& a, const Proof& b) {
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = difference | (a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace shardrun
