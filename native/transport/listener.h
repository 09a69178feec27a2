// Accepts this process's peers on a thread of its own, lets in only those that prove the run's secret, and keeps each
// connection until the communicator that it is meant for asks for it.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "../common/abort_flag.h"
#include "../common/deadline.h"
#include "../common/file_descriptor.h"
#include "address.h"
#include "hello.h"

namespace shardrun {

struct ListenOptions {
  std::string run_id;
  int rank = 0;
  std::string tcp_host;
  std::vector<uint8_t> secret;
  // Told who was the first to be turned away, on the listener's thread; may be empty.
  std::function<void(const std::string& stranger)> on_first_stranger = nullptr;
};

// Which connection: of communicator `communicator` in its epoch, from rank `from`.
struct ConnectionKey {
  uint32_t communicator;
  uint32_t epoch;
  uint32_t from;

  bool operator<(const ConnectionKey& other) const {
    return std::tie(communicator, epoch, from) < std::tie(other.communicator, other.epoch, other.from);
  }
};

class Listener {
 public:
  explicit Listener(const ListenOptions& options);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const Address& address() const { return address_; }
  const Secret& secret() const { return secret_; }
  // Of all communicators that are connected through this listener.
  AbortGroup& aborts() { return aborts_; }
  // The connection that a peer has opened, or opens before the deadline; empty after it, after Close or an abort.
  FileDescriptor Take(const ConnectionKey& key, const Deadline& deadline, const AbortFlag& abort);
  // Connections already taken stay.
  void Close();

 private:
  // A connection that has not proven itself yet.
  struct Stranger {
    FileDescriptor socket;
    std::string name;
    Deadline deadline;
    Nonce challenge;
    Hello hello;
    size_t received = 0;
  };

  void Serve();
  void Accept(int listening);
  enum class Standing { kWaiting, kLetIn, kTurnedAway };
  Standing Judge(Stranger& stranger);
  Standing JudgeProof(Stranger& stranger);
  void ReportOnce(const Stranger& stranger);

  const Secret secret_;
  std::function<void(const std::string& stranger)> on_first_stranger_;
  AbortGroup aborts_;
  Address address_;
  FileDescriptor unix_;
  FileDescriptor tcp_;
  FileDescriptor closing_;  // an eventfd, readable when the thread shall end
  std::vector<Stranger> strangers_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<ConnectionKey, FileDescriptor> connections_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace shardrun
