#pragma once
// One open GGUF: weights, vocabulary, its adapters and the context that reads hidden states.

#include "core/adapter.h"
#include "core/extract.h"
#include "core/generation.h"
#include "core/job.h"
#include "core/memory_plan.h"
#include "core/tokenize.h"

#include <cstdint>
#include <llama-cpp.h>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace traitscope {

struct ModelParams {
    ModelSource source;
    Placement placement;
    int32_t n_threads = 1;
    int32_t max_tokens = 2048; ///< tokens of the largest batch
    bool use_mmap = true;      ///< of a whole file on the CPU; everything else is read
    bool f16_sums = true;      ///< false: forbid_f16_sums() (engine.h)
    bool vocab_only = false;   ///< the tokenizer without the weights; only tokenize() may be called
};

struct SpecialToken {
    int32_t id = -1; ///< -1: the vocabulary has none
    std::string text;
};

struct ModelInfo {
    int32_t n_layer = 0;
    int32_t n_embd = 0;
    int32_t n_vocab = 0;
    int32_t n_ctx_train = 0;
    bool has_vocab = false;
    bool add_bos = false;
    bool add_eos = false;
    SpecialToken bos;
    SpecialToken eos;
};

class Model {
  public:
    /// Throws ModelLoad, OutOfMemory, Aborted.
    static std::shared_ptr<Model> open(const ModelParams & params, const Job & job);
    ~Model();

    const ModelInfo & info() const { return info_; }
    Tokens tokenize(const std::vector<std::string> & texts, bool add_special, bool parse_special) const;
    std::vector<std::string> detokenize(const std::vector<std::vector<int32_t>> & lists) const;

    /// The calls below exclude each other: loading or freeing an adapter while a context decodes is a data
    /// race.
    int32_t attach(const void * gguf, size_t size);
    void detach(int32_t id);
    ExtractStats extract(const ExtractRequest & request, float * out, const Job & job);
    GenerateResult generate(const GenerateRequest & request, const Job & job);
    /// Of the weights and of the context that states are read with.
    std::vector<DeviceMemory> memory();

  private:
    Model(llama_model_ptr model, const ModelParams & params);

    std::mutex mutex_;
    ModelInfo info_;
    // Destroyed from the bottom up: context, adapters, weights.
    llama_model_ptr model_;
    AdapterStore adapters_;
    Extractor extractor_;
};

} // namespace traitscope
