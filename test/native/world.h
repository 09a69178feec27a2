// A world of ranks in one process: one thread, one listener and one communicator per rank, connected for real.
#pragma once

#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../../native/collectives/group_communicator.h"

namespace shardrun {

class World {
 public:
  World(int world_size, TransportKind transport, int64_t timeout_ms = 20000)
      : World(std::vector<std::string>(world_size, "hosta"), transport, timeout_ms) {}

  // hosts: what each rank takes for its host; they are all this one.
  World(const std::vector<std::string>& hosts, TransportKind transport, int64_t timeout_ms = 20000) {
    const int world_size = static_cast<int>(hosts.size());
    static std::atomic<int> num_worlds{0};
    const std::string run_id = "test-" + std::to_string(getpid()) + "-" + std::to_string(num_worlds++);
    ConnectOptions options;
    options.world_size = world_size;
    options.transport = transport;
    options.timeout_ms = timeout_ms;
    for (int rank = 0; rank < world_size; ++rank) {
      listeners.push_back(
          std::make_shared<Listener>(ListenOptions{run_id, rank, "127.0.0.1", std::vector<uint8_t>(32, 7)}));
      options.peers.push_back({rank, hosts[rank], listeners[rank]->address().Format()});
      aborts.push_back(std::make_shared<AbortFlag>());
    }
    communicators.resize(world_size);
    OnEveryRank([&](int rank) {
      ConnectOptions own = options;
      own.rank = rank;
      communicators[rank] = std::make_unique<GroupCommunicator>(listeners[rank], own, aborts[rank]);
    });
  }

  // Runs `body` for every rank at once; returns what each rank threw, or "".
  std::vector<std::string> Run(const std::function<void(GroupCommunicator&)>& body) {
    return OnEveryRank([&](int rank) { body(*communicators[rank]); });
  }

  std::vector<std::shared_ptr<Listener>> listeners;
  std::vector<std::shared_ptr<AbortFlag>> aborts;
  std::vector<std::unique_ptr<GroupCommunicator>> communicators;

 private:
  std::vector<std::string> OnEveryRank(const std::function<void(int)>& body) {
    std::vector<std::string> errors(listeners.size());
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < listeners.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(static_cast<int>(rank));
        } catch (const std::exception& error) {
          errors[rank] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return errors;
  }
};

}  // namespace shardrun
