#pragma once
// Whether a device computes what the CPU computes: a small model with random weights, made here, read on
// both.

#include <cstdint>
#include <string>
#include <vector>

namespace traitscope {

/// Relative L2 distance of the worst row from the CPU's, whose pass is neither split nor repacked.
struct SelfCheck {
    std::string type; ///< of the weights, e.g. F32
    double unsplit = 0;
    double split = 0; ///< context tokens in a decode of their own (extract.h)
};

/// One row per type of weights: with grouped attention, an adapter, and prompts that share a prefix. Takes
/// tens of milliseconds of computing and a few megabytes. Throws Internal for a device that is not there,
/// Compute and others where it cannot compute at all.
std::vector<SelfCheck> self_check(const std::string & device, int32_t n_threads);

} // namespace traitscope
