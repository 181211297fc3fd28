#include "core/extract.h"

#include "core/error.h"
#include "core/log.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ggml-backend.h>
#include <string>

namespace traitscope {

namespace {

/// Block index of a tensor named `l_out-<index>`, or -1.
int32_t block_of(const char * name) {
    static constexpr char prefix[] = "l_out-";
    if (std::strncmp(name, prefix, sizeof(prefix) - 1) != 0) {
        return -1;
    }
    char * end = nullptr;
    const long block = std::strtol(name + sizeof(prefix) - 1, &end, 10);
    return *end == '\0' ? static_cast<int32_t>(block) : -1;
}

} // namespace

/// What the evaluation callback reads and where it puts it. Lives for one run(); used on the decoding thread
/// only.
struct Extractor::Capture {
    const ExtractRequest * request = nullptr;
    float * out = nullptr;
    int64_t n_embd = 0;
    int32_t last_block = 0;

    const PlanBatch * batch = nullptr;
    /// Rank of each batch token among the batch's outputs: the last block keeps only those, in batch order.
    std::vector<int32_t> output_rank;
    size_t n_layers_seen = 0;
    bool stopped = false;
    bool non_finite = false;
    std::string error;
    ExtractStats stats;

    std::vector<float> staging; // rows of a tensor that does not live in host memory
    std::vector<double> sum;

    bool wants(int32_t block) const {
        return std::binary_search(request->layers.begin(), request->layers.end(), block);
    }

    void begin(const PlanBatch & next) {
        batch = &next;
        n_layers_seen = 0;
        stopped = false;
        std::vector<bool> is_output(next.n_tokens(), false);
        for (const int32_t token : next.row_tokens) {
            is_output[static_cast<size_t>(token)] = true;
        }
        output_rank.assign(next.n_tokens(), -1);
        int32_t rank = 0;
        for (size_t i = 0; i < next.n_tokens(); ++i) {
            if (is_output[i]) {
                output_rank[i] = rank++;
            }
        }
    }

    void read(const ggml_tensor * tensor, int32_t block) {
        const bool pruned = block == last_block && tensor->ne[1] != static_cast<int64_t>(batch->n_tokens());
        const int64_t n_expected = pruned ? *std::max_element(output_rank.begin(), output_rank.end()) + 1
                                          : static_cast<int64_t>(batch->n_tokens());
        if (tensor->type != GGML_TYPE_F32 || tensor->ne[0] != n_embd || tensor->ne[1] != n_expected ||
            tensor->nb[0] != sizeof(float)) {
            error = "block " + std::to_string(block) + " gave " + std::to_string(tensor->ne[1]) +
                    " rows of " + std::to_string(tensor->ne[0]) + ", expected " + std::to_string(n_expected) +
                    " of " + std::to_string(n_embd);
            return;
        }
        const char * data = static_cast<const char *>(tensor->data);
        size_t stride = tensor->nb[1];
        if (!ggml_backend_buffer_is_host(tensor->view_src != nullptr ? tensor->view_src->buffer
                                                                     : tensor->buffer)) {
            staging.resize(ggml_nbytes(tensor) / sizeof(float));
            ggml_backend_tensor_get(tensor, staging.data(), 0, ggml_nbytes(tensor));
            data = reinterpret_cast<const char *>(staging.data());
        }
        const auto layer =
            static_cast<size_t>(std::lower_bound(request->layers.begin(), request->layers.end(), block) -
                                request->layers.begin());
        const auto width = static_cast<size_t>(n_embd);
        for (size_t row = 0; row < batch->n_rows(); ++row) {
            const auto first = static_cast<size_t>(batch->row_offsets[row]);
            const auto end = static_cast<size_t>(batch->row_offsets[row + 1]);
            float * to =
                out + (static_cast<size_t>(batch->output_rows[row]) * request->layers.size() + layer) * width;
            const auto source = [&](size_t k) {
                const auto token = static_cast<size_t>(batch->row_tokens[k]);
                const auto index = pruned ? static_cast<size_t>(output_rank[token]) : token;
                return reinterpret_cast<const float *>(data + index * stride);
            };
            if (end - first == 1) {
                std::memcpy(to, source(first), width * sizeof(float));
            } else {
                sum.assign(width, 0.0);
                for (size_t k = first; k < end; ++k) {
                    const float * from = source(k);
                    for (size_t i = 0; i < width; ++i) {
                        sum[i] += static_cast<double>(from[i]);
                    }
                }
                for (size_t i = 0; i < width; ++i) {
                    to[i] = static_cast<float>(sum[i] / static_cast<double>(end - first));
                }
            }
            non_finite = non_finite || !std::all_of(to, to + width, [](float x) { return std::isfinite(x); });
        }
        ++n_layers_seen;
    }
};

Extractor::Extractor(llama_model * model, int32_t max_tokens, int32_t n_threads)
    : model_(model), max_tokens_(max_tokens), n_threads_(n_threads), capture_(std::make_unique<Capture>()) {}

Extractor::~Extractor() = default;

bool Extractor::on_eval(ggml_tensor * tensor, bool ask, void * user_data) {
    Capture & capture = *static_cast<Capture *>(user_data);
    capture.stats.nodes_offered += ask ? 1 : 0;
    if (capture.stopped) {
        // Returning false leaves only the current split of the graph. On a GPU more follow: take their first
        // node and refuse it, which ends each of them at once.
        capture.stats.nodes_after_stop += ask ? 1 : 0;
        return ask;
    }
    const int32_t block = block_of(tensor->name);
    if (block < 0 || !capture.wants(block)) {
        return false;
    }
    if (ask) {
        return true;
    }
    capture.read(tensor, block);
    const bool done = !capture.error.empty() || block == capture.request->layers.back();
    capture.stopped = done && capture.request->stop_early;
    return !capture.stopped;
}

void Extractor::ensure_context(int32_t n_outputs) {
    if (context_ && n_outputs <= n_outputs_) {
        return;
    }
    context_.reset();
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(max_tokens_);
    params.n_batch = params.n_ctx;
    params.n_ubatch = params.n_ctx;
    params.n_seq_max = 1; // with a unified cache ids up to 255 are legal, and the output buffer stays small
    params.n_outputs_max = static_cast<uint32_t>(n_outputs);
    params.n_threads = n_threads_;
    params.n_threads_batch = n_threads_;
    params.kv_unified = true;
    params.swa_full = true;
    // F32 cache and no flash attention: both would round keys and values to F16 (design.md decision 8).
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.op_offload = false;
    params.cb_eval = on_eval;
    params.cb_eval_user_data = capture_.get();
    params.abort_callback = [](void * self) {
        const Job * job = static_cast<Extractor *>(self)->job_;
        return job != nullptr && job->cancelled();
    };
    params.abort_callback_data = this;
    const LogCapture log;
    context_.reset(llama_init_from_model(model_, params));
    if (!context_) {
        throw Error(ErrorCode::OutOfMemory,
                    "a context for " + std::to_string(max_tokens_) +
                        " tokens could not be created; use a smaller batch (llama.cpp: " +
                        log.text("no reason given") + ")");
    }
    n_outputs_ = n_outputs;
}

void Extractor::set_adapters(const ExtractRequest & request, const AdapterStore & adapters) {
    std::vector<llama_adapter_lora *> handles;
    std::vector<float> strengths;
    for (const auto & [id, strength] : request.adapters) {
        handles.push_back(adapters.get(id));
        strengths.push_back(strength);
    }
    if (llama_set_adapters_lora(context_.get(), handles.data(), handles.size(), strengths.data()) != 0) {
        throw Error(ErrorCode::AdapterInvalid, "llama.cpp could not apply the adapters");
    }
}

void Extractor::clear_adapters() {
    if (context_) {
        llama_set_adapters_lora(context_.get(), nullptr, 0, nullptr);
    }
}

void Extractor::clear_memory(bool wipe) {
    llama_memory_clear(llama_get_memory(context_.get()), wipe);
}

void Extractor::decode(const PlanBatch & batch, bool wants_last_block) {
    const size_t n = batch.n_tokens();
    std::vector<int32_t> tokens = batch.tokens;
    std::vector<int32_t> positions = batch.positions;
    std::vector<int32_t> seq_ids = batch.seq_ids;
    std::vector<int32_t> n_seq_id(n);
    std::vector<int32_t *> seq_id(n);
    std::vector<int8_t> outputs(n, 0);
    for (size_t i = 0; i < n; ++i) {
        n_seq_id[i] = batch.seq_offsets[i + 1] - batch.seq_offsets[i];
        seq_id[i] = seq_ids.data() + batch.seq_offsets[i];
        outputs[i] = wants_last_block && capture_->output_rank[i] >= 0 ? 1 : 0;
    }
    llama_batch view = {};
    view.n_tokens = static_cast<int32_t>(n);
    view.token = tokens.data();
    view.pos = positions.data();
    view.n_seq_id = n_seq_id.data();
    view.seq_id = seq_id.data();
    view.logits = outputs.data();

    const LogCapture log;
    const int32_t status = llama_decode(context_.get(), view);
    if (status == 2) {
        throw Error(ErrorCode::Aborted, "the operation was aborted");
    }
    if (status != 0) {
        throw Error(status == -2 ? ErrorCode::OutOfMemory : ErrorCode::Compute,
                    "llama.cpp could not decode a batch of " + std::to_string(n) + " tokens (status " +
                        std::to_string(status) + "): " + log.text("no reason given"));
    }
    if (!capture_->error.empty()) {
        fail_internal(capture_->error);
    }
    if (capture_->n_layers_seen != capture_->request->layers.size()) {
        fail_internal("the graph of this architecture named no l_out tensor for a wanted layer");
    }
    if (capture_->non_finite) {
        throw Error(ErrorCode::Compute,
                    "the hidden states are not finite: the model or an adapter holds NaN or infinite "
                    "weights, or its values overflow");
    }
}

ExtractStats Extractor::run(const ExtractRequest & request, const AdapterStore & adapters, float * out,
                            const Job & job) {
    const int32_t n_layer = llama_model_n_layer(model_);
    const auto & layers = request.layers;
    if (layers.empty() || layers.front() < 0 || layers.back() >= n_layer ||
        std::adjacent_find(layers.begin(), layers.end(), [](int32_t a, int32_t b) { return a >= b; }) !=
            layers.end()) {
        fail_internal("layers must be ascending, unique and below " + std::to_string(n_layer));
    }
    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    const bool wants_last_block = layers.back() == n_layer - 1;
    int32_t n_outputs = 1;
    size_t n_total = 0;
    for (const PlanBatch & batch : request.batches) {
        validate(batch, n_vocab, request.n_rows);
        if (batch.n_tokens() > static_cast<size_t>(max_tokens_)) {
            throw Error(ErrorCode::PromptTooLong, "a batch of " + std::to_string(batch.n_tokens()) +
                                                      " tokens exceeds the limit of " +
                                                      std::to_string(max_tokens_));
        }
        n_total += batch.n_tokens();
        if (wants_last_block) {
            n_outputs = std::max(n_outputs,
                                 static_cast<int32_t>(std::min(batch.n_tokens(), batch.row_tokens.size())));
        }
    }
    ensure_context(n_outputs);
    set_adapters(request, adapters);

    *capture_ = Capture{};
    capture_->request = &request;
    capture_->out = out;
    capture_->n_embd = llama_model_n_embd(model_);
    capture_->last_block = n_layer - 1;
    job_ = &job;
    try {
        for (const PlanBatch & batch : request.batches) {
            job.throw_if_cancelled();
            capture_->begin(batch);
            decode(batch, wants_last_block);
            // An early stop leaves the cache of later blocks unwritten: forget it before anything else runs.
            clear_memory(false);
            capture_->stats.computed_tokens += static_cast<int64_t>(batch.n_tokens());
            job.report(static_cast<double>(capture_->stats.computed_tokens) / static_cast<double>(n_total));
        }
    } catch (...) {
        // Masked cells are still multiplied by zero, and zero times NaN is NaN: wipe the values too.
        clear_memory(true);
        job_ = nullptr;
        throw;
    }
    job_ = nullptr;
    return capture_->stats;
}

} // namespace traitscope
