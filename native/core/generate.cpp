#include "core/generate.h"

#include "core/decode.h"
#include "core/error.h"
#include "core/log.h"
#include "core/tokenize.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace traitscope {

namespace {

/// Tokens that are worth a copy of a slot's memory, or a decode of their own.
constexpr size_t worth_sharing = 8;

/// New sequences wait until this part of the slots is free: their prompts take decodes of their own, each of
/// which reads all weights, while a slot that is not in use costs nothing.
constexpr size_t refill_part = 8;

size_t common_prefix(const std::vector<int32_t> & a, size_t n, const std::vector<int32_t> & b) {
    n = std::min(n, b.size());
    return static_cast<size_t>(
        std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin());
}

} // namespace

Generator::Generator(llama_model * model, const GenerateRequest & request, const AdapterStore & adapters,
                     const Job & job)
    : model_(model), request_(request), job_(job), answers_(request, llama_model_get_vocab(model)),
      hook_(request, llama_model_n_embd(model)) {
    validate();
    slots_.resize(static_cast<size_t>(request.n_slots));
    make_context();
    adapters.apply(context_.get(), request.adapters);
}

void Generator::validate() const {
    const int32_t n_layer = llama_model_n_layer(model_);
    const auto check_layers = [n_layer](const std::vector<int32_t> & layers) {
        const bool ascend = std::adjacent_find(layers.begin(), layers.end(),
                                               [](int32_t a, int32_t b) { return a >= b; }) == layers.end();
        if (!ascend || (!layers.empty() && (layers.front() < 0 || layers.back() >= n_layer))) {
            fail_internal("generate: layers must be ascending, unique and below " + std::to_string(n_layer));
        }
    };
    check_layers(request_.layers);
    const auto n_embd = static_cast<size_t>(llama_model_n_embd(model_));
    for (const Control & control : request_.controls) {
        check_layers(control.layers);
        if (control.vectors.size() != control.layers.size() * n_embd) {
            fail_internal("generate: a control needs a vector of n_embd values per layer");
        }
    }
    const auto max_slots = static_cast<int32_t>(llama_max_parallel_sequences());
    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model_));
    if (request_.sequences.empty() || request_.n_slots < 1 || request_.n_slots > max_slots ||
        request_.micro_batch < request_.n_slots || request_.n_cells < 1) {
        fail_internal("generate: the memory plan cannot be");
    }
    for (const GenerateSequence & sequence : request_.sequences) {
        const size_t n = sequence.tokens.size();
        const bool counts_fit =
            sequence.n_prompt >= 1 && sequence.n_prompt <= n && sequence.max_new >= 0 &&
            (sequence.n_prompt < n || sequence.max_new > 0) &&
            n + static_cast<size_t>(sequence.max_new) <= static_cast<size_t>(request_.n_cells) + 1;
        const bool in_vocabulary = std::all_of(sequence.tokens.begin(), sequence.tokens.end(),
                                               [&](int32_t token) { return token >= 0 && token < n_vocab; });
        if (!counts_fit || !in_vocabulary || sequence.control < -1 ||
            sequence.control >= static_cast<int32_t>(request_.controls.size())) {
            fail_internal("generate: a sequence does not fit the plan");
        }
    }
}

void Generator::make_context() {
    const auto n_slots = static_cast<uint32_t>(request_.n_slots);
    const bool scores =
        std::any_of(request_.sequences.begin(), request_.sequences.end(),
                    [](const GenerateSequence & each) { return each.n_prompt < each.tokens.size(); });
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(request_.n_cells) * n_slots;
    params.n_batch = static_cast<uint32_t>(request_.micro_batch);
    params.n_ubatch = params.n_batch;
    params.n_seq_max = n_slots;
    params.n_outputs_max = scores ? params.n_batch : n_slots;
    params.n_threads = request_.n_threads;
    params.n_threads_batch = request_.n_threads;
    params.kv_unified = false; // a stream of cells per slot
    params.swa_full = true;    // a slot's memory is cut and continued where prefixes part
    // As everywhere: F16 keys and values round (docs/method.md section 2).
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.op_offload = false;
    if (!request_.controls.empty() || !request_.layers.empty()) {
        params.cb_eval = BlockHook::on_eval;
        params.cb_eval_user_data = &hook_;
    }
    params.abort_callback = [](void * job) { return static_cast<const Job *>(job)->cancelled(); };
    params.abort_callback_data = const_cast<Job *>(&job_);
    const LogCapture log;
    context_.reset(llama_init_from_model(model_, params));
    if (!context_) {
        throw Error(
            ErrorCode::OutOfMemory,
            "memory for " + std::to_string(n_slots) + " sequences of " + std::to_string(request_.n_cells) +
                " tokens could not be had; generate fewer sequences at once or fewer tokens (llama.cpp: " +
                log.text("no reason given") + ")");
    }
}

GenerateResult Generator::run() {
    try {
        while (true) {
            const size_t n_active = fill();
            if (n_active == 0) {
                break;
            }
            decode(0, n_active, 1);
            answers_.report();
        }
    } catch (const Error & error) {
        if (error.code() != ErrorCode::Aborted) {
            throw;
        }
        for (Slot & slot : slots_) {
            if (slot.sequence != idle) {
                finish(slot, Finish::Aborted);
            }
        }
        answers_.report();
    }
    result_.outcomes = answers_.take();
    return std::move(result_);
}

/// Brings the slots in use to the front and gives the free ones sequences, once they are enough, until there
/// are no more. A sequence that ends with its first token leaves its slot free again. How many slots are in
/// use.
size_t Generator::fill() {
    while (true) {
        const size_t n_active = compact();
        const size_t n_waiting = request_.sequences.size() - next_;
        const size_t n = std::min(slots_.size() - n_active, n_waiting);
        if (n == 0 || (n_active > 0 && n < n_waiting && n * refill_part < slots_.size())) {
            return n_active;
        }
        const auto [order, round] = order_of(n);
        for (size_t i = 0, first = 0; i < n; ++i) {
            start(n_active + i, next_ + order[i]);
            if (i + 1 == n || round[order[i + 1]] != round[order[i]]) {
                prefill(n_active + first, n_active + i + 1);
                first = i + 1;
            }
        }
        next_ += n;
        answers_.report();
    }
}

/// In which order the next `n` sequences get slots, and in which round each: one that shares a good part with
/// an earlier one of them waits until that one is computed.
Generator::Order Generator::order_of(size_t n) const {
    Order order{std::vector<size_t>(n), std::vector<size_t>(n, 0)};
    std::vector<size_t> left(n); // tokens to compute
    for (size_t i = 0; i < n; ++i) {
        const GenerateSequence & sequence = request_.sequences[next_ + i];
        size_t there = 0; // in some slot already
        for (const Slot & slot : slots_) {
            there = std::max(there, shared(slot, next_ + i));
        }
        left[i] = sequence.tokens.size() - there;
        for (size_t j = 0; j < i; ++j) {
            const GenerateSequence & other = request_.sequences[next_ + j];
            const size_t common = other.control == sequence.control
                                      ? common_prefix(other.tokens, other.tokens.size(), sequence.tokens)
                                      : 0;
            if (common >= there + worth_sharing && sequence.tokens.size() - common < left[i]) {
                left[i] = sequence.tokens.size() - common;
                order.round[i] = order.round[j] + 1;
            }
        }
    }
    // The longest first: then slots with tokens left stay consecutive.
    std::iota(order.order.begin(), order.order.end(), 0);
    std::stable_sort(order.order.begin(), order.order.end(), [&](size_t a, size_t b) {
        return order.round[a] != order.round[b] ? order.round[a] < order.round[b] : left[a] > left[b];
    });
    return order;
}

/// Tokens that the sequence may take over from a slot's memory: never all of them, the last one is to be
/// read.
size_t Generator::shared(const Slot & slot, size_t sequence) const {
    const GenerateSequence & wanted = request_.sequences[sequence];
    if (slot.control != wanted.control) {
        return 0;
    }
    return std::min(common_prefix(slot.tokens, slot.n_cached, wanted.tokens), wanted.n_prompt - 1);
}

/// Puts a sequence into a slot, with what can be taken over of its tokens.
void Generator::start(size_t index, size_t sequence) {
    size_t own = shared(slots_[index], sequence);
    size_t source = index;
    size_t most = own;
    for (size_t i = 0; i < slots_.size(); ++i) {
        const size_t n = shared(slots_[i], sequence);
        if (n > most) {
            most = n;
            source = i;
        }
    }
    const auto id = static_cast<llama_seq_id>(index);
    if (most >= own + worth_sharing) {
        // llama.cpp copies streams whole, at the next decode.
        llama_memory_seq_cp(memory(), static_cast<llama_seq_id>(source), id, -1, -1);
        own = most;
    }
    llama_memory_seq_rm(memory(), id, static_cast<llama_pos>(own), -1);
    Slot & slot = slots_[index];
    slot.sequence = sequence;
    slot.control = request_.sequences[sequence].control;
    slot.tokens = request_.sequences[sequence].tokens;
    slot.n_cached = own;
    slot.n_pooled = 0;
    slot.sum.assign(request_.layers.size() * static_cast<size_t>(llama_model_n_embd(model_)), 0.0);
    result_.copied_tokens += static_cast<int64_t>(own);
}

/// Tokens to compute before generation goes step by step: of a sequence that is only scored, all but the
/// last.
size_t Generator::prefill_end(const Slot & slot) const {
    const GenerateSequence & sequence = request_.sequences[slot.sequence];
    return sequence.tokens.size() - (sequence.max_new == 0 ? 1 : 0);
}

/// Computes the prompts in the slots from `first` to `end`.
void Generator::prefill(size_t first, size_t end) {
    const auto left = [this](size_t index) -> size_t {
        const Slot & slot = slots_[index];
        const size_t n = slot.sequence == idle ? 0 : prefill_end(slot);
        return n - std::min(n, slot.n_cached);
    };
    while (first < end) {
        size_t n_tokens = left(first);
        if (n_tokens == 0) {
            ++first;
            continue;
        }
        size_t n_slots = 1;
        for (; first + n_slots < end && left(first + n_slots) > 0; ++n_slots) {
            n_tokens = std::min(n_tokens, left(first + n_slots));
        }
        decode(first, n_slots, std::min(n_tokens, static_cast<size_t>(request_.micro_batch) / n_slots));
        answers_.report(); // of what is only scored nothing else is heard before all of it is computed
    }
}

/// Moves the sequences of the last slots into free ones before them. How many slots are in use.
size_t Generator::compact() {
    size_t n = slots_.size();
    for (size_t hole = 0; hole < n; ++hole) {
        if (slots_[hole].sequence != idle) {
            continue;
        }
        while (n > hole && slots_[n - 1].sequence == idle) {
            --n;
        }
        if (n <= hole) {
            break;
        }
        const auto from = static_cast<llama_seq_id>(n - 1);
        llama_memory_seq_cp(memory(), from, static_cast<llama_seq_id>(hole), -1, -1);
        slots_[hole] = std::exchange(slots_[n - 1], Slot{});
        llama_memory_seq_rm(memory(), from, -1, -1);
    }
    return n;
}

/// Computes the next `n_tokens` tokens of consecutive slots, one micro-batch, and reads their logits.
void Generator::decode(size_t first, size_t n_slots, size_t n_tokens) {
    job_.throw_if_cancelled();
    const size_t n = n_slots * n_tokens;
    std::vector<int32_t> tokens;
    std::vector<int32_t> positions;
    std::vector<int32_t> ids;
    std::vector<int8_t> outputs;
    std::vector<BlockHook::Row> rows;
    for (size_t s = first; s < first + n_slots; ++s) {
        Slot & slot = slots_[s];
        for (size_t k = 0; k < n_tokens; ++k) {
            const size_t position = slot.n_cached + k;
            const bool generated = position >= request_.sequences[slot.sequence].tokens.size();
            const bool reads = answers_.reads(slot.sequence, position);
            tokens.push_back(slot.tokens[position]);
            positions.push_back(static_cast<int32_t>(position));
            ids.push_back(static_cast<int32_t>(s));
            outputs.push_back(reads ? 1 : 0);
            rows.push_back(
                {slot.control, generated && !request_.layers.empty() ? &slot.sum : nullptr, reads});
        }
    }
    std::vector<int32_t> n_ids(n, 1);
    std::vector<int32_t *> id_pointers(n);
    for (size_t i = 0; i < n; ++i) {
        id_pointers[i] = &ids[i];
    }
    llama_batch batch = {};
    batch.n_tokens = static_cast<int32_t>(n);
    batch.token = tokens.data();
    batch.pos = positions.data();
    batch.n_seq_id = n_ids.data();
    batch.seq_id = id_pointers.data();
    batch.logits = outputs.data();
    hook_.begin(rows);

    decode_batch(context_.get(), batch, result_.decode_seconds);
    hook_.end();
    result_.computed_tokens += static_cast<int64_t>(n);
    ++result_.n_decodes;
    for (size_t i = 0; i < n; ++i) {
        Slot & slot = slots_[static_cast<size_t>(ids[i])];
        ++slot.n_cached;
        slot.n_pooled += rows[i].sum != nullptr ? 1 : 0;
        if (outputs[i] == 0) {
            continue;
        }
        const float * logits = llama_get_logits_ith(context_.get(), static_cast<int32_t>(i));
        if (logits == nullptr) {
            fail_internal("llama.cpp gave no logits for a token");
        }
        const auto reason = answers_.read(slot.sequence, static_cast<size_t>(positions[i]), logits);
        if (slot.n_cached == slot.tokens.size()) {
            slot.tokens.push_back(answers_.last(slot.sequence));
        }
        if (reason) {
            finish(slot, *reason);
        }
    }
}

void Generator::finish(Slot & slot, Finish reason) {
    answers_.finish(slot.sequence, reason, slot.sum, slot.n_pooled);
    slot.sequence = idle; // its tokens stay in memory: the next sequence may begin like it
}

} // namespace traitscope
