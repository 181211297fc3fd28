#pragma once
// Random weights, written where they are needed: an 8B base is too large to travel.

#include "case_file.h"

#include <cstdint>
#include <string>

namespace traitscope::gpu {

/// Writes a safetensors file: the header `PREFIX.header` of a case, and behind it what `PREFIX.fill` says,
/// pairs of bytes and kind of number (0: BF16 of either sign about 0.018, 1: ones in F32, 2: F32 up to 0.02).
/// Equal seeds give equal files. Throws Internal where the disk does not take it.
void write_weights(const CaseFile & spec, const std::string & prefix, uint64_t seed,
                   const std::string & path);

} // namespace traitscope::gpu
