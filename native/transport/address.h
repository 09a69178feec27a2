// How peers reach a listener: an abstract unix socket on its host, a TCP port from elsewhere. Travels as one string,
// "unix=<name>;tcp=<host>:<port>", read here and by the gRPC bridge (src/rendezvous/bridge.ts) alone.
#pragma once

#include <string>

namespace shardrun {

struct Address {
  std::string unix_name;
  std::string tcp_host;
  std::string tcp_port;

  std::string Format() const;
  // Throws Error(kUsage) for what Format did not write.
  static Address Parse(const std::string& text);
};

}  // namespace shardrun
