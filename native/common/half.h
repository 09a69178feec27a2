// The two floats of 16 bits, as they are stored and as float32, without branches: loops over them vectorise on any
// instruction set.
#pragma once

#include <cstdint>

#define SHARDRUN_INLINE inline __attribute__((always_inline))

namespace shardrun {

template <typename To, typename From>
SHARDRUN_INLINE To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

struct BFloat16 {
  using Stored = uint16_t;
  using Wide = float;
  static SHARDRUN_INLINE Wide Load(Stored value) { return BitCast<float>(static_cast<uint32_t>(value) << 16); }
  // Round to nearest, ties to even; a NaN keeps its upper bits and stays one.
  static SHARDRUN_INLINE Stored Store(Wide value) {
    const uint32_t bits = BitCast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40;
    return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
  }
};

// IEEE binary16.
struct Float16 {
  using Stored = uint16_t;
  using Wide = float;
  // Exponent and fraction move to their places in a float32; a multiplication by 2^112 corrects the exponent's bias,
  // subnormals included. Infinities and NaNs get the largest exponent.
  static SHARDRUN_INLINE Wide Load(Stored value) {
    const uint32_t magnitude = static_cast<uint32_t>(value & 0x7fff) << 13;
    const uint32_t scaled = BitCast<uint32_t>(BitCast<float>(magnitude) * BitCast<float>(uint32_t{0x77800000}));
    const uint32_t special = magnitude | 0x7f800000;
    const uint32_t sign = static_cast<uint32_t>(value & 0x8000) << 16;
    return BitCast<float>(sign | (magnitude >= 0x0f800000 ? special : scaled));
  }
  // Round to nearest, ties to even. Below 2^-14 an addition of 0.5 lets the float32 unit round to the subnormal's grid.
  static SHARDRUN_INLINE Stored Store(Wide value) {
    const uint32_t bits = BitCast<uint32_t>(value);
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const uint32_t subnormal = BitCast<uint32_t>(BitCast<float>(magnitude) + 0.5f) - 0x3f000000;
    const uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    const uint32_t finite = magnitude < 0x38800000 ? subnormal : normal;
    return static_cast<uint16_t>(((bits >> 16) & 0x8000) | (magnitude >= 0x477ff000 ? special : finite));
  }
};

}  // namespace shardrun
