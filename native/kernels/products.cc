#include "products.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../common/types.h"

namespace shardrun {

namespace {

// From the fastest to the slowest.
constexpr const Kernels* kAllKernels[] = {
#if defined(__x86_64__)
    &kAvx512Kernels, &kAvx2Kernels,
#endif
    &kPlainKernels};

std::atomic<const Kernels*> chosen = nullptr;

// Threads share a product in stretches of whole units: what the fastest kernels compute at once.
constexpr size_t kUnitTiles = 4;
// More tasks than threads, so that one who comes late, or loses its core for a while, leaves work to the others.
constexpr size_t kTasksPerThread = 4;

}  // namespace

std::vector<std::string> SupportedKernels() {
  std::vector<std::string> names;
  for (const Kernels* kernels : kAllKernels) {
    if (kernels->is_supported()) names.push_back(kernels->name);
  }
  return names;
}

const Kernels& ChosenKernels() {
  const Kernels* kernels = chosen.load(std::memory_order_relaxed);
  if (kernels == nullptr) {
    ChooseKernels(SupportedKernels().front());
    kernels = chosen.load(std::memory_order_relaxed);
  }
  return *kernels;
}

void ChooseKernels(const std::string& name) {
  std::string supported;
  for (const Kernels* kernels : kAllKernels) {
    if (!kernels->is_supported()) continue;
    if (name == kernels->name) return chosen.store(kernels);
    supported += std::string(supported.empty() ? "" : ", ") + kernels->name;
  }
  throw Error(Error::Kind::kUsage,
              "This CPU has no kernels \"" + name + "\": set SHARDRUN_KERNELS to one of " + supported + ".");
}

namespace {

// Shares the tiles of a product among threads.
template <typename AnyProduct>
void MultiplyWith(void (*multiply)(const AnyProduct&, size_t, size_t), const AnyProduct& product, Threads* threads) {
  const size_t num_tiles = product.layout.num_tiles();
  const size_t num_units = (num_tiles + kUnitTiles - 1) / kUnitTiles;
  const auto num_threads = static_cast<size_t>(threads->count());
  if (num_threads == 1 || num_units <= 1) return multiply(product, 0, num_tiles);
  const size_t num_tasks = std::min(num_units, num_threads * kTasksPerThread);
  const auto first_tile = [&](size_t task) { return std::min(num_tiles, task * num_units / num_tasks * kUnitTiles); };
  threads->Run(num_tasks, [&](size_t task) { multiply(product, first_tile(task), first_tile(task + 1)); });
}

}  // namespace

void Multiply(const Product& product, Threads* threads) {
  const Kernels& kernels = ChosenKernels();
  MultiplyWith(product.layout.bits == 8 ? kernels.multiply_int8 : kernels.multiply_int4, product, threads);
}

void Multiply(const FloatProduct& product, Threads* threads) {
  MultiplyWith(ChosenKernels().multiply_float32, product, threads);
}

void Rescale(const PackedLayout& layout, const uint8_t* weight, const int32_t* sums, const int32_t* octaves,
             size_t num_rows, float* y, Threads* threads) {
  const auto rescale = [&](size_t row) {
    const int32_t* of_row = octaves + row * kOctaves;
    const float row_scale = layout.bits == 8 ? RowStep(of_row) : SumUnit(RowBound(of_row));
    for (size_t first = 0; first < layout.out_features; first += kTileOutputs) {
      float scales[kTileOutputs];
      std::memcpy(scales, weight + first / kTileOutputs * layout.tile_bytes(), sizeof(scales));
      const size_t num_outputs = std::min(kTileOutputs, layout.out_features - first);
      const size_t place = row * layout.out_features + first;
      for (size_t i = 0; i < num_outputs; ++i) {
        y[place + i] = static_cast<float>(sums[place + i]) * (row_scale * scales[i]);
      }
    }
  };
  RunRows(num_rows, layout.out_features, threads, rescale);
}

}  // namespace shardrun
