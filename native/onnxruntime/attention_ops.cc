#include "attention_ops.h"

#include <algorithm>
#include <string>
#include <vector>

#include "../kernels/attention.h"
#include "kernel_access.h"
#include "session_threads.h"
#include "shape_inference.h"

namespace shardrun::ort {

namespace {

// Inputs and outputs in their order.
enum : size_t { kQuery, kKey, kValue, kPastKey, kPastValue, kLastPositions, kCos, kSin };
enum : size_t { kPresentKey = 1, kPresentValue };

class CachedAttentionKernel : public Kernel {
 public:
  CachedAttentionKernel(int num_threads, const KernelInfo* info)
      : num_threads_(num_threads), what_("CachedAttention \"" + ReadNodeName(info) + "\"") {
    const auto read = [&](const char* name) { return static_cast<size_t>(ReadIntAttribute(info, name)); };
    layout_.num_heads = read("num_heads");
    layout_.num_key_value_heads = read("kv_num_heads");
    layout_.group_size = read("group_size");
    layout_.first_head = read("first_head");
    layout_.head_dim = read("head_dim");
    layout_.rotary_dim = read("rotary_dim");
    layout_.window = read("local_window_size");
    layout_.score_scale = ReadFloatAttribute(info, "scale");
    layout_.score_cap = ReadFloatAttribute(info, "softcap");
    CheckGroups();
  }

  void Compute(KernelContext* context) override {
    AttentionStep step = {.layout = layout_};
    const int64_t batch = ReadTypedShape(Input(context, kLastPositions)).shape.at(0);
    const int64_t num_tokens = ReadTypedShape(Input(context, kQuery)).shape.at(1);
    step.num_sequences = static_cast<size_t>(batch);
    step.num_tokens = static_cast<size_t>(num_tokens);
    step.last_positions = static_cast<const int32_t*>(MutableData(Input(context, kLastPositions)));
    const size_t query_width = layout_.num_heads * layout_.head_dim;
    const size_t key_width = layout_.num_key_value_heads * layout_.head_dim;
    const auto read_heads = [&](size_t index, size_t width) {
      return TokenHeads{static_cast<const float*>(Read(context, index, {batch, num_tokens, Size(width)})), width};
    };
    if (Input(context, kKey) == nullptr) {
      const TokenHeads packed = read_heads(kQuery, query_width + 2 * key_width);
      step.queries = packed;
      step.keys = {packed.first + query_width, packed.stride};
      step.values = {step.keys.first + key_width, packed.stride};
    } else {
      step.queries = read_heads(kQuery, query_width);
      step.keys = read_heads(kKey, key_width);
      step.values = read_heads(kValue, key_width);
    }
    const std::vector<int64_t> cache = ReadTypedShape(Input(context, kPastKey)).shape;
    step.num_positions = static_cast<size_t>(cache.at(2));
    step.cached_keys = ReadCache(context, kPastKey, kPresentKey, cache);
    step.cached_values = ReadCache(context, kPastValue, kPresentValue, cache);
    int64_t num_turned = cache.at(2);
    if (layout_.rotary_dim > 0) {
      num_turned = ReadTypedShape(Input(context, kCos)).shape.at(0);
      const std::vector<int64_t> tables = {num_turned, Size(layout_.rotary_dim / 2)};
      step.cos = static_cast<const float*>(Read(context, kCos, tables));
      step.sin = static_cast<const float*>(Read(context, kSin, tables));
    }
    CheckPositions(step, std::min(cache.at(2), num_turned));
    step.out = static_cast<float*>(Output(context, 0, {batch, num_tokens, Size(query_width)}));
    SessionThreads threads(num_threads_, context);
    Attend(step, &threads);
  }

 private:
  void CheckGroups() const {
    const size_t group_size = std::max<size_t>(1, layout_.group_size);
    const size_t num_groups = (layout_.first_head + layout_.num_heads + group_size - 1) / group_size;
    if (layout_.first_head < layout_.group_size && num_groups == layout_.num_key_value_heads) return;
    throw Error(Error::Kind::kExecution, what_ + " cannot share " + std::to_string(layout_.num_key_value_heads) +
                                             " key/value heads among " + std::to_string(layout_.num_heads) +
                                             " heads in groups of " + std::to_string(layout_.group_size) +
                                             ", from head " + std::to_string(layout_.first_head) + " of a group on.");
  }

  static int64_t Size(size_t size) { return static_cast<int64_t>(size); }

  // Input `index`, which must have this shape.
  void* Read(const KernelContext* context, size_t index, const std::vector<int64_t>& shape) const {
    const Value* value = Input(context, index);
    const TypedShape typed = ReadTypedShape(value);
    if (typed.shape == shape) return MutableData(value);
    throw Error(Error::Kind::kExecution, what_ + " expected input " + std::to_string(index) + " of shape " +
                                             Print(shape) + ", received " + Print(typed.shape) + ".");
  }

  // A part of the cache, which is input and output.
  float* ReadCache(KernelContext* context, size_t input, size_t output, const std::vector<int64_t>& shape) const {
    void* past = Read(context, input, shape);
    if (Output(context, output, shape) == past && shape.at(2) % Size(kTileKeys) == 0) return static_cast<float*>(past);
    throw Error(Error::Kind::kExecution, what_ + " extends a cache in place, of a multiple of " +
                                             std::to_string(kTileKeys) + " positions: received shape " + Print(shape) +
                                             ", and past and present in different places or of another length.");
  }

  void CheckPositions(const AttentionStep& step, int64_t num_positions) const {
    for (size_t i = 0; i < step.num_sequences; ++i) {
      const int64_t last = step.last_positions[i];
      if (last >= Size(step.num_tokens) - 1 && last < num_positions) continue;
      throw Error(Error::Kind::kExecution, what_ + " was given " + std::to_string(step.num_tokens) +
                                               " tokens up to position " + std::to_string(last) + " of " +
                                               std::to_string(num_positions) + ".");
    }
  }

  const int num_threads_;
  const std::string what_;
  AttentionLayout layout_;
};

}  // namespace

std::unique_ptr<Op> MakeCachedAttentionOp(int num_threads) {
  const Parameter floats = {ElementType::kFloat32};
  const Parameter maybe = {ElementType::kFloat32, Arity::kOptional};
  const Parameter integers = {ElementType::kInt32};
  return std::make_unique<Op>(
      "CachedAttention", std::vector<Parameter>{floats, maybe, maybe, floats, floats, integers, maybe, maybe},
      std::vector<Parameter>{floats, floats, floats}, InferHeads,
      [num_threads](const KernelInfo* info) { return std::make_unique<CachedAttentionKernel>(num_threads, info); });
}

}  // namespace shardrun::ort
