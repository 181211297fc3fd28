#include "core/plan.h"

#include "core/error.h"

#include <array>
#include <string>

namespace traitscope {

namespace {

void check_offsets(const std::vector<int32_t> & offsets, size_t n, size_t n_values, const char * name) {
    bool ok =
        offsets.size() == n + 1 && offsets.front() == 0 && static_cast<size_t>(offsets.back()) == n_values;
    for (size_t i = 0; ok && i < n; ++i) {
        ok = offsets[i] < offsets[i + 1]; // every token has a sequence, every row a token
    }
    if (!ok) {
        fail_internal(std::string("plan: ") + name + " do not rise from 0 to the number of values");
    }
}

} // namespace

void validate(const PlanBatch & batch, int32_t n_vocab, int64_t n_rows_total) {
    const size_t n = batch.n_tokens();
    if (n == 0 || batch.positions.size() != n) {
        fail_internal("plan: a batch needs as many positions as tokens, and at least one");
    }
    check_offsets(batch.seq_offsets, n, batch.seq_ids.size(), "sequence offsets");
    check_offsets(batch.row_offsets, batch.n_rows(), batch.row_tokens.size(), "row offsets");

    std::array<int32_t, max_sequences> last_token; // last token of each sequence so far, -1 before the first
    last_token.fill(-1);
    for (size_t i = 0; i < n; ++i) {
        if (batch.tokens[i] < 0 || batch.tokens[i] >= n_vocab) {
            throw Error(ErrorCode::Internal, "plan: token id " + std::to_string(batch.tokens[i]) +
                                                 " lies outside the vocabulary of " +
                                                 std::to_string(n_vocab));
        }
        const auto first = static_cast<size_t>(batch.seq_offsets[i]);
        const auto end = static_cast<size_t>(batch.seq_offsets[i + 1]);
        for (size_t k = first; k < end; ++k) {
            if (batch.seq_ids[k] < 0 || batch.seq_ids[k] >= max_sequences) {
                fail_internal("plan: a sequence id lies outside [0, 256)");
            }
        }
        const int32_t parent = last_token[static_cast<size_t>(batch.seq_ids[first])];
        const int32_t position = parent < 0 ? 0 : batch.positions[static_cast<size_t>(parent)] + 1;
        if (batch.positions[i] != position) {
            fail_internal("plan: positions of a sequence are not consecutive from 0");
        }
        for (size_t k = first; k < end; ++k) {
            int32_t & last = last_token[static_cast<size_t>(batch.seq_ids[k])];
            if (last != parent) {
                fail_internal("plan: sequences that share a token do not share its history");
            }
            last = static_cast<int32_t>(i);
        }
    }
    for (const int32_t token : batch.row_tokens) {
        if (token < 0 || static_cast<size_t>(token) >= n) {
            fail_internal("plan: a row wants a token outside its batch");
        }
    }
    for (const int32_t row : batch.output_rows) {
        if (row < 0 || row >= n_rows_total) {
            fail_internal("plan: a row lies outside the result");
        }
    }
}

} // namespace traitscope
