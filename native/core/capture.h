#pragma once
// What the evaluation callback of a decode reads of the graph and where it puts it. Lives for one run of an
// Extractor; used on the decoding thread only.

#include "core/job.h"
#include "core/pause.h"
#include "core/queries.h"
#include "core/request.h"

#include <cstddef>
#include <cstdint>
#include <ggml.h>
#include <limits>
#include <string>
#include <vector>

namespace traitscope {

struct Capture {
    static constexpr size_t absent = std::numeric_limits<size_t>::max();

    const ExtractRequest * request = nullptr;
    float * out = nullptr;
    int64_t n_embd = 0;
    int32_t last_block = 0;

    const Job * job = nullptr;
    size_t n_total = 0;   ///< tokens of all batches
    bool pauses = false;  ///< on a device: llama.cpp itself asks for an abort on the CPU alone
    bool aborted = false; ///< noticed within a decode, which ended there
    Pause pause;
    bool moves_queries = false; ///< on a CPU, whose products are faster for it
    Queries queries;

    const PlanBatch * batch = nullptr;
    bool is_context = false; ///< this decode only stores keys and values
    size_t n_tokens = 0;
    size_t n_outputs = 0;
    std::vector<size_t> index; ///< of each batch token within this decode, or `absent`
    /// Of each batch token among this decode's outputs: the last block keeps only those. -1: no row reads it.
    std::vector<int32_t> output_rank;
    size_t n_layers_seen = 0;
    uint32_t stored = 0; ///< of the highest block in a context decode: 1 keys, 2 values, as they were offered
    bool stopped = false;
    bool non_finite = false;
    std::string error;
    ExtractStats stats;

    std::vector<float> staging; // rows of a tensor that does not live in host memory
    std::vector<double> sum;

    /// `tokens`: those of `next` that this decode holds, ascending.
    void begin(const PlanBatch & next, const std::vector<size_t> & tokens, bool context);

    /// llama.cpp's evaluation callback: `ask` before a node is computed, to hear whether it is wanted, then
    /// with its values. False ends the graph.
    bool on_eval(ggml_tensor * tensor, bool ask);

  private:
    bool on_block(const ggml_tensor * tensor, int32_t block, bool ask);
    bool wants(int32_t block) const;
    void read(const ggml_tensor * tensor, int32_t block);
};

} // namespace traitscope
