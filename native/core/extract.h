#pragma once
// Reads block outputs (the residual stream after a block, llama.cpp's `l_out-<layer>`) during one decode per
// batch.
//
// The context is used for nothing else: the evaluation callback copies the wanted rows and then ends the
// graph, so blocks above the highest wanted layer and the output head are never computed. Memory is cleared
// after every batch.
//
// A token attends to every cell in use, and what belongs to other sequences is masked only afterwards. A
// batch is therefore computed in groups, in the order of its prefix tree, and sequences that are complete are
// forgotten between them; shared prefixes stay until the last sequence below them is done.
//
// In the highest wanted block most tokens matter only through their keys and values: no row reads them. A
// group with many such tokens takes two decodes. The first holds these context tokens and ends as soon as
// that block has stored its keys and values; the second holds the rest and runs the block to its end.

#include "core/adapter.h"
#include "core/job.h"
#include "core/plan.h"

#include <cstdint>
#include <limits>
#include <llama-cpp.h>
#include <memory>
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

struct Capture;

class Extractor {
  public:
    /// `max_tokens`: cells of memory. A batch with rows that are means must fit there whole, in one
    /// micro-batch; of others every prompt must.
    Extractor(llama_model * model, int32_t max_tokens, int32_t n_threads);
    ~Extractor();
    Extractor(const Extractor &) = delete;
    Extractor & operator=(const Extractor &) = delete;

    /// Fills `out`, shape [n_rows, n_layers, n_embd], row-major. Throws Aborted, Compute, OutOfMemory,
    /// PromptTooLong.
    ExtractStats run(const ExtractRequest & request, const AdapterStore & adapters, float * out,
                     const Job & job);

    /// Takes every adapter out of the context, so that they may be freed.
    void clear_adapters();

  private:
    void ensure_context(int32_t n_outputs);
    void set_adapters(const ExtractRequest & request, const AdapterStore & adapters);
    void decode(const PlanBatch & batch, const std::vector<size_t> & part, bool wants_logits);
    void check_rows() const;
    void run_group(const PlanBatch & batch, size_t begin, size_t end);
    void run_batch(const PlanBatch & batch, const Job & job);
    void clear_memory(bool wipe);
    static bool on_eval(ggml_tensor * tensor, bool ask, void * capture);

    llama_model * model_;
    int32_t max_tokens_;
    int32_t n_threads_;
    int32_t n_outputs_ = 0;
    size_t n_total_ = 0; ///< tokens of all batches of a run
    const Job * job_ = nullptr;
    std::unique_ptr<Capture> capture_;
    llama_context_ptr context_;
};

} // namespace traitscope
