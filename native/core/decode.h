#pragma once
// One pass of llama.cpp, timed, its failures told as ours.

#include <chrono>
#include <llama.h>

namespace traitscope {

double seconds_since(std::chrono::steady_clock::time_point start);

/// Decodes a batch to its end and adds the time that it took to `seconds`.
/// @param aborted what a callback within the pass may set: the pass then ended on purpose
/// @throws Error Aborted, OutOfMemory, Compute
void decode_batch(llama_context * context, const llama_batch & batch, double & seconds,
                  const bool * aborted = nullptr);

} // namespace traitscope
