#include "address.h"

#include "../common/types.h"

namespace shardrun {

namespace {

const std::string kUnix = "unix=";
const std::string kTcp = ";tcp=";

}  // namespace

std::string Address::Format() const { return kUnix + unix_name + kTcp + tcp_host + ":" + tcp_port; }

Address Address::Parse(const std::string& text) {
  const size_t tcp = text.rfind(kTcp);
  const size_t colon = text.rfind(':');
  if (text.rfind(kUnix, 0) != 0 || tcp == std::string::npos || colon == std::string::npos || colon < tcp) {
    throw Error(Error::Kind::kUsage, "connect: expected the address of a Listener, received \"" + text + "\".");
  }
  const size_t host = tcp + kTcp.size();
  return {text.substr(kUnix.size(), tcp - kUnix.size()), text.substr(host, colon - host), text.substr(colon + 1)};
}

}  // namespace shardrun
