// The part of onnxruntime's C API that we call, declared by ourselves: no maintained package ships the header.
//
// The ABI is a table of function pointers that only ever grows, so a function is its index. SHARDRUN_ORT_FUNCTIONS
// is that list: index, result, name, parameters. test/unit/collective/native-api.test.ts compares it with the crate
// ort-sys's order of members, and Runtime::Open (runtime.h) tries the table before anyone relies on it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shardrun::ort {

// Oldest table that has every function of the list, with the meaning that we rely on; GetApi is asked for this one.
inline constexpr uint32_t kApiVersion = 21;

struct Status;
struct Env;
struct MemoryInfo;
struct Allocator;
struct Value;
struct TypeAndShape;
struct SessionOptions;
struct Session;
struct RunOptions;  // always null: the defaults do
struct IoBinding;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct ShapeInferContext;
struct OpAttribute;
struct CustomOp;

// Values of ONNX's TensorProto.DataType.
enum class ElementType : int32_t {
  kUndefined = 0,
  kFloat32 = 1,
  kUInt8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kBool = 9,
  kFloat16 = 10,
  kBFloat16 = 16,
};

enum class ErrorCode : int32_t { kOk = 0, kFail = 1, kInvalidArgument = 2 };
enum class LoggingLevel : int32_t { kVerbose = 0, kInfo = 1, kWarning = 2, kError = 3, kFatal = 4 };
enum class ExecutionMode : int32_t { kSequential = 0, kParallel = 1 };
enum class OptimizationLevel : int32_t { kNone = 0, kBasic = 1, kExtended = 2, kAll = 99 };
enum class AllocatorType : int32_t { kDevice = 0, kArena = 1 };
enum class MemoryType : int32_t { kDefault = 0 };
enum class AttributeType : int32_t { kInt = 1 };
enum class Arity : int32_t { kRequired = 0, kOptional = 1 };

// clang-format off
#define SHARDRUN_ORT_FUNCTIONS(X)                                                                                              \
  X(0, Status*, CreateStatus, (ErrorCode code, const char* message))                                                           \
  X(2, const char*, GetErrorMessage, (const Status*))                                                                          \
  X(3, Status*, CreateEnv, (LoggingLevel, const char* log_id, Env**))                                                          \
  X(8, Status*, CreateSessionFromArray, (const Env*, const void* model, size_t bytes, const SessionOptions*, Session**))       \
  X(10, Status*, CreateSessionOptions, (SessionOptions**))                                                                     \
  X(13, Status*, SetSessionExecutionMode, (SessionOptions*, ExecutionMode))                                                    \
  X(14, Status*, EnableProfiling, (SessionOptions*, const char* file_prefix))                                                  \
  X(17, Status*, DisableMemPattern, (SessionOptions*))                                                                         \
  X(23, Status*, SetSessionGraphOptimizationLevel, (SessionOptions*, OptimizationLevel))                                       \
  X(24, Status*, SetIntraOpNumThreads, (SessionOptions*, int))                                                                 \
  X(25, Status*, SetInterOpNumThreads, (SessionOptions*, int))                                                                 \
  X(26, Status*, CreateCustomOpDomain, (const char* domain, CustomOpDomain**))                                                 \
  X(27, Status*, CustomOpDomain_Add, (CustomOpDomain*, const CustomOp*))                                                       \
  X(28, Status*, AddCustomOpDomain, (SessionOptions*, CustomOpDomain*))                                                        \
  X(37, Status*, SessionGetOutputName, (const Session*, size_t index, Allocator*, char** name))                                \
  X(49, Status*, CreateTensorWithDataAsOrtValue, (const MemoryInfo*, void* data, size_t bytes, const int64_t* shape,            \
                                                  size_t ndim, ElementType, Value**))                                          \
  X(51, Status*, GetTensorMutableData, (Value*, void** data))                                                                  \
  X(59, Status*, SetDimensions, (TypeAndShape*, const int64_t* shape, size_t ndim))                                            \
  X(60, Status*, GetTensorElementType, (const TypeAndShape*, ElementType*))                                                    \
  X(61, Status*, GetDimensionsCount, (const TypeAndShape*, size_t* ndim))                                                      \
  X(62, Status*, GetDimensions, (const TypeAndShape*, int64_t* shape, size_t ndim))                                            \
  X(63, Status*, GetSymbolicDimensions, (const TypeAndShape*, const char** names, size_t ndim))                                \
  X(65, Status*, GetTensorTypeAndShape, (const Value*, TypeAndShape**))                                                        \
  X(69, Status*, CreateCpuMemoryInfo, (AllocatorType, MemoryType, MemoryInfo**))                                               \
  X(76, Status*, AllocatorFree, (Allocator*, void*))                                                                           \
  X(78, Status*, GetAllocatorWithDefaultOptions, (Allocator**))                                                                \
  X(85, Status*, KernelInfoGetAttribute_float, (const KernelInfo*, const char* name, float*))                                  \
  X(86, Status*, KernelInfoGetAttribute_int64, (const KernelInfo*, const char* name, int64_t*))                                \
  X(87, Status*, KernelInfoGetAttribute_string, (const KernelInfo*, const char* name, char* out, size_t* bytes))               \
  X(89, Status*, KernelContext_GetOutputCount, (const KernelContext*, size_t*))                                                \
  X(90, Status*, KernelContext_GetInput, (const KernelContext*, size_t index, const Value**))                                  \
  X(91, Status*, KernelContext_GetOutput, (KernelContext*, size_t index, const int64_t* shape, size_t ndim, Value**))          \
  X(93, void, ReleaseStatus, (Status*))                                                                                        \
  X(94, void, ReleaseMemoryInfo, (MemoryInfo*))                                                                                \
  X(95, void, ReleaseSession, (Session*))                                                                                      \
  X(96, void, ReleaseValue, (Value*))                                                                                          \
  X(99, void, ReleaseTensorTypeAndShapeInfo, (TypeAndShape*))                                                                  \
  X(100, void, ReleaseSessionOptions, (SessionOptions*))                                                                       \
  X(101, void, ReleaseCustomOpDomain, (CustomOpDomain*))                                                                       \
  X(110, Status*, SessionEndProfiling, (Session*, Allocator*, char** path))                                                    \
  X(130, Status*, AddSessionConfigEntry, (SessionOptions*, const char* key, const char* value))                                \
  X(133, Status*, RunWithBinding, (Session*, const RunOptions*, const IoBinding*))                                             \
  X(134, Status*, CreateIoBinding, (Session*, IoBinding**))                                                                    \
  X(135, void, ReleaseIoBinding, (IoBinding*))                                                                                 \
  X(136, Status*, BindInput, (IoBinding*, const char* name, const Value*))                                                     \
  X(137, Status*, BindOutput, (IoBinding*, const char* name, const Value*))                                                    \
  X(138, Status*, BindOutputToDevice, (IoBinding*, const char* name, const MemoryInfo*))                                       \
  X(140, Status*, GetBoundOutputValues, (const IoBinding*, Allocator*, Value*** values, size_t* count))                        \
  X(146, Status*, SessionGetProfilingStartTimeNs, (const Session*, uint64_t*))                                                 \
  X(150, Status*, AddInitializer, (SessionOptions*, const char* name, const Value*))                                           \
  X(163, Status*, KernelInfoGetAttributeArray_int64, (const KernelInfo*, const char* name, int64_t* out, size_t* count))       \
  X(244, Status*, KernelInfo_GetNodeName, (const KernelInfo*, char* out, size_t* bytes))                                       \
  X(268, Status*, ShapeInferContext_GetInputTypeShape, (const ShapeInferContext*, size_t index, TypeAndShape**))               \
  X(269, Status*, ShapeInferContext_GetAttribute, (const ShapeInferContext*, const char* name, const OpAttribute**))           \
  X(270, Status*, ShapeInferContext_SetOutputTypeShape, (const ShapeInferContext*, size_t index, const TypeAndShape*))         \
  X(271, Status*, SetSymbolicDimensions, (TypeAndShape*, const char** names, size_t ndim))                                     \
  X(272, Status*, ReadOpAttr, (const OpAttribute*, AttributeType, void* out, size_t bytes, size_t* used_bytes))                \
  X(274, Status*, KernelContext_ParallelFor, (const KernelContext*, void (*body)(void* data, size_t index), size_t count,      \
                                              size_t num_batches, void* data))
// clang-format on

// The functions by name, each read from its index of onnxruntime's table.
struct Api {
#define SHARDRUN_ORT_MEMBER(index, result, name, parameters) result(*name) parameters;
  SHARDRUN_ORT_FUNCTIONS(SHARDRUN_ORT_MEMBER)
#undef SHARDRUN_ORT_MEMBER

  explicit Api(const void* table) {
    const auto* functions = static_cast<void* const*>(table);
#define SHARDRUN_ORT_LOAD(index, result, name, parameters) \
  name = reinterpret_cast<result(*) parameters>(functions[index]);
    SHARDRUN_ORT_FUNCTIONS(SHARDRUN_ORT_LOAD)
#undef SHARDRUN_ORT_LOAD
  }
};

// What `OrtGetApiBase` returns.
struct ApiBase {
  const void* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// How a custom op describes itself to onnxruntime; the members in the order of the C API, checked by the same test.
struct CustomOp {
  uint32_t version;
  void* (*CreateKernel)(const CustomOp*, const void* api, const KernelInfo*);
  const char* (*GetName)(const CustomOp*);
  const char* (*GetExecutionProviderType)(const CustomOp*);
  ElementType (*GetInputType)(const CustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const CustomOp*);
  ElementType (*GetOutputType)(const CustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const CustomOp*);
  void (*KernelCompute)(void* kernel, KernelContext*);
  void (*KernelDestroy)(void* kernel);
  Arity (*GetInputCharacteristic)(const CustomOp*, size_t index);
  Arity (*GetOutputCharacteristic)(const CustomOp*, size_t index);
  MemoryType (*GetInputMemoryType)(const CustomOp*, size_t index);
  int (*GetVariadicInputMinArity)(const CustomOp*);
  int (*GetVariadicInputHomogeneity)(const CustomOp*);
  int (*GetVariadicOutputMinArity)(const CustomOp*);
  int (*GetVariadicOutputHomogeneity)(const CustomOp*);
  Status* (*CreateKernelV2)(const CustomOp*, const void* api, const KernelInfo*, void** kernel);
  Status* (*KernelComputeV2)(void* kernel, KernelContext*);
  Status* (*InferOutputShapeFn)(const CustomOp*, ShapeInferContext*);
  int (*GetStartVersion)(const CustomOp*);
  int (*GetEndVersion)(const CustomOp*);
  size_t (*GetMayInplace)(int** input_index, int** output_index);
  void (*ReleaseMayInplace)(int* input_index, int* output_index);
  size_t (*GetAliasMap)(int** input_index, int** output_index);
  void (*ReleaseAliasMap)(int* input_index, int* output_index);
};

}  // namespace shardrun::ort
