#include "core/decode.h"

#include "core/error.h"
#include "core/log.h"

#include <string>

namespace traitscope {

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void decode_batch(llama_context * context, const llama_batch & batch, double & seconds,
                  const bool * aborted) {
    const LogCapture log;
    const auto started = std::chrono::steady_clock::now();
    const int32_t status = llama_decode(context, batch);
    llama_synchronize(context);
    seconds += seconds_since(started);
    if (status == 2 || (aborted != nullptr && *aborted)) {
        throw Error(ErrorCode::Aborted, "the operation was aborted");
    }
    if (status != 0) {
        throw Error(status == -2 ? ErrorCode::OutOfMemory : ErrorCode::Compute,
                    "llama.cpp could not decode a batch of " + std::to_string(batch.n_tokens) +
                        " tokens (status " + std::to_string(status) + "): " + log.text("no reason given"));
    }
}

} // namespace traitscope
