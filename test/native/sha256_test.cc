// SHA-256 against the examples of FIPS 180-4, HMAC against those of RFC 4231.
#include "../../native/common/sha256.h"

#include <string>

#include "check.h"

namespace shardrun {

namespace {

std::vector<uint8_t> BytesOf(const std::string& text) { return {text.begin(), text.end()}; }

std::string Hex(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

TEST("Sha256: the examples of FIPS 180-4, of no block's end and beyond") {
  CHECK_EQUAL(Hex(Sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQUAL(Hex(Sha256(BytesOf("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQUAL(Hex(Sha256(BytesOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK_EQUAL(Hex(Sha256(std::vector<uint8_t>(1000000, 'a'))),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST("HmacSha256: the examples of RFC 4231, with short and long keys") {
  CHECK_EQUAL(Hex(HmacSha256(std::vector<uint8_t>(20, 0x0b), BytesOf("Hi There"))),
              "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK_EQUAL(Hex(HmacSha256(BytesOf("Jefe"), BytesOf("what do ya want for nothing?"))),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK_EQUAL(Hex(HmacSha256(std::vector<uint8_t>(131, 0xaa),
                             BytesOf("Test Using Larger Than Block-Size Key - Hash Key First"))),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

}  // namespace shardrun

int main() { return check::RunAll(); }
