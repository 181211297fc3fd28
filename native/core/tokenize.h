#pragma once

#include <cstdint>
#include <llama.h>
#include <string>
#include <vector>

namespace traitscope {

/// Token ids of several texts, flat: text i has ids[offsets[i] .. offsets[i + 1]).
struct Tokens {
    std::vector<int32_t> ids;
    std::vector<int32_t> offsets;
};

Tokens tokenize(const llama_vocab * vocab, const std::vector<std::string> & texts, bool add_special,
                bool parse_special);

/// Text of one token as a template would write it; that of a special token only if `special`.
std::string token_text(const llama_vocab * vocab, llama_token token, bool special = true);

/// Text of generated tokens, special ones left out. Bytes: tokens may end within a character.
std::string detokenize(const llama_vocab * vocab, const std::vector<int32_t> & tokens);

} // namespace traitscope
