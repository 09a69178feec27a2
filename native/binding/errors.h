// Turns shardrun::Error into the JavaScript class of src/errors.ts that it names.
#pragma once

#include <napi.h>

#include <exception>

#include "../common/types.h"

namespace shardrun {

// new CollectiveError(message, { rank: peer }) and its siblings.
Napi::Error ToJsError(Napi::Env env, const Error& error);
// The same for whatever was thrown; what is not a shardrun::Error becomes InternalError.
Napi::Error ToJsError(Napi::Env env, const std::exception_ptr& thrown);

// Runs `body` so that a shardrun::Error thrown in it is thrown as its JavaScript class.
template <typename Body>
auto ThrowingJsErrors(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error& error) {
    throw ToJsError(env, error);
  }
}

}  // namespace shardrun
