#include "session.h"

#include <atomic>
#include <cstring>
#include <mutex>

#include "attention_ops.h"
#include "gate_ops.h"
#include "norm_ops.h"
#include "stopwatch.h"

namespace shardrun::ort {

namespace {

OwnedSessionOptions MakeOptions(const SessionConfig& config, const std::vector<OwnedValue>& weights,
                                CustomOpDomain* domain) {
  const Api& api = GetApi();
  constexpr const char* what = "Configuring the session failed";
  SessionOptions* raw = nullptr;
  Check(api.CreateSessionOptions(&raw), what);
  OwnedSessionOptions options(raw);
  Check(api.SetSessionExecutionMode(raw, ExecutionMode::kSequential), what);
  Check(api.SetSessionGraphOptimizationLevel(raw, OptimizationLevel::kAll), what);
  Check(api.SetIntraOpNumThreads(raw, config.intra_threads), what);
  Check(api.SetInterOpNumThreads(raw, 1), what);
  // A pattern is planned and kept per combination of input shapes, and prompts have every length.
  Check(api.DisableMemPattern(raw), what);
  if (!config.profile_prefix.empty()) Check(api.EnableProfiling(raw, config.profile_prefix.c_str()), what);
  // Threads between two products wait a moment before they sleep, and never beyond a run. (Decode step of 48 products
  // [1, 512] x [512, 512], 2 threads on 2 free cores: 1.8 ms without spinning, 1.1 ms with either bound or none.)
  Check(api.AddSessionConfigEntry(raw, "session.intra_op.spin_duration_us", "50"), what);
  Check(api.AddSessionConfigEntry(raw, "session.force_spinning_stop", "1"), what);
  // Weights are declared as bytes of the file "null"; see SessionOptions.model in src/collective/native.ts.
  Check(api.AddSessionConfigEntry(raw, "session.model_external_initializers_file_folder_path", "/dev"), what);
  Check(api.AddCustomOpDomain(raw, domain), what);
  for (size_t i = 0; i < weights.size(); ++i) {
    Check(api.AddInitializer(raw, config.weights[i].name.c_str(), weights[i].get()),
          "Handing over the weight \"" + config.weights[i].name + "\" failed");
  }
  return options;
}

std::vector<OwnedValue> MakeValues(const std::vector<TensorView>& views) {
  std::vector<OwnedValue> values;
  values.reserve(views.size());
  for (const TensorView& view : views) values.push_back(MakeValue(view));
  return values;
}

// Past and present of a cache tensor are the same memory: the step's keys and values are written behind those already
// there.
void BindCache(IoBinding* binding, const RunRequest& request) {
  const auto& tensors = request.cache->tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const OwnedValue rows = MakeValue(request.cache->Rows(i, request.first_row, request.num_rows));
    Check(GetApi().BindInput(binding, tensors[i].past.c_str(), rows.get()), "Binding the cache failed");
    Check(GetApi().BindOutput(binding, tensors[i].present.c_str(), rows.get()), "Binding the cache failed");
  }
}

FetchedTensor CopyOut(const std::string& name, const Value* value) {
  FetchedTensor fetched;
  TypedShape typed = ReadTypedShape(value);
  fetched.name = name;
  fetched.type = typed.type;
  fetched.num_bytes = typed.num_bytes();
  fetched.data.reset(new uint8_t[fetched.num_bytes]);
  std::memcpy(fetched.data.get(), MutableData(value), fetched.num_bytes);
  fetched.shape = std::move(typed.shape);
  return fetched;
}

// All outputs, in the order in which they were bound.
std::vector<OwnedValue> TakeOutputs(const IoBinding* binding) {
  Value** values = nullptr;
  size_t count = 0;
  Check(GetApi().GetBoundOutputValues(binding, Runtime::Get().allocator(), &values, &count),
        "Reading the outputs failed");
  std::vector<OwnedValue> outputs(values, values + count);
  Check(GetApi().AllocatorFree(Runtime::Get().allocator(), values), "Reading the outputs failed");
  return outputs;
}

// A text that onnxruntime allocated.
std::string TakeText(char* text) {
  const std::string copy = text;
  Check(GetApi().AllocatorFree(Runtime::Get().allocator(), text), "Freeing onnxruntime's memory failed");
  return copy;
}

std::string ReadFirstOutputName(const Session* session) {
  char* name = nullptr;
  Check(GetApi().SessionGetOutputName(session, 0, Runtime::Get().allocator(), &name),
        "Reading an output's name failed");
  return TakeText(name);
}

// onnxruntime makes a custom domain known to the process with the first session that has it, and two first sessions at
// the same time get in each other's way: until one has been created, they are created one after the other.
class DomainRegistration {
 public:
  DomainRegistration() : lock_(mutex_, std::defer_lock) {
    if (!is_known_.load(std::memory_order_acquire)) lock_.lock();
  }
  // A session with the domain exists.
  void Finish() { is_known_.store(true, std::memory_order_release); }

 private:
  inline static std::mutex mutex_;
  inline static std::atomic<bool> is_known_ = false;
  std::unique_lock<std::mutex> lock_;
};

std::vector<std::unique_ptr<Op>> MakeOps(CollectiveState* collective_state, ProductState* product_state) {
  std::vector<std::unique_ptr<Op>> ops = MakeCollectiveOps(collective_state);
  for (std::unique_ptr<Op>& op : MakeProductOps(product_state, collective_state)) ops.push_back(std::move(op));
  for (std::unique_ptr<Op>& op : MakeNormOps(product_state->num_threads)) ops.push_back(std::move(op));
  ops.push_back(MakeGatedSiluOp(product_state->num_threads));
  ops.push_back(MakeCachedAttentionOp(product_state->num_threads));
  return ops;
}

}  // namespace

GraphSession::GraphSession(const SessionConfig& config)
    : communicator_(config.communicator),
      weight_views_(config.weights),
      weights_(MakeValues(weight_views_)),
      collective_state_{communicator_.get()},
      product_state_{config.intra_threads},
      ops_(MakeOps(&collective_state_, &product_state_)) {
  const OwnedSessionOptions options = MakeOptions(config, weights_, ops_.domain());
  DomainRegistration registration;
  Session* session = nullptr;
  CheckGraph(
      GetApi().CreateSessionFromArray(Runtime::Get().env(), config.model, config.model_bytes, options.get(), &session),
      "Creating the session on rank " + std::to_string(communicator_->rank()) + " failed");
  session_.reset(session);
  registration.Finish();
  first_output_ = ReadFirstOutputName(session);
}

void GraphSession::CheckGraph(Status* status, const std::string& what) const {
  if (status != nullptr && ops_.failure) {
    GetApi().ReleaseStatus(status);
    std::rethrow_exception(ops_.failure);
  }
  Check(status, what);
}

RunOutcome GraphSession::Run(const RunRequest& request) {
  const Api& api = GetApi();
  const Stopwatch stopwatch;
  const std::string what = "Running the graph on rank " + std::to_string(communicator_->rank()) + " failed";
  collective_state_.nanoseconds = 0;
  ops_.failure = nullptr;

  IoBinding* raw = nullptr;
  Check(api.CreateIoBinding(session_.get(), &raw), what);
  const OwnedBinding binding(raw);
  for (const TensorView& feed : request.feeds) {
    const OwnedValue value = MakeValue(feed);
    Check(api.BindInput(raw, feed.name.c_str(), value.get()), what);
  }
  // Those that onnxruntime allocates: the first ones.
  std::vector<std::string> made = request.fetch;
  const bool has_logits = request.token_search && !request.token_search->output.empty();
  if (has_logits) made.push_back(request.token_search->output);
  for (const std::string& name : made) {
    Check(api.BindOutputToDevice(raw, name.c_str(), Runtime::Get().cpu()), what);
  }
  const bool has_cache = request.cache && !request.cache->tensors().empty();
  if (has_cache) BindCache(raw, request);
  // onnxruntime wants an output to compute: a prompt's chunk on a rank without heads asks for none.
  if (!has_cache && made.empty()) {
    Check(api.BindOutputToDevice(raw, first_output_.c_str(), Runtime::Get().cpu()), what);
  }

  CheckGraph(api.RunWithBinding(session_.get(), nullptr, raw), what);

  RunOutcome outcome;
  const std::vector<OwnedValue> outputs = TakeOutputs(raw);
  for (size_t i = 0; i < request.fetch.size(); ++i) {
    outcome.outputs.push_back(CopyOut(request.fetch[i], outputs[i].get()));
  }
  if (request.token_search) {
    const Value* logits = has_logits ? outputs[request.fetch.size()].get() : nullptr;
    outcome.best_tokens = FindTokens(*request.token_search, logits);
  }
  outcome.nanoseconds = stopwatch.nanoseconds();
  outcome.collective_nanoseconds = collective_state_.nanoseconds;
  return outcome;
}

std::vector<int32_t> GraphSession::FindTokens(const TokenSearch& search, const Value* logits) {
  const size_t width = logits == nullptr ? 0 : static_cast<size_t>(ReadTypedShape(logits).shape.back());
  if (width > 0 && ReadTypedShape(logits).num_rows() != search.num_positions) {
    throw Error(Error::Kind::kInternal, "A search for tokens at " + std::to_string(search.num_positions) +
                                            " positions found logits of shape " + Print(ReadTypedShape(logits).shape) +
                                            ".");
  }
  const auto* values = logits == nullptr ? nullptr : static_cast<const float*>(MutableData(logits));
  return FindBestTokens(search, values, width, &collective_state_);
}

SessionProfile GraphSession::EndProfiling() {
  constexpr const char* what = "Ending the profile failed";
  SessionProfile profile;
  Check(GetApi().SessionGetProfilingStartTimeNs(session_.get(), &profile.start_nanoseconds), what);
  char* path = nullptr;
  Check(GetApi().SessionEndProfiling(session_.get(), Runtime::Get().allocator(), &path), what);
  profile.path = TakeText(path);
  return profile;
}

}  // namespace shardrun::ort
