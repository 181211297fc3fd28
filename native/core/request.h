#pragma once
// What one pass over a prompt plan is asked for, and what it says of itself afterwards.

#include "core/plan.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace traitscope {

struct ExtractRequest {
    std::vector<PlanBatch> batches;
    std::vector<int32_t> layers; ///< 0-based block indices, ascending, unique
    int64_t n_rows = 0;
    std::vector<std::pair<int32_t, float>> adapters; ///< adapter id and strength
    bool stop_early = true; ///< false computes the whole model (for measuring what stopping saves)
    /// A batch is cut into groups that fill the cells of memory in use up to a multiple of this, at least 1.
    int32_t group_cells = std::numeric_limits<int32_t>::max();
    /// Context tokens from which a group takes two decodes; needs `stop_early`.
    int64_t split_from = std::numeric_limits<int64_t>::max();
    int32_t n_threads = 0; ///< 0: as the extractor was made
    /// Cells of memory of this pass, at most those of the extractor; 0: as many. A multiple of 256 is met
    /// exactly.
    int32_t max_tokens = 0;
};

struct ExtractStats {
    int64_t computed_tokens = 0;
    /// Of those, context tokens that left out the rest of the highest wanted block.
    int64_t context_tokens = 0;
    double decode_seconds = 0; ///< inside llama_decode, rows read included
    double context_seconds =
        0; ///< making the context: only in the first pass, and when it needs more outputs
    /// Graph nodes offered to the callback, all batches together. A node runs only if it was offered before.
    int64_t nodes_offered = 0;
    /// Of those, offered after the highest wanted layer was read: 0 on a CPU, one per later graph split
    /// elsewhere.
    int64_t nodes_after_stop = 0;
};

} // namespace traitscope
