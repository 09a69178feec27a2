// SHA-256 (FIPS 180-4) and HMAC (RFC 2104) with it.
//
// Own code, since the listener proves connections on a native thread: Node's crypto cannot be called there, its headers
// do not promise OpenSSL's, and a cryptographic library to hash 130 bytes once per connection would have to be built.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardrun {

using Digest = std::array<uint8_t, 32>;

Digest Sha256(const std::vector<uint8_t>& message);
Digest HmacSha256(const std::vector<uint8_t>& key, const std::vector<uint8_t>& message);

}  // namespace shardrun
