// Attention against its definition in double, and its bits: the same however tokens come.
#include "../../native/kernels/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels.h"

namespace shardrun {

namespace {

constexpr size_t kPositions = 1600;  // with tables

// Tokens of several sequences, each [N + 2K heads, H], and what attention makes of them step by step.
class Sequences {
 public:
  Sequences(const AttentionLayout& layout, size_t num_sequences, size_t num_tokens, uint32_t seed = 1)
      : layout(layout),
        num_sequences(num_sequences),
        num_tokens(num_tokens),
        tokens(RandomFloats(num_sequences * num_tokens * token_floats(), seed)),
        context_((num_tokens + kTileKeys - 1) / kTileKeys * kTileKeys),
        keys_(num_sequences * layout.num_key_value_heads * context_ * layout.head_dim, kOld),
        values_(keys_.size(), kOld) {
    for (size_t position = 0; position < kPositions; ++position) {
      for (size_t i = 0; i < layout.rotary_dim / 2; ++i) {
        const float angle = static_cast<float>(position) / std::pow(10000.0F, 2.0F * i / layout.rotary_dim);
        cos_.push_back(std::cos(angle));
        sin_.push_back(std::sin(angle));
      }
    }
  }

  // Tokens [begin, end) of the sequences from `first` on, `count` of them: [count, end - begin, N, H].
  Floats Attend(size_t first, size_t count, size_t begin, size_t end, int num_threads = 2) {
    const size_t num_new = end - begin;
    const size_t out_floats = layout.num_heads * layout.head_dim;
    Floats step_tokens;
    for (size_t i = first; i < first + count; ++i) {
      const auto sequence = tokens.begin() + i * num_tokens * token_floats();
      step_tokens.insert(step_tokens.end(), sequence + begin * token_floats(), sequence + end * token_floats());
    }
    const std::vector<int32_t> last(count, static_cast<int32_t>(end) - 1);
    const float* query = step_tokens.data();
    const float* key = query + out_floats;
    const float* value = key + layout.num_key_value_heads * layout.head_dim;
    Floats out(count * num_new * out_floats);
    const size_t cache_floats = layout.num_key_value_heads * context_ * layout.head_dim * first;
    OwnThreads threads(num_threads);
    shardrun::Attend({layout, count, num_new, last.data(), {query, token_floats()}, {key, token_floats()},
                      {value, token_floats()}, cos_.data(), sin_.data(), context_, keys_.data() + cache_floats,
                      values_.data() + cache_floats, out.data()},
                     &threads);
    return out;
  }

  // Query heads [begin, end) with the key/value heads that they read, as a rank may hold them alone.
  Sequences Only(size_t begin, size_t end) const {
    const size_t first = begin / layout.group_size;
    AttentionLayout part = layout;
    part.num_heads = end - begin;
    part.num_key_value_heads = (end - 1) / layout.group_size + 1 - first;
    part.first_head = begin % layout.group_size;
    Sequences only(part, num_sequences, num_tokens);
    only.tokens.clear();
    for (size_t i = 0; i < num_sequences * num_tokens; ++i) {
      const auto add = [&](size_t head, size_t count) {
        const float* from = HeadOf(0, i, head);
        only.tokens.insert(only.tokens.end(), from, from + count * layout.head_dim);
      };
      add(begin, part.num_heads);
      add(layout.num_heads + first, part.num_key_value_heads);
      add(layout.num_heads + layout.num_key_value_heads + first, part.num_key_value_heads);
    }
    return only;
  }

  // By the definition: [N, H].
  std::vector<double> Expected(size_t sequence, size_t token) const {
    const size_t begin = layout.window == 0 || layout.window > token ? 0 : token + 1 - layout.window;
    std::vector<double> out;
    for (size_t head = 0; head < layout.num_heads; ++head) {
      const size_t shared = layout.num_heads + (layout.first_head + head) / layout.group_size;
      const std::vector<double> query = Turned(sequence, token, head);
      std::vector<double> scores;
      for (size_t t = begin; t <= token; ++t) {
        const std::vector<double> key = Turned(sequence, t, shared);
        double score = 0;
        for (size_t i = 0; i < layout.head_dim; ++i) score += query[i] * key[i];
        score *= layout.score_scale;
        scores.push_back(layout.score_cap == 0 ? score : layout.score_cap * std::tanh(score / layout.score_cap));
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      std::vector<double> sums(layout.head_dim);
      double total = 0;
      for (size_t t = begin; t <= token; ++t) {
        const double weight = std::exp(scores[t - begin] - largest);
        total += weight;
        const float* value = HeadOf(sequence, t, shared + layout.num_key_value_heads);
        for (size_t i = 0; i < layout.head_dim; ++i) sums[i] += weight * value[i];
      }
      for (const double sum : sums) out.push_back(sum / total);
    }
    return out;
  }

  const AttentionLayout layout;
  const size_t num_sequences, num_tokens;
  Floats tokens;

 private:
  static constexpr float kOld = std::numeric_limits<float>::quiet_NaN();  // what the cache holds where no token was

  size_t token_floats() const { return (layout.num_heads + 2 * layout.num_key_value_heads) * layout.head_dim; }
  const float* HeadOf(size_t sequence, size_t token, size_t head) const {
    return tokens.data() + (sequence * num_tokens + token) * token_floats() + head * layout.head_dim;
  }
  std::vector<double> Turned(size_t sequence, size_t token, size_t head) const {
    const float* from = HeadOf(sequence, token, head);
    std::vector<double> turned(from, from + layout.head_dim);
    const size_t half = layout.rotary_dim / 2;
    for (size_t i = 0; i < half; ++i) {
      const double cos = cos_[token * half + i];
      const double sin = sin_[token * half + i];
      turned[i] = from[i] * cos - from[i + half] * sin;
      turned[i + half] = from[i + half] * cos + from[i] * sin;
    }
    return turned;
  }

  const size_t context_;
  Floats keys_, values_, cos_, sin_;
};

// As far apart as the two are, of numbers around 1.
double Distance(const float* actual, const std::vector<double>& expected) {
  double distance = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(actual[i] - expected[i]);
    distance = std::isnan(difference) ? difference : std::max(distance, difference);
  }
  return distance;
}

AttentionLayout LayoutOf(size_t num_heads, size_t num_key_value_heads, size_t head_dim, size_t rotary_dim) {
  AttentionLayout layout;
  layout.num_heads = num_heads;
  layout.num_key_value_heads = num_key_value_heads;
  layout.group_size = num_heads / num_key_value_heads;
  layout.head_dim = head_dim;
  layout.rotary_dim = rotary_dim;
  layout.score_scale = 1 / std::sqrt(static_cast<float>(head_dim));
  return layout;
}

AttentionLayout With(AttentionLayout layout, size_t window, float score_cap = 0) {
  layout.window = window;
  layout.score_cap = score_cap;
  return layout;
}

// Of every kind: heads that share and that do not, sizes that fill vectors and that do not, windows, caps.
const std::vector<AttentionLayout> kLayouts = {
    LayoutOf(9, 3, 64, 64),          LayoutOf(4, 4, 8, 8),       With(LayoutOf(8, 1, 80, 32), 0),
    With(LayoutOf(7, 1, 5, 0), 0),   LayoutOf(2, 2, 128, 128),   With(LayoutOf(4, 2, 16, 16), 70),
    With(LayoutOf(4, 2, 24, 6), 1),  With(LayoutOf(6, 2, 20, 20), 0, 2), With(LayoutOf(14, 2, 64, 64), 5, 50),
};

bool IsSame(const float* a, const Floats& b) { return std::memcmp(a, b.data(), b.size() * sizeof(float)) == 0; }

template <typename Body>
void WithEveryInstructionSet(const Body& body) {
  for (const std::string& name : SupportedKernels()) {
    ChooseKernels(name);
    body(name);
  }
  ChooseKernels(SupportedKernels().front());
}

// That tokens [begin, end) of a sequence get from `step` what they have in `whole`, [sequences, tokens, N, H].
void CheckTokens(const Sequences& sequences, const Floats& whole, size_t sequence, size_t begin, const Floats& step) {
  const size_t out_floats = sequences.layout.num_heads * sequences.layout.head_dim;
  CHECK(IsSame(whole.data() + (sequence * sequences.num_tokens + begin) * out_floats, step));
}

}  // namespace

TEST("attention is what its definition says, with every instruction set") {
  for (const AttentionLayout& layout : kLayouts) {
    constexpr size_t kTokens = 150;
    Floats first;
    WithEveryInstructionSet([&](const std::string& name) {
      Sequences sequences(layout, 2, kTokens);
      const Floats out = sequences.Attend(0, 2, 0, kTokens);
      for (size_t i = 0; i < 2 * kTokens; ++i) {
        const double distance = Distance(out.data() + i * layout.num_heads * layout.head_dim,
                                         sequences.Expected(i / kTokens, i % kTokens));
        CHECK(distance < 2e-6);
      }
      if (first.empty()) first = out;
      CHECK(name == "plain" || IsSame(out.data(), first));
    });
  }
}

TEST("a token has the same bits alone, beside other sequences, in parts of a prompt, and on several threads") {
  constexpr size_t kTokens = 150;
  for (const AttentionLayout& layout : kLayouts) {
    WithEveryInstructionSet([&](const std::string&) {
      Sequences together(layout, 2, kTokens);
      const Floats whole = together.Attend(0, 2, 0, kTokens, 3);
      Sequences alone(layout, 2, kTokens);
      CheckTokens(alone, whole, 1, 0, alone.Attend(1, 1, 0, kTokens, 1));
      size_t begin = 0;
      Sequences parts(layout, 2, kTokens);
      for (const size_t end : {1, 2, 9, 63, 66, 67, 129, 130, 148, 149, 150}) {
        CheckTokens(parts, whole, 0, begin, parts.Attend(0, 1, begin, end));
        begin = end;
      }
    });
  }
}

TEST("a head has the same bits on whichever rank it is, with its whole group or a part of it") {
  constexpr size_t kTokens = 70;
  const AttentionLayout layout = LayoutOf(9, 3, 64, 64);
  const Floats whole = Sequences(layout, 1, kTokens).Attend(0, 1, 0, kTokens);
  const std::vector<std::pair<size_t, size_t>> shares = {{0, 3}, {6, 9}, {0, 5}, {5, 9}, {2, 7}, {4, 5}};
  for (const auto& [begin, end] : shares) {
    Sequences only = Sequences(layout, 1, kTokens).Only(begin, end);
    const Floats out = only.Attend(0, 1, 0, kTokens);
    const size_t width = (end - begin) * 64;
    for (size_t token = 0; token < kTokens; ++token) {
      const auto part = out.begin() + token * width;
      CHECK(IsSame(whole.data() + (token * 9 + begin) * 64, Floats(part, part + width)));
    }
    CHECK(Distance(out.data() + 69 * width, only.Expected(0, 69)) < 2e-6);
  }
}

TEST("long sequences: stretches shared among threads or not, with a window over several or none") {
  constexpr size_t kTokens = 1300;
  for (const size_t window : {0, 700}) {
    const AttentionLayout layout = With(LayoutOf(3, 1, 20, 12), window);
    Sequences sequences(layout, 2, kTokens);
    const Floats whole = sequences.Attend(0, 2, 0, kTokens);
    for (const size_t token : {511, 512, 1024, 1299}) {
      CHECK(Distance(whole.data() + token * 3 * 20, sequences.Expected(0, token)) < 2e-6);
    }
    Sequences steps(layout, 2, kTokens);
    steps.Attend(0, 2, 0, 1020);
    for (size_t token = 1020; token < 1030; ++token) {
      const Floats shared = steps.Attend(0, 2, token, token + 1, 3);
      const Floats unshared = steps.Attend(1, 1, token, token + 1, 1);
      CheckTokens(steps, whole, 0, token, Floats(shared.begin(), shared.begin() + 3 * 20));
      CheckTokens(steps, whole, 1, token, unshared);
      CHECK(IsSame(shared.data() + 3 * 20, unshared));
    }
  }
}

TEST("no tokens, no sequences; NaNs stay NaNs, from the first token that has one on") {
  Sequences sequences(LayoutOf(4, 2, 16, 16), 2, 30);
  CHECK(sequences.Attend(0, 2, 0, 0).empty());
  CHECK(sequences.Attend(0, 0, 0, 1).empty());
  sequences.tokens[20 * 8 * 16] = std::nanf("");  // element 0 of query head 0 of token 20
  const Floats out = sequences.Attend(0, 1, 0, 30);
  for (size_t i = 0; i < out.size(); ++i) CHECK(std::isnan(out[i]) == (i / 16 == 20 * 4));
}

}  // namespace shardrun

int main() { return check::RunAll(); }
