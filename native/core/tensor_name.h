#pragma once
// Names that llama.cpp gives the tensors of its graphs.

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace traitscope {

/// The residual stream after a block, before the final norm.
constexpr char block_output[] = "l_out-";

/// Block index of a tensor named `<prefix><index>`, or -1.
inline int32_t block_of(const char * name, const char * prefix) {
    const size_t length = std::strlen(prefix);
    if (std::strncmp(name, prefix, length) != 0) {
        return -1;
    }
    char * end = nullptr;
    const long block = std::strtol(name + length, &end, 10);
    return *end == '\0' ? static_cast<int32_t>(block) : -1;
}

} // namespace traitscope
