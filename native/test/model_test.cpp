// What a model says of itself, against the file's own metadata, and what it refuses.

#include "core/log.h"
#include "core/model.h"
#include "test/check.h"

#include <gguf.h>
#include <memory>
#include <string>

using namespace traitscope;

void test_model(const Model & model, const std::string & path);
void test_log();

namespace {

struct FreeGguf {
    void operator()(gguf_context * file) const { gguf_free(file); }
};
using Gguf = std::unique_ptr<gguf_context, FreeGguf>;

int32_t number(const gguf_context * file, const std::string & key) {
    const int64_t at = gguf_find_key(file, key.c_str());
    return at < 0 ? -1 : static_cast<int32_t>(gguf_get_val_u32(file, at));
}

bool flag(const gguf_context * file, const std::string & key) {
    const int64_t at = gguf_find_key(file, key.c_str());
    return at >= 0 && gguf_get_val_bool(file, at);
}

std::string token(const gguf_context * file, int32_t id) {
    return gguf_get_arr_str(file, gguf_find_key(file, "tokenizer.ggml.tokens"), static_cast<size_t>(id));
}

void test_info(const ModelInfo & info, const gguf_context * file) {
    const std::string architecture = gguf_get_val_str(file, gguf_find_key(file, "general.architecture"));
    check(info.n_layer == number(file, architecture + ".block_count"), "model: should know its blocks");
    check(info.n_embd == number(file, architecture + ".embedding_length"), "model: should know its width");
    check(info.n_ctx_train == number(file, architecture + ".context_length"),
          "model: should know its context");
    check(info.has_vocab && info.n_vocab == static_cast<int32_t>(gguf_get_arr_n(
                                                file, gguf_find_key(file, "tokenizer.ggml.tokens"))),
          "model: should know its vocabulary");
    check(info.add_bos == flag(file, "tokenizer.ggml.add_bos_token"),
          "model: should know whether it adds BOS");
    check(info.add_eos == flag(file, "tokenizer.ggml.add_eos_token"),
          "model: should know whether it adds EOS");
    const int32_t bos = number(file, "tokenizer.ggml.bos_token_id");
    const int32_t eos = number(file, "tokenizer.ggml.eos_token_id");
    check(bos != eos && info.bos.id == bos && info.bos.text == token(file, bos),
          "model: should know its BOS");
    check(info.eos.id == eos && info.eos.text == token(file, eos), "model: should know its EOS");
}

void test_detokenize(const Model & model) {
    const Tokens tokens = model.tokenize({"hello"}, false, true);
    const std::vector<int32_t> hello(tokens.ids.begin(), tokens.ids.end());
    const auto texts = model.detokenize({hello, {}, {0}, {model.info().n_vocab - 1}});
    check(texts.size() == 4 && texts[0] == "hello" && texts[1].empty(),
          "detokenize: should give the texts back");
    for (const int32_t outside : {-1, model.info().n_vocab}) {
        check_throws(ErrorCode::Internal, "detokenize: should refuse token " + std::to_string(outside),
                     [&] { model.detokenize({{outside}}); });
    }
}

} // namespace

void test_model(const Model & model, const std::string & path) {
    const gguf_init_params params{/*no_alloc=*/true, /*ctx=*/nullptr};
    const Gguf file(gguf_init_from_file(path.c_str(), params));
    test_info(model.info(), file.get());
    test_detokenize(model);
}

void test_log() {
    LogCapture outer;
    outer.append("one\n");
    outer.append("two\n\n");
    check(outer.text("none") == "one; two", "log: should keep all lines, on one line");
    const LogCapture empty;
    check(empty.text("none") == "none", "log: should say so when there is nothing");
    outer.append(std::string(1 << 20, 'x').c_str());
    outer.append("end\n");
    const std::string text = outer.text("none");
    check(text.size() < (1 << 20) && text.substr(text.size() - 4) == "xend", "log: should keep the end");
}
