#include "errors.h"

#include <string>

#include "environment.h"

namespace shardrun {

namespace {

const char* ClassName(Error::Kind kind) {
  switch (kind) {
    case Error::Kind::kCollective:
      return "CollectiveError";
    case Error::Kind::kExecution:
      return "ExecutionError";
    case Error::Kind::kUsage:
      return "UsageError";
    case Error::Kind::kInternal:
      break;
  }
  return "InternalError";
}

}  // namespace

Napi::Error ToJsError(Napi::Env env, const Error& error) {
  const Napi::Object details = Napi::Object::New(env);
  if (error.peer() >= 0) details.Set("rank", Napi::Number::New(env, error.peer()));
  const Napi::Function constructor = Environment::Of(env).ErrorClass(ClassName(error.kind()));
  return Napi::Error(env, constructor.New({Napi::String::New(env, error.what()), details}));
}

Napi::Error ToJsError(Napi::Env env, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return ToJsError(env, error);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const std::exception& error) {
    return ToJsError(env, Error(Error::Kind::kInternal, std::string("Native code failed: ") + error.what()));
  }
}

}  // namespace shardrun
