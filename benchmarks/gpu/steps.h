#pragma once
// The steps of the suite, each one JSON value.

#include "json.h"

#include <cstdint>
#include <string>
#include <vector>

namespace traitscope::gpu {

struct Suite {
    std::string prepared; ///< folder that prepare.mjs made
    std::string work;     ///< folder for what is too large to travel
    std::string device;   ///< ggml's name; empty: the CPU
    int32_t n_threads = 1;
};

/// Random weights of the base and of two adapters, into `work`.
Json make_weights(const Suite & suite);

/// The library's own check of a device, against the CPU.
Json check_self(const Suite & suite);

/// States of the tiny bases against those that transformers computed.
Json check_oracles(const Suite & suite);

/// A checkpoint's states on the large base: times, memory, share of the rate of matrix products.
Json measure_checkpoints(const Suite & suite);

/// Relative L2 distance of the worst of `n_rows` rows. NaN where either has one.
double worst_row(const std::vector<float> & rows, const std::vector<float> & expected, size_t n_rows);

} // namespace traitscope::gpu
