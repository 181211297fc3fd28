#pragma once
// llama.cpp's own quantisation of a whole GGUF, as its llama-quantize tool does it.

#include <cstdint>
#include <string>

namespace traitscope {

/// Writes `input` again with its matrices in another type: F16, BF16, Q8_0, Q4_0 or Q4_K_M. Matrices whose
/// rows do not fit the type's blocks get a larger type, by llama.cpp's rules. Cannot be cancelled. Throws
/// ModelLoad with llama.cpp's reason, Internal for an unknown type.
void quantize_file(const std::string & input, const std::string & output, const std::string & type,
                   int32_t n_threads);

} // namespace traitscope
