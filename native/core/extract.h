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
#include "core/request.h"

#include <cstdint>
#include <llama-cpp.h>
#include <memory>
#include <vector>

namespace traitscope {

struct Capture;

/// Of the context that states are read with, callbacks aside.
llama_context_params extraction_params(int32_t max_tokens, int32_t n_outputs, int32_t n_threads);

class Extractor {
  public:
    /// `max_tokens`: cells of memory. A batch with rows that are means must fit there whole, in one
    /// micro-batch; of others every prompt must.
    /// `on_device`: whether blocks are on one, which has to be asked to wait before it hears of an abort.
    /// `repack`: whether what is computed with may be laid out as suits the CPU (queries.h), elsewhere not at
    /// all.
    Extractor(llama_model * model, int32_t max_tokens, int32_t n_threads, bool on_device, bool repack);
    ~Extractor();
    Extractor(const Extractor &) = delete;
    Extractor & operator=(const Extractor &) = delete;

    /// Fills `out`, shape [n_rows, n_layers, n_embd], row-major. Throws Aborted, Compute, OutOfMemory,
    /// PromptTooLong.
    ExtractStats run(const ExtractRequest & request, const AdapterStore & adapters, float * out,
                     const Job & job);

    /// The context, made where there is none yet. Throws OutOfMemory.
    const llama_context * context();

    /// Takes every adapter out of the context, so that they may be freed.
    void clear_adapters();

  private:
    void ensure_context(int32_t n_outputs);
    void decode(const PlanBatch & batch, const std::vector<size_t> & part, bool wants_logits);
    void check_rows() const;
    void run_group(const PlanBatch & batch, size_t begin, size_t end);
    void run_batch(const PlanBatch & batch, const Job & job);
    void clear_memory(bool wipe);
    static bool on_eval(ggml_tensor * tensor, bool ask, void * capture);

    llama_model * model_;
    int32_t max_tokens_;
    int32_t n_threads_;
    bool on_device_;
    bool moves_queries_;
    int32_t context_tokens_ = 0; ///< cells of memory that the pass at hand asks for
    int32_t made_tokens_ = 0;    ///< those that the context was made with
    int32_t n_outputs_ = 0;
    size_t n_total_ = 0; ///< tokens of all batches of a run
    const Job * job_ = nullptr;
    std::unique_ptr<Capture> capture_;
    llama_context_ptr context_;
};

} // namespace traitscope
