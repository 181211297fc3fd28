#pragma once
// What a generation is asked for, and what becomes of each sequence.

#include "core/sampler.h"

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace traitscope {

struct GenerateSequence {
    /// The prompt, and behind its first `n_prompt` tokens a given continuation, whose log-probabilities are
    /// read.
    std::vector<int32_t> tokens;
    size_t n_prompt = 0;
    int32_t max_new = 0; ///< tokens to generate behind all these at most
    uint64_t key = 0;    ///< of its random numbers, see RandomKey
    uint32_t draw = 0;
    int32_t control = -1; ///< index of its control vectors; -1: none
};

/// Vectors that are added to block outputs at every position, prompt included.
struct Control {
    std::vector<int32_t> layers; ///< 0-based block indices, ascending, unique
    std::vector<float> vectors;  ///< [layers, n_embd]
};

/// Which log-probabilities (natural, temperature 1) are kept of the first `positions` generated tokens.
struct LogprobRequest {
    int32_t positions = 0;
    int32_t top = 0;          ///< the so many most probable tokens
    std::vector<int32_t> ids; ///< and these
};

enum class Finish {
    Stop,    ///< a stop token or stop text
    Length,  ///< as many tokens as were asked for
    Aborted, ///< the job was cancelled
};

struct GenerateOutcome {
    std::vector<int32_t> tokens; ///< generated, a stop token included
    std::string text;            ///< of them, without special tokens, up to the stop text
    Finish finish = Finish::Aborted;
    std::vector<double> scores;   ///< log-probability of each token of the given continuation
    std::vector<double> logprobs; ///< of each generated token, where positions > 0
    std::vector<double> margins;  ///< of each generated token, where asked for; see Choice
    std::vector<int32_t> top_ids; ///< [positions read, top], the most probable first
    std::vector<double> top_logprobs;
    std::vector<double> id_logprobs; ///< [positions read, ids]
    /// [layers, n_embd] mean block outputs over the `n_pooled` generated tokens that were fed back: all but
    /// the last.
    std::vector<float> pooled;
    int64_t n_pooled = 0;
};

/// What is new since the last report.
struct GenerateStep {
    std::vector<std::pair<size_t, int32_t>> tokens; ///< sequence and token, in order of generation
    std::vector<std::pair<size_t, GenerateOutcome>> finished;
};

struct GenerateRequest {
    std::vector<GenerateSequence> sequences; ///< slots are given in this order: neighbours share prefixes
    int32_t n_slots = 1;                     ///< sequences in memory at once
    int32_t n_cells = 0;                     ///< memory of each: all its tokens but the last
    int32_t micro_batch = 512;               ///< tokens of one decode at most, at least `n_slots`
    int32_t n_threads = 1;
    SamplerParams sampler;
    bool ignore_eog = false; ///< goes on after the tokens that end an answer
    std::vector<int32_t> stop_tokens;
    std::vector<std::string> stop_texts;
    std::vector<std::pair<int32_t, float>> adapters; ///< adapter id and strength
    std::vector<Control> controls;
    std::vector<int32_t> layers; ///< pooled; ascending, unique
    LogprobRequest logprobs;
    bool wants_margins = false;
    /// Called on the working thread after every decode that gave tokens; may be empty.
    std::function<void(GenerateStep)> on_step;
};

struct GenerateResult {
    std::vector<GenerateOutcome> outcomes; ///< in the order of the sequences
    int64_t computed_tokens = 0;           ///< through the whole model
    int64_t copied_tokens = 0;             ///< of prompts, taken over from another sequence's memory
    int64_t n_decodes = 0;
    double decode_seconds = 0; ///< inside llama_decode
};

} // namespace traitscope
