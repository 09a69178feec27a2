# Builds native/build/Release/shardrun.node. Sources are listed floor by floor: a floor includes only itself and floors above it.
{
  "targets": [
    {
      "target_name": "shardrun",
      "sources": [
        "common/abort_flag.cc",
        "common/sha256.cc",
        "common/task_thread.cc",
        "transport/address.cc",
        "transport/hello.cc",
        "transport/socket.cc",
        "transport/listener.cc",
        "transport/channel.cc",
        "transport/mesh.cc",
        "transport/tcp_transport.cc",
        "transport/shm_segment.cc",
        "transport/shm_transport.cc",
        "transport/connect.cc",
        "collectives/reduce.cc",
        "collectives/algorithms.cc",
        "collectives/failure_text.cc",
        "collectives/group_communicator.cc",
        "onnxruntime/runtime.cc",
        "onnxruntime/element_type.cc",
        "onnxruntime/tensor.cc",
        "onnxruntime/mapped_file.cc",
        "onnxruntime/key_value_cache.cc",
        "onnxruntime/collective_kernels.cc",
        "onnxruntime/collective_ops.cc",
        "onnxruntime/session.cc",
        "binding/environment.cc",
        "binding/errors.cc",
        "binding/task_promise.cc",
        "binding/arguments.cc",
        "binding/memory_binding.cc",
        "binding/communicator_arguments.cc",
        "binding/listener_binding.cc",
        "binding/communicator_binding.cc",
        "binding/session_binding.cc",
        "binding/addon.cc",
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # The last: a thread that ends (process.exit() during a step) refuses to run JavaScript; that must not end the process with SIGABRT.
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      # GCC 12 finds an overlap in "[" + std::to_string(n) that is not there (GCC bug 105651); clang has no such warning.
      "cflags": ["-O3", "-Wall", "-Wextra", "-Wno-restrict", "-Wno-unknown-warning-option", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++20"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17"],
      "libraries": ["-ldl", "-pthread"],
    }
  ]
}
