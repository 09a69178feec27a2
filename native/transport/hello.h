// How two processes of one run recognise each other on a new connection, before anything else is read from it.
//
// The connecting side proves the first half of the run's secret, the accepting side answers with the second: whoever
// only pretends to be a listener learns nothing with which it could answer. On unix sockets the kernel also says whose
// process it is.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace shardrun {

// Half of a secret, padded with zeros.
using Proof = std::array<uint8_t, 64>;

struct Hello {
  static constexpr uint64_t kMagic = 0x314e555244524853;  // "SHRDRUN1"

  uint64_t magic = kMagic;
  uint32_t communicator = 0;
  uint32_t epoch = 0;
  uint32_t from = 0;  // the connecting rank
  uint32_t reserved = 0;
  Proof proof{};
};
static_assert(sizeof(Hello) == 88, "hellos travel as they lie in memory");

class Secret {
 public:
  // Throws Error(kUsage) unless it has 16 to 128 bytes.
  explicit Secret(const std::vector<uint8_t>& bytes);

  const Proof& connecting() const { return connecting_; }
  const Proof& accepting() const { return accepting_; }

 private:
  Proof connecting_{};
  Proof accepting_{};
};

// Takes the same time whether and wherever they differ.
bool SameProof(const Proof& a, const Proof& b);

}  // namespace shardrun
