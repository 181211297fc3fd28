#include "core/model.h"

#include "core/engine.h"
#include "core/error.h"
#include "core/generate.h"
#include "core/log.h"

#include <utility>

namespace traitscope {

namespace {

SpecialToken special(const llama_vocab * vocab, llama_token id) {
    return id == LLAMA_TOKEN_NULL ? SpecialToken{} : SpecialToken{id, token_text(vocab, id)};
}

ModelInfo describe(const llama_model * model) {
    const llama_vocab * vocab = llama_model_get_vocab(model);
    ModelInfo info;
    info.n_layer = llama_model_n_layer(model);
    info.n_embd = llama_model_n_embd(model);
    info.n_vocab = llama_vocab_n_tokens(vocab);
    info.n_ctx_train = llama_model_n_ctx_train(model);
    info.has_vocab = llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE;
    if (info.has_vocab) {
        info.add_bos = llama_vocab_get_add_bos(vocab);
        info.add_eos = llama_vocab_get_add_eos(vocab);
        info.bos = special(vocab, llama_vocab_bos(vocab));
        info.eos = special(vocab, llama_vocab_eos(vocab));
    }
    return info;
}

} // namespace

std::shared_ptr<Model> Model::open(const ModelParams & params, const Job & job) {
    init_engine();
    job.throw_if_cancelled();
    const bool whole = params.source.header.empty();
    const bool on_cpu = params.placement.device.empty();
    PlacementParams placed(params.placement);
    llama_model_params & native = placed.params;
    native.load_mode = whole && on_cpu && params.use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
    native.vocab_only = params.vocab_only;
    native.progress_callback = [](float fraction, void * data) {
        const Job & running = *static_cast<const Job *>(data);
        running.report(static_cast<double>(fraction));
        return !running.cancelled();
    };
    native.progress_callback_user_data = const_cast<Job *>(&job);
    if (!on_cpu && !params.f16_sums) {
        forbid_f16_sums();
    }
    const LogCapture log;
    const std::string & path = params.source.path;
    llama_model_ptr model;
    if (whole) {
        model.reset(llama_model_load_from_file(path.c_str(), native));
    } else {
        const FilePtr file = open_model_file(path, params.source.header, params.source.parts);
        model.reset(llama_model_load_from_file_ptr(file.get(), native));
    }
    job.throw_if_cancelled();
    if (!model) {
        const std::string reason = log.text("no reason given");
        // Only the log tells a failed allocation from other failures.
        const bool no_memory = reason.find("failed to allocate") != std::string::npos;
        throw Error(no_memory ? ErrorCode::OutOfMemory : ErrorCode::ModelLoad,
                    "llama.cpp could not load " + path + ": " + reason);
    }
    if (llama_model_has_encoder(model.get()) || llama_model_is_recurrent(model.get()) ||
        llama_model_is_hybrid(model.get())) {
        throw Error(ErrorCode::ModelLoad,
                    path + " is not a decoder-only transformer, which is the only kind whose "
                           "block outputs can be read");
    }
    const llama_vocab * vocab = llama_model_get_vocab(model.get());
    if (llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE) {
        // The tokenizer asserts that the tokens it adds exist.
        const bool no_bos = llama_vocab_get_add_bos(vocab) && llama_vocab_bos(vocab) == LLAMA_TOKEN_NULL;
        const bool no_eos = llama_vocab_get_add_eos(vocab) && llama_vocab_eos(vocab) == LLAMA_TOKEN_NULL;
        if (no_bos || no_eos) {
            throw Error(ErrorCode::ModelLoad, path + " asks for " + (no_bos ? "BOS" : "EOS") +
                                                  " tokens, but its vocabulary has none");
        }
    }
    return std::shared_ptr<Model>(new Model(std::move(model), params));
}

Model::Model(llama_model_ptr model, const ModelParams & params)
    : info_(describe(model.get())), model_(std::move(model)), adapters_(model_.get()),
      extractor_(model_.get(), params.max_tokens, params.n_threads,
                 !params.placement.device.empty() && params.placement.on_device > 0,
                 params.placement.repack) {}

Model::~Model() {
    extractor_.clear_adapters();
}

Tokens Model::tokenize(const std::vector<std::string> & texts, bool add_special, bool parse_special) const {
    if (!info_.has_vocab) {
        throw Error(ErrorCode::ModelLoad, "this GGUF carries no vocabulary, so text cannot be tokenized");
    }
    return traitscope::tokenize(llama_model_get_vocab(model_.get()), texts, add_special, parse_special);
}

std::vector<std::string> Model::detokenize(const std::vector<std::vector<int32_t>> & lists) const {
    std::vector<std::string> texts;
    for (const auto & tokens : lists) {
        for (const int32_t token : tokens) {
            if (token < 0 || token >= info_.n_vocab) {
                fail_internal("detokenize: a token lies outside the vocabulary");
            }
        }
        texts.push_back(traitscope::detokenize(llama_model_get_vocab(model_.get()), tokens));
    }
    return texts;
}

int32_t Model::attach(const void * gguf, size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return adapters_.add(gguf, size);
}

void Model::detach(int32_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Out of the context first: a later adapter at the same address would otherwise be taken for this one.
    extractor_.clear_adapters();
    adapters_.remove(id);
}

ExtractStats Model::extract(const ExtractRequest & request, float * out, const Job & job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return extractor_.run(request, adapters_, out, job);
}

GenerateResult Model::generate(const GenerateRequest & request, const Job & job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return Generator(model_.get(), request, adapters_, job).run();
}

std::vector<DeviceMemory> Model::memory() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return count_memory(extractor_.context());
}

} // namespace traitscope
