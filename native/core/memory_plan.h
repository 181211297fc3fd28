#pragma once
// What a model takes of each device's memory, by llama.cpp's own allocator: planned before anything is
// allocated, or counted afterwards.

#include "core/placement.h"

#include <cstdint>
#include <string>
#include <vector>

namespace traitscope {

struct DeviceMemory {
    std::string device; ///< ggml's name
    uint64_t weights = 0;
    uint64_t context = 0; ///< keys and values
    uint64_t compute = 0; ///< the largest graph's intermediate results
};

/// Needs a header (model_file.h), whose parts are not read. Throws ModelLoad, OutOfMemory.
std::vector<DeviceMemory> plan_memory(const ModelSource & source, const Placement & placement,
                                      int32_t max_tokens);

std::vector<DeviceMemory> count_memory(const llama_context * context);

} // namespace traitscope
