// One rank's graph as an onnxruntime session: created from model bytes and weights that stay where they are, run with
// feeds from and fetches into plain memory, the key/value cache extended in place.
//
// Create and run on the communicator's thread: collectives inside the graph use the communicator.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../collectives/communicator.h"
#include "best_tokens.h"
#include "collective_ops.h"
#include "custom_op.h"
#include "key_value_cache.h"
#include "product_ops.h"
#include "runtime.h"
#include "tensor.h"

namespace shardrun::ort {

struct SessionConfig {
  const void* model = nullptr;  // ONNX; read only while the session is created
  size_t model_bytes = 0;
  std::vector<TensorView> weights;  // of the shapes that the model declares; they outlive the session
  int intra_threads = 1;
  std::shared_ptr<Communicator> communicator;
  std::string profile_prefix;  // of the file into which onnxruntime writes when each node ran; empty: none
};

// What onnxruntime wrote while the session was profiled.
struct SessionProfile {
  std::string path;                // events in Chrome's trace format, in microseconds after:
  uint64_t start_nanoseconds = 0;  // of the wall clock
};

struct RunRequest {
  std::vector<TensorView> feeds;
  std::vector<std::string> fetch;
  std::shared_ptr<KeyValueCache> cache;  // null: the graph has none
  int64_t first_row = 0;
  int64_t num_rows = 0;
  std::optional<TokenSearch> token_search;
};

struct RunOutcome {
  std::vector<FetchedTensor> outputs;
  std::vector<int32_t> best_tokens;
  uint64_t nanoseconds = 0;
  uint64_t collective_nanoseconds = 0;
};

class GraphSession {
 public:
  // Throws Error(kExecution) when onnxruntime refuses the model.
  explicit GraphSession(const SessionConfig& config);

  // Throws Error(kCollective) as the collective in the graph threw it, Error(kExecution) naming the node otherwise.
  RunOutcome Run(const RunRequest& request);

  // Of a session with a profile_prefix, once; later runs are not profiled.
  SessionProfile EndProfiling();

 private:
  // logits: of the run that has just ended, or null.
  std::vector<int32_t> FindTokens(const TokenSearch& search, const Value* logits);
  // Throws what a custom op of the graph threw, else as Check does.
  void CheckGraph(Status* status, const std::string& what) const;

  // In the order in which they must outlive each other.
  std::shared_ptr<Communicator> communicator_;
  const std::vector<TensorView> weight_views_;
  std::vector<OwnedValue> weights_;
  CollectiveState collective_state_;
  ProductState product_state_;
  OpDomain ops_;
  OwnedSession session_;
  std::string first_output_;
};

}  // namespace shardrun::ort
