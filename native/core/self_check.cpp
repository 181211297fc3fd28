#include "core/self_check.h"

#include "core/error.h"
#include "core/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ggml-cpp.h>
#include <gguf.h>
#include <utility>

namespace traitscope {

namespace {

constexpr int64_t n_embd = 256; // one block of the k-quants
constexpr int64_t n_head = 4;
constexpr int64_t n_head_kv = 2;
constexpr int64_t n_kv = n_embd / n_head * n_head_kv;
constexpr int64_t n_ff = 512;
constexpr int32_t n_blocks = 4;
constexpr int32_t layer = 2; // not the last block, which is never split
constexpr int64_t n_vocab = 64;
constexpr int64_t rank = 4;
constexpr int32_t n_prefix = 48;
constexpr int32_t n_tail = 6;
constexpr int32_t n_prompts = 5;

/// Repeats itself on every machine, as std::normal_distribution need not.
class Random {
  public:
    float normal() {
        double sum = -6;
        for (int i = 0; i < 12; ++i) {
            sum += uniform();
        }
        return static_cast<float>(sum);
    }
    double uniform() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return static_cast<double>(state_ >> 33) / static_cast<double>(1U << 31);
    }

  private:
    uint64_t state_ = 20;
};

/// A GGUF in the making: tensors of random numbers, in one type or as F32.
class Builder {
  public:
    Builder() : file_(gguf_init_empty()), tensors_(ggml_init({1 << 20, nullptr, true})) {}

    gguf_context * file() const { return file_.get(); }

    void add(const std::string & name, ggml_type type, int64_t n_in, int64_t n_rows, float mean,
             float scale) {
        std::vector<float> values(static_cast<size_t>(n_in * n_rows));
        for (float & value : values) {
            value = mean + scale * random_.normal();
        }
        ggml_tensor * tensor = n_rows == 1 ? ggml_new_tensor_1d(tensors_.get(), type, n_in)
                                           : ggml_new_tensor_2d(tensors_.get(), type, n_in, n_rows);
        ggml_set_name(tensor, name.c_str());
        gguf_add_tensor(file_.get(), tensor);
        std::vector<uint8_t> bytes(ggml_nbytes(tensor));
        if (type == GGML_TYPE_F32) {
            std::memcpy(bytes.data(), values.data(), bytes.size());
        } else {
            ggml_quantize_chunk(type, values.data(), bytes.data(), 0, n_rows, n_in, nullptr);
        }
        data_.insert(data_.end(), bytes.begin(), bytes.end());
        data_.resize((data_.size() + GGUF_DEFAULT_ALIGNMENT - 1) / GGUF_DEFAULT_ALIGNMENT *
                     GGUF_DEFAULT_ALIGNMENT);
    }

    std::vector<uint8_t> bytes() const {
        std::vector<uint8_t> all(gguf_get_meta_size(file_.get()));
        gguf_get_meta_data(file_.get(), all.data());
        all.insert(all.end(), data_.begin(), data_.end());
        return all;
    }

  private:
    gguf_context_ptr file_;
    ggml_context_ptr tensors_;
    Random random_;
    std::vector<uint8_t> data_;
};

std::vector<uint8_t> model_gguf(ggml_type type) {
    Builder builder;
    gguf_context * file = builder.file();
    gguf_set_val_str(file, "general.architecture", "llama");
    gguf_set_val_str(file, "tokenizer.ggml.model", "none");
    const auto integer = [&](const char * key, int64_t value) {
        gguf_set_val_u32(file, (std::string("llama.") + key).c_str(), static_cast<uint32_t>(value));
    };
    integer("vocab_size", n_vocab);
    integer("context_length", 512);
    integer("embedding_length", n_embd);
    integer("block_count", n_blocks);
    integer("feed_forward_length", n_ff);
    integer("attention.head_count", n_head);
    integer("attention.head_count_kv", n_head_kv);
    gguf_set_val_f32(file, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    const auto matrix = [&](const std::string & name, int64_t n_in, int64_t n_out) {
        builder.add(name, type, n_in, n_out, 0, 1 / std::sqrt(static_cast<float>(n_in)));
    };
    builder.add("token_embd.weight", GGML_TYPE_F32, n_embd, n_vocab, 0, 1);
    builder.add("output_norm.weight", GGML_TYPE_F32, n_embd, 1, 1, 0.1F);
    for (int i = 0; i < n_blocks; ++i) {
        const std::string block = "blk." + std::to_string(i) + ".";
        builder.add(block + "attn_norm.weight", GGML_TYPE_F32, n_embd, 1, 1, 0.1F);
        matrix(block + "attn_q.weight", n_embd, n_embd);
        matrix(block + "attn_k.weight", n_embd, n_kv);
        matrix(block + "attn_v.weight", n_embd, n_kv);
        matrix(block + "attn_output.weight", n_embd, n_embd);
        builder.add(block + "ffn_norm.weight", GGML_TYPE_F32, n_embd, 1, 1, 0.1F);
        matrix(block + "ffn_gate.weight", n_embd, n_ff);
        matrix(block + "ffn_up.weight", n_embd, n_ff);
        matrix(block + "ffn_down.weight", n_ff, n_embd);
    }
    return builder.bytes();
}

/// As TypeScript writes them: alpha 0, all F32.
std::vector<uint8_t> adapter_gguf() {
    Builder builder;
    gguf_context * file = builder.file();
    gguf_set_val_str(file, "general.type", "adapter");
    gguf_set_val_str(file, "general.architecture", "llama");
    gguf_set_val_str(file, "adapter.type", "lora");
    gguf_set_val_f32(file, "adapter.lora.alpha", 0.0F);
    for (int i = 0; i < n_blocks; ++i) {
        for (const auto & [name, n_out] : {std::pair{"attn_q", n_embd}, std::pair{"attn_v", n_kv}}) {
            const std::string tensor = "blk." + std::to_string(i) + "." + name + ".weight.lora_";
            builder.add(tensor + "a", GGML_TYPE_F32, n_embd, rank, 0, 1 / std::sqrt(float{n_embd}));
            builder.add(tensor + "b", GGML_TYPE_F32, rank, n_out, 0, 0.3F);
        }
    }
    return builder.bytes();
}

/// Prompts of different ends behind one beginning.
PlanBatch prompts() {
    PlanBatch batch;
    batch.seq_offsets = {0};
    batch.row_offsets = {0};
    const auto add = [&](int32_t position, int32_t first, int32_t end) {
        batch.tokens.push_back((7 * position + 13 * first + 3) % static_cast<int32_t>(n_vocab));
        batch.positions.push_back(position);
        for (int32_t id = first; id < end; ++id) {
            batch.seq_ids.push_back(id);
        }
        batch.seq_offsets.push_back(static_cast<int32_t>(batch.seq_ids.size()));
    };
    for (int32_t i = 0; i < n_prefix; ++i) {
        add(i, 0, n_prompts);
    }
    for (int32_t prompt = 0; prompt < n_prompts; ++prompt) {
        for (int32_t i = 0; i < n_tail; ++i) {
            add(n_prefix + i, prompt, prompt + 1);
        }
        batch.row_tokens.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
        batch.row_offsets.push_back(static_cast<int32_t>(batch.row_tokens.size()));
        batch.output_rows.push_back(prompt);
    }
    return batch;
}

std::vector<float> states(Model & model, int32_t adapter, bool split) {
    ExtractRequest request;
    request.batches = {prompts()};
    request.n_rows = n_prompts;
    request.layers = {layer};
    request.adapters = {{adapter, 1.0F}};
    request.split_from = split ? 1 : std::numeric_limits<int64_t>::max();
    std::vector<float> rows(static_cast<size_t>(n_prompts * n_embd));
    model.extract(request, rows.data(), {});
    return rows;
}

/// NaN where either has one, which no bound admits.
double worst_row(const std::vector<float> & rows, const std::vector<float> & expected) {
    double worst = 0;
    for (size_t row = 0; row < n_prompts; ++row) {
        double difference = 0;
        double norm = 0;
        for (size_t i = row * n_embd; i < (row + 1) * n_embd; ++i) {
            const double a = static_cast<double>(rows[i]);
            const double b = static_cast<double>(expected[i]);
            difference += (a - b) * (a - b);
            norm += b * b;
        }
        const double distance = std::sqrt(difference / norm);
        worst = std::isnan(distance) ? distance : std::max(worst, distance);
    }
    return worst;
}

} // namespace

std::vector<SelfCheck> self_check(const std::string & device, int32_t n_threads) {
    const std::vector<uint8_t> adapter = adapter_gguf();
    std::vector<SelfCheck> checks;
    for (const ggml_type type :
         {GGML_TYPE_F32, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K}) {
        const std::vector<uint8_t> bytes = model_gguf(type);
        const auto open = [&](const std::string & where) {
            ModelParams params;
            params.source = {"the self-check's model", bytes, {}};
            params.placement.device = where;
            params.placement.n_blocks = n_blocks;
            params.placement.on_device = where.empty() ? 0 : layer + 1;
            params.placement.runs_to = layer + 1;
            params.placement.runs_head = false;
            params.placement.repack = false;
            params.n_threads = n_threads;
            params.max_tokens = 256;
            params.f16_sums = type == GGML_TYPE_F32 || type == GGML_TYPE_BF16;
            return Model::open(params, {});
        };
        const auto reference = open("");
        const auto expected = states(*reference, reference->attach(adapter.data(), adapter.size()), false);
        const auto model = open(device);
        const int32_t id = model->attach(adapter.data(), adapter.size());
        const auto unsplit = states(*model, id, false);
        checks.push_back({ggml_type_name(type), worst_row(unsplit, expected),
                          worst_row(states(*model, id, true), expected)});
        for (char & c : checks.back().type) {
            c = static_cast<char>(std::toupper(c));
        }
    }
    return checks;
}

} // namespace traitscope
