#pragma once
// One batch of a prompt plan: a prefix tree of tokens, flat, as TypeScript's planner made it.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace traitscope {

/// llama.cpp's bound on sequence ids in one context (LLAMA_MAX_SEQ).
constexpr int32_t max_sequences = 256;

struct PlanBatch {
    std::vector<int32_t> tokens;      ///< [n_tokens] vocabulary ids, parents before children
    std::vector<int32_t> positions;   ///< [n_tokens] position within the prompt
    std::vector<int32_t> seq_offsets; ///< [n_tokens + 1] into seq_ids
    std::vector<int32_t> seq_ids;     ///< sequences (prompts) that own each token
    std::vector<int32_t> row_offsets; ///< [n_rows + 1] into row_tokens
    std::vector<int32_t> row_tokens;  ///< batch tokens whose states are averaged into each row
    std::vector<int32_t> output_rows; ///< [n_rows] where each row goes in the result

    size_t n_tokens() const { return tokens.size(); }
    size_t n_rows() const { return output_rows.size(); }
};

/// Checks everything that llama_decode would refuse or silently get wrong: ranges, consecutive positions from
/// 0, and that sequences which share a token share its whole history (attention is masked by a token's first
/// id only).
void validate(const PlanBatch & batch, int32_t n_vocab, int64_t n_rows_total);

} // namespace traitscope
