#pragma once
// How fast this machine multiplies matrices: the roof that a pass over a model is held against.

#include <cstdint>

namespace traitscope {

struct MatmulShape {
    int32_t type = 0;     ///< of the weights, as ggml and GGUF number it
    int64_t n_in = 0;     ///< length of a weight row; a multiple of the type's block
    int64_t n_out = 0;    ///< weight rows
    int64_t n_tokens = 0; ///< activation rows, F32 as in a model
};

/// Floating-point operations per second, 2 * n_in * n_out * n_tokens counted per product: the best of the
/// products that fit into `seconds`, over every weight layout that the device offers. `gpu`: the first GPU
/// instead of the CPU. Throws Internal for an unknown type or a missing device, OutOfMemory.
double matmul_rate(const MatmulShape & shape, int32_t n_threads, double seconds, bool gpu);

} // namespace traitscope
