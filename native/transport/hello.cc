#include "hello.h"

#include <sys/random.h>

#include <cstddef>
#include <string>

#include "../common/types.h"

namespace shardrun {

namespace {

Proof Prove(const std::vector<uint8_t>& secret, const char* side, const Nonce& challenge, const Hello& hello) {
  std::vector<uint8_t> message;
  while (*side != '\0') message.push_back(static_cast<uint8_t>(*side++));
  message.insert(message.end(), challenge.begin(), challenge.end());
  const auto* first = reinterpret_cast<const uint8_t*>(&hello);
  message.insert(message.end(), first, first + offsetof(Hello, proof));
  return HmacSha256(secret, message);
}

}  // namespace

Nonce NewNonce() {
  Nonce nonce;
  // So few bytes come whole, and only an interrupted wait for the kernel's first entropy comes back without any.
  while (getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) continue;
  return nonce;
}

Secret::Secret(const std::vector<uint8_t>& bytes) : bytes_(bytes) {
  if (bytes.size() < 16 || bytes.size() > 128) {
    throw Error(Error::Kind::kUsage,
                "listen: expected a secret of 16 to 128 bytes, received " + std::to_string(bytes.size()) + " bytes.");
  }
}

Proof Secret::ProveConnecting(const Nonce& challenge, const Hello& hello) const {
  return Prove(bytes_, "connecting", challenge, hello);
}

Proof Secret::ProveAccepting(const Nonce& challenge, const Hello& hello) const {
  return Prove(bytes_, "accepting", challenge, hello);
}

bool SameProof(const Proof& a, const Proof& b) {
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = difference | (a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace shardrun
