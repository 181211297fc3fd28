#include "core/tokenize.h"

#include "core/error.h"

#include <limits>
#include <stdexcept>

namespace traitscope {

namespace {

/** llama_tokenize, whose lookups throw when a vocabulary lacks a token for a byte. */
int32_t tokenize_one(const llama_vocab * vocab, const std::string & text, std::vector<llama_token> & buffer,
                     bool add_special, bool parse_special) {
    try {
        return llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), buffer.data(),
                              static_cast<int32_t>(buffer.size()), add_special, parse_special);
    } catch (const std::out_of_range &) {
        throw Error(
            ErrorCode::ModelLoad,
            "the vocabulary of this GGUF has no token for some byte of the text; convert the model again");
    }
}

} // namespace

Tokens tokenize(const llama_vocab * vocab, const std::vector<std::string> & texts, bool add_special,
                bool parse_special) {
    Tokens out;
    out.offsets.push_back(0);
    std::vector<llama_token> buffer;
    for (const std::string & text : texts) {
        if (text.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()) / 2) {
            throw Error(ErrorCode::PromptTooLong,
                        "a text of " + std::to_string(text.size()) + " bytes is too long to tokenize");
        }
        buffer.resize(text.size() + 8);
        int32_t n = tokenize_one(vocab, text, buffer, add_special, parse_special);
        if (n < 0 && n != std::numeric_limits<int32_t>::min()) {
            buffer.resize(static_cast<size_t>(-n));
            n = tokenize_one(vocab, text, buffer, add_special, parse_special);
        }
        if (n < 0) {
            throw Error(ErrorCode::Compute,
                        "llama.cpp could not tokenize a text of " + std::to_string(text.size()) + " bytes");
        }
        out.ids.insert(out.ids.end(), buffer.begin(), buffer.begin() + n);
        out.offsets.push_back(static_cast<int32_t>(out.ids.size()));
    }
    return out;
}

std::string token_text(const llama_vocab * vocab, llama_token token, bool special) {
    std::string text(64, '\0');
    int32_t n =
        llama_token_to_piece(vocab, token, text.data(), static_cast<int32_t>(text.size()), 0, special);
    if (n < 0) {
        text.resize(static_cast<size_t>(-n));
        n = llama_token_to_piece(vocab, token, text.data(), -n, 0, special);
    }
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return text;
}

std::string detokenize(const llama_vocab * vocab, const std::vector<int32_t> & tokens) {
    const auto n_tokens = static_cast<int32_t>(tokens.size());
    std::string text(16 * tokens.size() + 16, '\0');
    const auto attempt = [&] {
        return llama_detokenize(vocab, tokens.data(), n_tokens, text.data(),
                                static_cast<int32_t>(text.size()), false, false);
    };
    int32_t n = attempt();
    if (n < 0) {
        text.resize(static_cast<size_t>(-n));
        n = attempt();
    }
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return text;
}

} // namespace traitscope
