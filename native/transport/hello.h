// How two processes of one run recognise each other on a new connection, before anything else is read from it.
//
//   accepting side    Challenge   a nonce of its own
//   connecting side   Hello       a nonce of its own, whose connection this is, and its proof
//   accepting side    Proof       once that proof is right
//
// A proof is HMAC-SHA256 under the run's secret of both nonces and of whose connection it is, so nothing of the secret
// crosses the network, and what was overheard proves nothing on another connection. Each side's proof begins with a
// word of its own: neither can be sent back to its maker. What follows is not encrypted. On unix sockets the kernel
// also says whose process it is.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "../common/sha256.h"

namespace shardrun {

using Nonce = std::array<uint8_t, 32>;
using Proof = Digest;

// Bytes of the kernel's random source.
Nonce NewNonce();

struct Challenge {
  static constexpr uint64_t kMagic = 0x324e555244524853;  // "SHRDRUN2"

  uint64_t magic = kMagic;
  Nonce nonce{};
};
static_assert(sizeof(Challenge) == 40, "challenges travel as they lie in memory");

struct Hello {
  uint64_t magic = Challenge::kMagic;
  uint32_t communicator = 0;
  uint32_t epoch = 0;
  uint32_t from = 0;  // the connecting rank
  uint32_t reserved = 0;
  Nonce nonce{};
  Proof proof{};
};
static_assert(sizeof(Hello) == 88, "hellos travel as they lie in memory");

class Secret {
 public:
  // Throws Error(kUsage) unless it has 16 to 128 bytes.
  explicit Secret(const std::vector<uint8_t>& bytes);

  // What each side answers to the other's nonce; `hello.proof` plays no part.
  Proof ProveConnecting(const Nonce& challenge, const Hello& hello) const;
  Proof ProveAccepting(const Nonce& challenge, const Hello& hello) const;

 private:
  std::vector<uint8_t> bytes_;
};

// Takes the same time whether and wherever they differ.
bool SameProof(const Proof& a, const Proof& b);

}  // namespace shardrun
