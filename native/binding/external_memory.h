// Memory that JavaScript sees as an ArrayBuffer and does not own. A thread that ends lets go of its ArrayBuffers before
// anything of ours is told, so what a native thread may be at work on is owned by that work as well.
#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>

namespace shardrun {

// An ArrayBuffer over `num_bytes` at `data`, more than 0, which `owner` keeps there.
Napi::ArrayBuffer NewArrayBuffer(Napi::Env env, void* data, size_t num_bytes, std::shared_ptr<void> owner);

// What keeps the memory at `data` of such an ArrayBuffer; null when it is JavaScript's own. On a JavaScript thread,
// while the ArrayBuffer lives.
std::shared_ptr<void> OwnerOf(const void* data);

}  // namespace shardrun
