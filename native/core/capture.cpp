#include "core/capture.h"

#include "core/tensor_name.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ggml-backend.h>

namespace traitscope {

namespace {

/// What of a block's cache this node stores: 1 for its keys, 2 for its values, 0 for anything else. llama.cpp
/// names the memory `cache_k_l<block>` and `cache_v_l<block>`, with a tag before the letter where a model has
/// several.
uint32_t stores(const ggml_tensor * tensor, int32_t block) {
    if (tensor->op != GGML_OP_SET_ROWS || tensor->view_src == nullptr) {
        return 0;
    }
    const auto names = [&](const char * part) {
        const char * found = std::strstr(tensor->view_src->name, part);
        return found != nullptr && block_of(found, part) == block;
    };
    return names("k_l") ? 1 : names("v_l") ? 2 : 0;
}

constexpr uint32_t keys_and_values = 1 | 2;

} // namespace

void Capture::begin(const PlanBatch & next, const std::vector<size_t> & tokens, bool context) {
    batch = &next;
    is_context = context;
    n_tokens = tokens.size();
    n_outputs = 0;
    n_layers_seen = 0;
    stored = 0;
    stopped = false;
    pause.begin(n_tokens);
    output_rank.assign(next.n_tokens(), -1);
    for (const int32_t token : next.row_tokens) {
        output_rank[static_cast<size_t>(token)] = 0;
    }
    index.assign(next.n_tokens(), absent);
    for (size_t i = 0; i < n_tokens; ++i) {
        index[tokens[i]] = i;
        if (output_rank[tokens[i]] >= 0) {
            output_rank[tokens[i]] = static_cast<int32_t>(n_outputs++);
        }
    }
    if (n_outputs == 0) { // a graph needs an output, also where no row reads any
        output_rank[tokens.back()] = static_cast<int32_t>(n_outputs++);
    }
}

bool Capture::on_eval(ggml_tensor * tensor, bool ask) {
    stats.nodes_offered += ask ? 1 : 0;
    if (stopped) {
        // Returning false leaves only the current split of the graph. On a GPU more follow: take their first
        // node and refuse it, which ends each of them at once.
        stats.nodes_after_stop += ask ? 1 : 0;
        return ask;
    }
    if (moves_queries && Queries::are(tensor, n_tokens)) {
        if (!ask) {
            queries.lay_out(tensor);
        }
        return true;
    }
    const int32_t highest = request->layers.back();
    if (is_context) {
        // Whichever of the two a backend computes last: some put the values first.
        const uint32_t part = stores(tensor, highest);
        stored |= ask ? part : 0;
        const bool complete = part != 0 && stored == keys_and_values;
        if (complete) {
            stopped = !ask;
            return ask;
        }
    }
    const int32_t block = block_of(tensor->name, block_output);
    if (block < 0) {
        return false;
    }
    if (is_context || !wants(block)) {
        return on_block(tensor, block, ask);
    }
    if (ask) {
        return true;
    }
    read(tensor, block);
    const bool done = !error.empty() || block == highest;
    stopped = done && request->stop_early;
    return !stopped && on_block(tensor, block, ask);
}

/// Between blocks of a decode on a device: whether to wait for it there, and then whether to go on.
bool Capture::on_block(const ggml_tensor * tensor, int32_t block, bool ask) {
    if (!pauses) {
        return !ask;
    }
    if (ask) {
        return pause.due(block);
    }
    if (tensor->buffer != nullptr) {
        // ggml has waited for the device, but not every backend's word for that means that it is done.
        float any = 0;
        ggml_backend_tensor_get(tensor, &any, 0, sizeof(any));
    }
    pause.passed(block);
    if (job->cancelled()) {
        aborted = stopped = true;
        return false;
    }
    const double share =
        std::min(1.0, static_cast<double>(block + 1) / static_cast<double>(request->layers.back() + 1));
    const double computed =
        static_cast<double>(stats.computed_tokens) + share * static_cast<double>(n_tokens);
    job->report(computed / static_cast<double>(n_total));
    return true;
}

bool Capture::wants(int32_t block) const {
    return std::binary_search(request->layers.begin(), request->layers.end(), block);
}

void Capture::read(const ggml_tensor * tensor, int32_t block) {
    const bool pruned = block == last_block && tensor->ne[1] != static_cast<int64_t>(n_tokens);
    const auto n_expected = static_cast<int64_t>(pruned ? n_outputs : n_tokens);
    if (tensor->type != GGML_TYPE_F32 || tensor->ne[0] != n_embd || tensor->ne[1] != n_expected ||
        tensor->nb[0] != sizeof(float)) {
        error = "block " + std::to_string(block) + " gave " + std::to_string(tensor->ne[1]) + " rows of " +
                std::to_string(tensor->ne[0]) + ", expected " + std::to_string(n_expected) + " of " +
                std::to_string(n_embd);
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
    const auto layer = static_cast<size_t>(
        std::lower_bound(request->layers.begin(), request->layers.end(), block) - request->layers.begin());
    const auto width = static_cast<size_t>(n_embd);
    for (size_t row = 0; row < batch->n_rows(); ++row) {
        const auto first = static_cast<size_t>(batch->row_offsets[row]);
        const auto end = static_cast<size_t>(batch->row_offsets[row + 1]);
        if (index[static_cast<size_t>(batch->row_tokens[first])] == absent) {
            continue;
        }
        float * to =
            out + (static_cast<size_t>(batch->output_rows[row]) * request->layers.size() + layer) * width;
        const auto source = [&](size_t k) {
            const auto token = static_cast<size_t>(batch->row_tokens[k]);
            const auto at = pruned ? static_cast<size_t>(output_rank[token]) : index[token];
            return reinterpret_cast<const float *>(data + at * stride);
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

} // namespace traitscope
