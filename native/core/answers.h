#pragma once
// What becomes of the sequences of a generation: reads logits, chooses tokens, ends sequences, tells of it.

#include "core/generation.h"

#include <llama.h>
#include <optional>
#include <string>
#include <vector>

namespace traitscope {

class Answers {
  public:
    Answers(const GenerateRequest & request, const llama_vocab * vocab);

    /// Whether the logits behind a token are read: it is the last one, or a given continuation follows it.
    bool reads(size_t sequence, size_t position) const;

    /// Takes the logits behind a token that is read: those within a given continuation score its next token,
    /// those behind the last one choose a token. Says when the sequence ends with that. Throws Compute.
    std::optional<Finish> read(size_t sequence, size_t position, const float * logits);

    /// `sum`: [layers, n_embd] of the states of `n_pooled` tokens.
    void finish(size_t sequence, Finish reason, const std::vector<double> & sum, int64_t n_pooled);

    /// Passes on what is new.
    void report();

    /// The token chosen last of a sequence.
    int32_t last(size_t sequence) const { return outcomes_[sequence].tokens.back(); }

    std::vector<GenerateOutcome> take() { return std::move(outcomes_); }

  private:
    std::optional<Finish> choose(size_t sequence, const float * logits);
    void keep_logprobs(GenerateOutcome & outcome, int32_t chosen, const float * logits);
    bool ends(size_t sequence) const;

    const GenerateRequest & request_;
    const llama_vocab * vocab_;
    size_t n_vocab_;
    Sampler sampler_;
    std::vector<GenerateOutcome> outcomes_;
    std::vector<std::string> texts_; ///< of each sequence so far, where stop texts are looked for
    std::vector<int32_t> ids_;       ///< scratch
    GenerateStep step_;
};

} // namespace traitscope
