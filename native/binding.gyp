# Builds native/build/Release/shardrun.node. Sources are listed floor by floor: a floor includes only itself and floors above it.
{
  "targets": [
    {
      "target_name": "shardrun",
      "sources": [
        "common/task_thread.cc",
        "onnxruntime/runtime.cc",
        "onnxruntime/element_type.cc",
        "onnxruntime/tensor.cc",
        "onnxruntime/mapped_file.cc",
        "onnxruntime/key_value_cache.cc",
        "onnxruntime/collective_ops.cc",
        "onnxruntime/session.cc",
        "binding/environment.cc",
        "binding/errors.cc",
        "binding/task_promise.cc",
        "binding/arguments.cc",
        "binding/memory_binding.cc",
        "binding/session_binding.cc",
        "binding/addon.cc",
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL"],
      "cflags": ["-O3", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++20"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17"],
      "libraries": ["-ldl", "-pthread"],
    }
  ]
}
