#pragma once
// What the test files share: counted checks.

#include "core/error.h"

#include <cstdio>
#include <functional>
#include <string>

inline int n_passed = 0;
inline int n_failed = 0;

inline void check(bool ok, const std::string & title) {
    (ok ? n_passed : n_failed) += 1;
    if (!ok) {
        std::fprintf(stderr, "FAILED: %s\n", title.c_str());
    }
}

inline void check_throws(traitscope::ErrorCode code, const std::string & title,
                         const std::function<void()> & call) {
    try {
        call();
        check(false, title + " (nothing was thrown)");
    } catch (const traitscope::Error & error) {
        check(error.code() == code,
              title + " (threw " + traitscope::code_name(error.code()) + ": " + error.what() + ")");
    }
}

void test_capture();
void test_merge_rows();
void test_sampler();
void test_model_file();
