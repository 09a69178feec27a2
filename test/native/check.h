// The few lines that the C++ tests need: named tests, and checks that print both sides when they differ.
#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace check {

struct Test {
  const char* name;
  std::function<void()> body;
};

inline std::vector<Test>& AllTests() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* name, std::function<void()> body) { AllTests().push_back({name, std::move(body)}); }
};

template <typename A, typename B>
void Equal(const A& actual, const B& expected, const char* file, int line) {
  if (actual == expected) return;
  std::ostringstream text;
  text << file << ":" << line << ": expected\n    " << expected << "\n  received\n    " << actual;
  throw std::runtime_error(text.str());
}

inline void True(bool condition, const char* what, const char* file, int line) {
  if (!condition) throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": not true: " + what);
}

// Runs every test of the program; returns its exit code.
inline int RunAll() {
  int num_failed = 0;
  for (const Test& test : AllTests()) {
    try {
      test.body();
    } catch (const std::exception& error) {
      ++num_failed;
      printf("FAILED %s\n  %s\n", test.name, error.what());
    }
  }
  printf("%zu tests, %d failed\n", AllTests().size(), num_failed);
  return num_failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_CONCAT_INNER(a, b) a##b
#define CHECK_CONCAT(a, b) CHECK_CONCAT_INNER(a, b)
// TEST("what must hold") { ... }
#define TEST(name)                                                                                               \
  static void CHECK_CONCAT(TestBody, __LINE__)();                                                                \
  static const check::Registration CHECK_CONCAT(registration, __LINE__)(name, CHECK_CONCAT(TestBody, __LINE__)); \
  static void CHECK_CONCAT(TestBody, __LINE__)()
#define CHECK_EQUAL(actual, expected) check::Equal(actual, expected, __FILE__, __LINE__)
#define CHECK(condition) check::True(condition, #condition, __FILE__, __LINE__)
