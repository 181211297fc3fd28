#pragma once
// Generates many sequences at once, in slots.
//
// A slot is a sequence id of llama.cpp's memory with cells of its own (a stream), so a token is multiplied
// with the keys of its own sequence only. All slots decode one token per step; a slot whose sequence has
// ended takes the next one. What a new sequence shares with one that is in some slot's memory already is
// taken over, not computed.
//
// Every decode is a rectangle, consecutive slots times equally many tokens: what llama.cpp computes in one
// micro-batch of such a memory. Slots in use are therefore kept together at the front.

#include "core/adapter.h"
#include "core/answers.h"
#include "core/block_hook.h"
#include "core/generation.h"
#include "core/job.h"

#include <cstdint>
#include <llama-cpp.h>
#include <vector>

namespace traitscope {

class Generator {
  public:
    /// The context lives as long as this. Throws OutOfMemory, AdapterInvalid; Internal for a request that
    /// cannot be.
    Generator(llama_model * model, const GenerateRequest & request, const AdapterStore & adapters,
              const Job & job);

    /// Once. A cancelled job gives what there is, with unfinished sequences marked. Throws Compute.
    GenerateResult run();

  private:
    static constexpr size_t idle = static_cast<size_t>(-1);

    struct Slot {
        size_t sequence = idle;
        int32_t control = -1;
        std::vector<int32_t> tokens; ///< those in memory, then those that are not yet
        size_t n_cached = 0;
        std::vector<double> sum; ///< [layers, n_embd] of pooled states
        int64_t n_pooled = 0;
    };

    struct Order {
        std::vector<size_t> order;
        std::vector<size_t> round; ///< of each sequence, not in that order
    };

    void validate() const;
    void make_context();
    size_t fill();
    Order order_of(size_t n) const;
    void start(size_t slot, size_t sequence);
    void prefill(size_t first, size_t end);
    size_t compact();
    void decode(size_t first, size_t n_slots, size_t n_tokens);
    void finish(Slot & slot, Finish reason);
    size_t prefill_end(const Slot & slot) const;
    size_t shared(const Slot & slot, size_t sequence) const;
    llama_memory_t memory() const { return llama_get_memory(context_.get()); }

    llama_model * model_;
    const GenerateRequest & request_;
    const Job & job_;
    Answers answers_;
    BlockHook hook_;
    llama_context_ptr context_;
    std::vector<Slot> slots_;
    size_t next_ = 0; ///< sequences that have got a slot
    GenerateResult result_;
};

} // namespace traitscope
