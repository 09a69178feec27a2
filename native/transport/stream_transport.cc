#include "stream_transport.h"

namespace shardrun {

void StreamTransport::Exchange(Step& step, const Deadline& deadline) {
  for (int peer = 0; peer < mesh_.world_size(); ++peer) {
    if (mesh_.has_peer(peer)) mesh_.Begin(step, peer);
  }
  mesh_.Finish(deadline);
}

void StreamTransport::Send(int peer, const Frame& frame, const void* data, const Deadline& deadline) {
  mesh_.Send(peer, frame, data, deadline);
}

void StreamTransport::Receive(int peer, const Frame& frame, void* data, const Deadline& deadline) {
  mesh_.Receive(peer, frame, data, deadline);
}

}  // namespace shardrun
