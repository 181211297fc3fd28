#include "core/extract.h"

#include "core/capture.h"
#include "core/decode.h"
#include "core/error.h"
#include "core/log.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <string>

namespace traitscope {

namespace {

/// Splits the tokens from `begin` to `end` of a batch into context tokens, which no row reads nor descends
/// from a token among them that a row reads, and the rest. Both keep the batch's order, so the rest continues
/// the sequences where the context leaves them.
std::pair<std::vector<size_t>, std::vector<size_t>> split(const PlanBatch & batch, size_t begin, size_t end) {
    std::vector<bool> read(batch.n_tokens(), false);
    for (const int32_t token : batch.row_tokens) {
        read[static_cast<size_t>(token)] = true;
    }
    std::array<bool, max_sequences> reached{}; // sequences that have come to a token that is read
    std::pair<std::vector<size_t>, std::vector<size_t>> parts;
    for (size_t i = begin; i < end; ++i) {
        const auto first = static_cast<size_t>(batch.seq_offsets[i]);
        const auto last = static_cast<size_t>(batch.seq_offsets[i + 1]);
        if (!read[i] && !reached[static_cast<size_t>(batch.seq_ids[first])]) {
            parts.first.push_back(i);
            continue;
        }
        for (size_t k = first; k < last; ++k) {
            reached[static_cast<size_t>(batch.seq_ids[k])] = true;
        }
        parts.second.push_back(i);
    }
    return parts;
}

/// One more than the last token of each sequence id; 0 where the batch has no such sequence.
std::vector<size_t> sequence_ends(const PlanBatch & batch) {
    std::vector<size_t> ends(max_sequences, 0);
    for (size_t i = 0; i < batch.n_tokens(); ++i) {
        for (auto k = batch.seq_offsets[i]; k < batch.seq_offsets[i + 1]; ++k) {
            ends[static_cast<size_t>(batch.seq_ids[static_cast<size_t>(k)])] = i + 1;
        }
    }
    return ends;
}

/// Tokens before `end` that a sequence still needs.
size_t cells_in_use(const PlanBatch & batch, const std::vector<size_t> & ends, size_t end) {
    size_t n = 0;
    for (size_t i = 0; i < end; ++i) {
        const auto * ids = batch.seq_ids.data();
        n += std::any_of(ids + batch.seq_offsets[i], ids + batch.seq_offsets[i + 1],
                         [&](int32_t id) { return ends[static_cast<size_t>(id)] > end; });
    }
    return n;
}

/// How many of `n` tokens left the next group takes. Groups fill the cells in use up to a multiple of
/// `group_cells` that leaves them at least half of it, and the last ones are equally large.
size_t group_size(size_t n, size_t n_cells, size_t group_cells, size_t max_cells) {
    const size_t free = group_cells - n_cells % group_cells;
    const size_t largest = std::min(2 * free < group_cells ? free + group_cells : free, max_cells - n_cells);
    const size_t n_groups = (n + largest - 1) / largest;
    return (n + n_groups - 1) / n_groups;
}

/// Whether every row is the state of one token: then a row lies within one group, wherever groups end.
bool reads_single_tokens(const PlanBatch & batch) {
    return batch.row_tokens.size() == batch.n_rows();
}

} // namespace

llama_context_params extraction_params(int32_t max_tokens, int32_t n_outputs, int32_t n_threads) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(max_tokens);
    params.n_batch = params.n_ctx;
    params.n_ubatch = params.n_ctx;
    params.n_seq_max = 1; // with a unified cache ids up to 255 are legal, and the output buffer stays small
    params.n_outputs_max = static_cast<uint32_t>(n_outputs);
    params.n_threads = n_threads;
    params.n_threads_batch = n_threads;
    params.kv_unified = true;
    params.swa_full = true;
    // F32 cache and no flash attention: both would round keys and values to F16 (method section 3.2).
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.op_offload = false;
    return params;
}

Extractor::Extractor(llama_model * model, int32_t max_tokens, int32_t n_threads, bool on_device, bool repack)
    : model_(model), max_tokens_(max_tokens), n_threads_(n_threads), on_device_(on_device),
      moves_queries_(repack && !on_device), capture_(std::make_unique<Capture>()) {}

Extractor::~Extractor() = default;

bool Extractor::on_eval(ggml_tensor * tensor, bool ask, void * capture) {
    return static_cast<Capture *>(capture)->on_eval(tensor, ask);
}

void Extractor::ensure_context(int32_t n_outputs) {
    if (context_ && n_outputs <= n_outputs_ && context_tokens_ == made_tokens_) {
        return;
    }
    context_.reset();
    llama_context_params params = extraction_params(context_tokens_, n_outputs, n_threads_);
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
                    "a context for " + std::to_string(context_tokens_) +
                        " tokens could not be created; use a smaller batch (llama.cpp: " +
                        log.text("no reason given") + ")");
    }
    n_outputs_ = n_outputs;
    made_tokens_ = context_tokens_;
}

const llama_context * Extractor::context() {
    context_tokens_ = context_tokens_ > 0 ? context_tokens_ : max_tokens_;
    ensure_context(1);
    return context_.get();
}

void Extractor::clear_adapters() {
    if (context_) {
        llama_set_adapters_lora(context_.get(), nullptr, 0, nullptr);
    }
}

void Extractor::clear_memory(bool wipe) {
    llama_memory_clear(llama_get_memory(context_.get()), wipe);
}

void Extractor::decode(const PlanBatch & batch, const std::vector<size_t> & part, bool wants_logits) {
    const size_t n = part.size();
    std::vector<int32_t> tokens(n);
    std::vector<int32_t> positions(n);
    std::vector<int32_t> seq_ids = batch.seq_ids;
    std::vector<int32_t> n_seq_id(n);
    std::vector<int32_t *> seq_id(n);
    std::vector<int8_t> outputs(n, 0);
    for (size_t i = 0; i < n; ++i) {
        const size_t token = part[i];
        tokens[i] = batch.tokens[token];
        positions[i] = batch.positions[token];
        n_seq_id[i] = batch.seq_offsets[token + 1] - batch.seq_offsets[token];
        seq_id[i] = seq_ids.data() + batch.seq_offsets[token];
        outputs[i] = wants_logits && capture_->output_rank[token] >= 0 ? 1 : 0;
    }
    llama_batch view = {};
    view.n_tokens = static_cast<int32_t>(n);
    view.token = tokens.data();
    view.pos = positions.data();
    view.n_seq_id = n_seq_id.data();
    view.seq_id = seq_id.data();
    view.logits = outputs.data();

    decode_batch(context_.get(), view, capture_->stats.decode_seconds, &capture_->aborted);
    capture_->stats.computed_tokens += static_cast<int64_t>(n);
}

/// After the decode that rows are read from.
void Extractor::check_rows() const {
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

/// Computes the tokens from `begin` to `end` of a batch, which continue what is in memory.
void Extractor::run_group(const PlanBatch & batch, size_t begin, size_t end) {
    const ExtractRequest & request = *capture_->request;
    // llama.cpp itself leaves out what no output needs of the model's last block.
    const bool ends_in_last_block = request.layers.back() == capture_->last_block;
    auto [context, rest] = split(batch, begin, end);
    if (request.stop_early && !ends_in_last_block &&
        static_cast<int64_t>(context.size()) >= request.split_from) {
        capture_->begin(batch, context, true);
        decode(batch, context, false);
        if (!capture_->stopped) {
            fail_internal("the graph of this architecture stored no values for a wanted layer");
        }
        capture_->stats.context_tokens += static_cast<int64_t>(context.size());
    } else {
        rest.resize(end - begin);
        std::iota(rest.begin(), rest.end(), begin);
    }
    if (!rest.empty()) {
        capture_->begin(batch, rest, false);
        decode(batch, rest, ends_in_last_block || !request.stop_early);
        check_rows();
    }
}

/// Computes one batch, group by group, and forgets it. A sequence leaves memory as soon as it is complete:
/// each group attends to every cell up to the last one in use, its own or not, so a small memory is a fast
/// one.
void Extractor::run_batch(const PlanBatch & batch, const Job & job) {
    const size_t n = batch.n_tokens();
    const auto max_cells = static_cast<size_t>(context_tokens_);
    const bool in_groups = reads_single_tokens(batch);
    const auto group_cells = std::min(static_cast<size_t>(capture_->request->group_cells), max_cells);
    const std::vector<size_t> ends = sequence_ends(batch);
    size_t n_cells = 0; // in use
    for (size_t begin = 0, end = 0; begin < n; begin = end) {
        job.throw_if_cancelled();
        if (n_cells >= max_cells) {
            fail_internal("plan: tokens are not in depth-first order");
        }
        end = in_groups ? begin + group_size(n - begin, n_cells, group_cells, max_cells) : n;
        run_group(batch, begin, end);
        job.report(static_cast<double>(capture_->stats.computed_tokens) / static_cast<double>(n_total_));
        for (size_t id = 0; id < ends.size(); ++id) {
            if (ends[id] > begin && ends[id] <= end) {
                llama_memory_seq_rm(llama_get_memory(context_.get()), static_cast<llama_seq_id>(id), -1, -1);
            }
        }
        n_cells = cells_in_use(batch, ends, end);
    }
    // An early stop leaves the cache of later blocks unwritten: forget it before anything else runs.
    clear_memory(false);
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
    const bool wants_logits = layers.back() == n_layer - 1 || !request.stop_early;
    context_tokens_ = request.max_tokens > 0 ? std::min(request.max_tokens, max_tokens_) : max_tokens_;
    int32_t n_outputs = 1;
    n_total_ = 0;
    for (const PlanBatch & batch : request.batches) {
        validate(batch, n_vocab, request.n_rows);
        const size_t longest =
            1 + static_cast<size_t>(*std::max_element(batch.positions.begin(), batch.positions.end()));
        const size_t needed = reads_single_tokens(batch) ? longest : batch.n_tokens();
        if (needed > static_cast<size_t>(context_tokens_)) {
            throw Error(ErrorCode::PromptTooLong, "memory for " + std::to_string(needed) +
                                                      " tokens at once exceeds the limit of " +
                                                      std::to_string(context_tokens_));
        }
        n_total_ += batch.n_tokens();
        if (wants_logits) {
            const size_t n = std::min(batch.n_tokens(), batch.row_tokens.size());
            n_outputs = std::max(n_outputs, std::min(static_cast<int32_t>(n), context_tokens_));
        }
    }
    const auto started = std::chrono::steady_clock::now();
    ensure_context(n_outputs);
    const double context_seconds = seconds_since(started);
    const int32_t n_threads = request.n_threads > 0 ? request.n_threads : n_threads_;
    llama_set_n_threads(context_.get(), n_threads, n_threads);
    adapters.apply(context_.get(), request.adapters);

    *capture_ = Capture{};
    capture_->request = &request;
    capture_->out = out;
    capture_->n_embd = llama_model_n_embd(model_);
    capture_->last_block = n_layer - 1;
    capture_->stats.context_seconds = context_seconds;
    capture_->job = &job;
    capture_->n_total = n_total_;
    capture_->pauses = on_device_;
    capture_->moves_queries = moves_queries_;
    job_ = &job;
    try {
        for (const PlanBatch & batch : request.batches) {
            run_batch(batch, job);
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
