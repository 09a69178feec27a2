#include "attention.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "../common/instruction_sets.h"
#include "exponential.h"
#include "products.h"

namespace shardrun {

namespace {

// Rows that a task takes through a block of keys while this lies in a core's cache.
constexpr size_t kTaskRows = 4 * kGroupRows;
// Keys after which what has been seen is put aside, and added up in the end: long sequences of few heads can then be
// shared among threads. The same for prompts and single tokens, on any number of threads, as the bits depend on it.
constexpr size_t kStretchKeys = 512;
static_assert(kStretchKeys % kBlockKeys == 0);
// With fewer tasks than this per thread, stretches are tasks of their own.
constexpr size_t kWantedTasksPerThread = 4;

size_t DivideUp(size_t a, size_t b) { return (a + b - 1) / b; }

// out = factor * head, whose first 2 * num_pairs elements are turned.
SHARDRUN_PER_INSTRUCTION_SET void Turn(const float* head, size_t head_dim, const float* cos, const float* sin,
                                       size_t num_pairs, float factor, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < num_pairs; ++i) {
    const float a = head[i];
    const float b = head[num_pairs + i];
    out[i] = (a * cos[i] - b * sin[i]) * factor;
    out[num_pairs + i] = (b * cos[i] + a * sin[i]) * factor;
  }
#pragma GCC ivdep
  for (size_t i = 2 * num_pairs; i < head_dim; ++i) out[i] = head[i] * factor;
}

// What rows of one key/value head have seen of a stretch, or so far.
struct Seen {
  float* maxima;  // [rows]
  float* totals;  // [rows, kTotalLanes]
  float* sums;    // [rows, padded H]
};

// The rows of one key/value head of a few tokens of one sequence; row = token * heads of the group + head.
class Rows {
 public:
  Rows(const AttentionStep& step, size_t sequence, size_t key_value_head, size_t first_token, size_t num_tokens)
      : step_(step),
        sequence_(sequence),
        key_value_head_(key_value_head),
        first_token_(first_token),
        num_tokens_(num_tokens),
        first_head_(head_at(key_value_head)),
        num_heads_(head_at(key_value_head + 1) - first_head_) {}

  size_t num_rows() const { return num_tokens_ * num_heads_; }
  size_t num_groups() const { return DivideUp(num_rows(), kGroupRows); }
  size_t first_stretch() const { return begin_of(0) / kStretchKeys; }
  size_t last_stretch() const { return position_of(num_tokens_ - 1) / kStretchKeys; }
  size_t seen_floats() const { return num_groups() * kGroupRows * (1 + kTotalLanes + padded_dim()); }

  // Up to num_tokens of these tokens, from one on.
  Rows Part(size_t token, size_t num_tokens) const {
    return {step_, sequence_, key_value_head_, first_token_ + token, std::min(num_tokens, num_tokens_ - token)};
  }

  // Memory of seen_floats().
  Seen SeenAt(float* memory) const {
    const size_t rows = num_groups() * kGroupRows;
    return {memory, memory + rows, memory + rows * (1 + kTotalLanes)};
  }

  // Writes the tokens' keys and values into the cache.
  void Store() const {
    const AttentionLayout& layout = step_.layout;
    const size_t dim = layout.head_dim;
    const size_t first = position_of(0);
    float* values = step_.cached_values + (cache_head() * step_.num_positions + first) * dim;
    float* keys = step_.cached_keys + cache_head() * step_.num_positions * dim;
    std::vector<float> key(dim);
    for (size_t token = 0; token < num_tokens_; ++token) {
      std::memcpy(values + token * dim, head_of(step_.values, token, key_value_head_), dim * sizeof(float));
      const size_t position = first + token;
      TurnHead(step_.keys, token, key_value_head_, 1, key.data());
      float* place = keys + position / kTileKeys * kTileKeys * dim + position % kTileKeys;
      for (size_t i = 0; i < dim; ++i) place[i * kTileKeys] = key[i];
    }
  }

  // Queries as groups want them: [groups, slices, kGroupRows, kSliceElements], turned and scaled.
  std::unique_ptr<float[]> PrepareQueries() const {
    const size_t dim = step_.layout.head_dim;
    auto queries = std::make_unique_for_overwrite<float[]>(num_groups() * group_floats());
    std::vector<float> query(dim);
    for (size_t row = 0; row < num_rows(); ++row) {
      const size_t token = row / num_heads_;
      const size_t head = first_head_ + row % num_heads_;
      TurnHead(step_.queries, token, head, step_.layout.score_scale, query.data());
      float* place = queries.get() + row / kGroupRows * group_floats() + row % kGroupRows * kSliceElements;
      for (size_t i = 0; i < dim; i += kSliceElements, place += kGroupRows * kSliceElements) {
        std::copy(query.data() + i, query.data() + std::min(dim, i + kSliceElements), place);
      }
    }
    return queries;
  }

  void AttendStretch(const float* queries, size_t stretch, const Seen& seen) const {
    const Kernels& kernels = ChosenKernels();
    const size_t dim = step_.layout.head_dim;
    const size_t cache_floats = cache_head() * step_.num_positions * dim;
    const HeadCache cache = {step_.cached_keys + cache_floats, step_.cached_values + cache_floats, dim,
                             step_.layout.score_cap};
    std::fill_n(seen.maxima, num_groups() * kGroupRows, kNoScore);
    std::fill_n(seen.totals, num_groups() * kGroupRows * (kTotalLanes + padded_dim()), 0.0F);  // and the sums
    std::vector<AttentionGroup> groups;
    for (size_t i = 0; i < num_groups(); ++i) groups.push_back(MakeGroup(queries, i, seen));
    const size_t stretch_end = (stretch + 1) * kStretchKeys;
    for (size_t key = stretch * kStretchKeys; key < stretch_end; key += kBlockKeys) {
      for (const AttentionGroup& group : groups) {
        const bool sees_some = group.begins[0] < key + kBlockKeys && group.ends[group.num_rows - 1] > key;
        if (sees_some) kernels.attend_block(cache, key, group);
      }
    }
  }

  // Adds what was seen of a later stretch to `seen`.
  void Merge(const Seen& later, const Seen& seen) const {
    const size_t dim = padded_dim();
    for (size_t row = 0; row < num_rows(); ++row) {
      if (later.maxima[row] == kNoScore) continue;
      const float maximum = std::max(seen.maxima[row], later.maxima[row]);
      const auto factor = [&](float of) { return Exponential(std::max(of - maximum, -88.0F)); };
      const float kept = factor(seen.maxima[row]);
      const float added = factor(later.maxima[row]);
      const auto add = [&](float* sums, const float* more, size_t count) {
        for (size_t i = 0; i < count; ++i) sums[i] = sums[i] * kept + more[i] * added;
      };
      add(seen.totals + row * kTotalLanes, later.totals + row * kTotalLanes, kTotalLanes);
      add(seen.sums + row * dim, later.sums + row * dim, dim);
      seen.maxima[row] = maximum;
    }
  }

  // out = sums / total
  void Finish(const Seen& seen) const {
    const AttentionLayout& layout = step_.layout;
    for (size_t row = 0; row < num_rows(); ++row) {
      float* lanes = seen.totals + row * kTotalLanes;
      for (size_t width = kTotalLanes / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
      }
      const float share = 1.0F / lanes[0];
      const float* sums = seen.sums + row * padded_dim();
      const size_t token = sequence_ * step_.num_tokens + first_token_ + row / num_heads_;
      const size_t head = first_head_ + row % num_heads_;
      float* out = step_.out + (token * layout.num_heads + head) * layout.head_dim;
      for (size_t i = 0; i < layout.head_dim; ++i) out[i] = sums[i] * share;
    }
  }

 private:
  // The first query head of a key/value head.
  size_t head_at(size_t key_value_head) const {
    const AttentionLayout& layout = step_.layout;
    const size_t head = key_value_head * layout.group_size;
    return std::min(head - std::min(head, layout.first_head), layout.num_heads);
  }
  size_t padded_dim() const { return DivideUp(step_.layout.head_dim, kTileOutputs) * kTileOutputs; }
  size_t group_floats() const { return DivideUp(step_.layout.head_dim, kSliceElements) * kGroupRows * kSliceElements; }
  size_t cache_head() const { return sequence_ * step_.layout.num_key_value_heads + key_value_head_; }
  size_t position_of(size_t token) const {
    return static_cast<size_t>(step_.last_positions[sequence_]) + 1 - step_.num_tokens + first_token_ + token;
  }
  // The first position that the token sees.
  size_t begin_of(size_t token) const {
    const size_t end = position_of(token) + 1;
    return step_.layout.window == 0 ? 0 : end - std::min(end, step_.layout.window);
  }
  const float* head_of(const TokenHeads& heads, size_t token, size_t head) const {
    return heads.first + (sequence_ * step_.num_tokens + first_token_ + token) * heads.stride +
           head * step_.layout.head_dim;
  }

  void TurnHead(const TokenHeads& heads, size_t token, size_t head, float factor, float* out) const {
    const AttentionLayout& layout = step_.layout;
    const size_t num_pairs = layout.rotary_dim / 2;
    const size_t first_pair = position_of(token) * num_pairs;
    Turn(head_of(heads, token, head), layout.head_dim, step_.cos + first_pair, step_.sin + first_pair, num_pairs,
         factor, out);
  }

  AttentionGroup MakeGroup(const float* queries, size_t index, const Seen& seen) const {
    const size_t first_row = index * kGroupRows;
    AttentionGroup group;
    group.num_rows = std::min(kGroupRows, num_rows() - first_row);
    group.queries = queries + index * group_floats();
    for (size_t i = 0; i < group.num_rows; ++i) {
      const size_t token = (first_row + i) / num_heads_;
      group.begins[i] = begin_of(token);
      group.ends[i] = position_of(token) + 1;
    }
    group.maxima = seen.maxima + first_row;
    group.totals = seen.totals + first_row * kTotalLanes;
    group.sums = seen.sums + first_row * padded_dim();
    return group;
  }

  const AttentionStep& step_;
  const size_t sequence_;
  const size_t key_value_head_;
  const size_t first_token_;
  const size_t num_tokens_;
  const size_t first_head_;  // of the query heads
  const size_t num_heads_;
};

// All stretches that the rows see, one after the other.
void AttendWhole(const Rows& rows) {
  const std::unique_ptr<float[]> queries = rows.PrepareQueries();
  const auto memory = std::make_unique_for_overwrite<float[]>(2 * rows.seen_floats());
  const Seen seen = rows.SeenAt(memory.get());
  const Seen later = rows.SeenAt(memory.get() + rows.seen_floats());
  rows.AttendStretch(queries.get(), rows.first_stretch(), seen);
  for (size_t stretch = rows.first_stretch() + 1; stretch <= rows.last_stretch(); ++stretch) {
    rows.AttendStretch(queries.get(), stretch, later);
    rows.Merge(later, seen);
  }
  rows.Finish(seen);
}

// One token of each sequence, its stretches shared among threads.
void AttendInStretches(const std::vector<Rows>& heads, Threads* threads) {
  struct Task {
    const Rows* rows;
    size_t stretch;
    std::unique_ptr<float[]> memory;
  };
  std::vector<Task> tasks;
  for (const Rows& rows : heads) {
    for (size_t stretch = rows.first_stretch(); stretch <= rows.last_stretch(); ++stretch) {
      tasks.push_back({&rows, stretch, std::make_unique_for_overwrite<float[]>(rows.seen_floats())});
    }
  }
  threads->Run(tasks.size(), [&](size_t i) {
    const Task& task = tasks[i];
    if (task.stretch == task.rows->last_stretch()) task.rows->Store();
    task.rows->AttendStretch(task.rows->PrepareQueries().get(), task.stretch, task.rows->SeenAt(task.memory.get()));
  });
  const Task* first = nullptr;
  for (const Task& task : tasks) {
    const Rows& rows = *task.rows;
    if (task.stretch == rows.first_stretch()) first = &task;
    const Seen seen = rows.SeenAt(first->memory.get());
    if (&task != first) rows.Merge(rows.SeenAt(task.memory.get()), seen);
    if (task.stretch == rows.last_stretch()) rows.Finish(seen);
  }
}

}  // namespace

void Attend(const AttentionStep& step, Threads* threads) {
  const AttentionLayout& layout = step.layout;
  const size_t task_tokens = std::max<size_t>(1, kTaskRows / layout.group_size);
  const size_t tasks_per_head = DivideUp(step.num_tokens, task_tokens);
  std::vector<Rows> heads;  // all tokens of each
  for (size_t i = 0; i < step.num_sequences * layout.num_key_value_heads; ++i) {
    heads.emplace_back(step, i / layout.num_key_value_heads, i % layout.num_key_value_heads, 0, step.num_tokens);
  }
  if (tasks_per_head == 0) return;
  if (tasks_per_head == 1) {
    const size_t wanted_tasks = static_cast<size_t>(threads->count()) * kWantedTasksPerThread;
    if (threads->count() > 1 && step.num_tokens == 1 && heads.size() < wanted_tasks) {
      return AttendInStretches(heads, threads);
    }
    return RunTasks(heads.size(), threads, [&](size_t i) {
      heads[i].Store();
      AttendWhole(heads[i]);
    });
  }
  RunTasks(heads.size(), threads, [&](size_t i) { heads[i].Store(); });
  // The last tokens see the most, so they are begun first.
  RunTasks(heads.size() * tasks_per_head, threads, [&](size_t i) {
    AttendWhole(heads[i % heads.size()].Part((tasks_per_head - 1 - i / heads.size()) * task_tokens, task_tokens));
  });
}

}  // namespace shardrun
