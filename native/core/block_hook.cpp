#include "core/block_hook.h"

#include "core/error.h"
#include "core/tensor_name.h"

#include <algorithm>
#include <ggml-backend.h>
#include <utility>

namespace traitscope {

void BlockHook::begin(std::vector<Row> rows) {
    rows_ = std::move(rows);
    outputs_.clear();
    wanted_.clear();
    bool reads = false;
    for (size_t i = 0; i < rows_.size(); ++i) {
        if (rows_[i].is_output) {
            outputs_.push_back(i);
        }
        reads = reads || rows_[i].sum != nullptr;
        if (rows_[i].control >= 0) {
            const auto & layers = request_.controls[static_cast<size_t>(rows_[i].control)].layers;
            wanted_.insert(wanted_.end(), layers.begin(), layers.end());
        }
    }
    if (reads) {
        wanted_.insert(wanted_.end(), request_.layers.begin(), request_.layers.end());
    }
    std::sort(wanted_.begin(), wanted_.end());
    wanted_.erase(std::unique(wanted_.begin(), wanted_.end()), wanted_.end());
    n_seen_ = 0;
}

void BlockHook::end() const {
    if (!error_.empty()) {
        fail_internal(error_);
    }
    if (n_seen_ != wanted_.size()) {
        fail_internal("the graph of this architecture named no l_out tensor for a wanted layer");
    }
}

bool BlockHook::on_eval(ggml_tensor * tensor, bool ask, void * hook) {
    auto & self = *static_cast<BlockHook *>(hook);
    // Asked before a node is computed whether it is wanted, then called with the values of those that are.
    const int32_t block = block_of(tensor->name, block_output);
    if (block < 0 || !std::binary_search(self.wanted_.begin(), self.wanted_.end(), block)) {
        return false;
    }
    if (!ask) {
        self.visit(tensor, block);
    }
    return true;
}

void BlockHook::visit(ggml_tensor * tensor, int32_t block) {
    ++n_seen_;
    // The last block keeps the rows of outputs alone.
    const bool pruned = tensor->ne[1] != static_cast<int64_t>(rows_.size());
    const size_t n_rows = pruned ? outputs_.size() : rows_.size();
    if (tensor->type != GGML_TYPE_F32 || tensor->ne[0] != static_cast<int64_t>(n_embd_) ||
        tensor->ne[1] != static_cast<int64_t>(n_rows) || tensor->nb[0] != sizeof(float)) {
        error_ = "block " + std::to_string(block) + " gave " + std::to_string(tensor->ne[1]) + " rows of " +
                 std::to_string(tensor->ne[0]) + ", expected " + std::to_string(n_rows) + " of " +
                 std::to_string(n_embd_);
        return;
    }
    const bool is_host =
        ggml_backend_buffer_is_host(tensor->view_src != nullptr ? tensor->view_src->buffer : tensor->buffer);
    staging_.resize(n_embd_);
    const auto index = [block](const std::vector<int32_t> & layers) {
        const auto found = std::lower_bound(layers.begin(), layers.end(), block);
        return found != layers.end() && *found == block ? found - layers.begin() : -1;
    };
    const auto pooled = index(request_.layers);
    for (size_t i = 0; i < n_rows; ++i) {
        const Row & row = rows_[pruned ? outputs_[i] : i];
        const auto * control =
            row.control < 0 ? nullptr : &request_.controls[static_cast<size_t>(row.control)];
        const auto added = control == nullptr ? -1 : index(control->layers);
        const bool reads = row.sum != nullptr && pooled >= 0;
        if (added < 0 && !reads) {
            continue;
        }
        const size_t offset = i * tensor->nb[1];
        float * state = staging_.data();
        if (is_host) {
            state = reinterpret_cast<float *>(static_cast<char *>(tensor->data) + offset);
        } else {
            ggml_backend_tensor_get(tensor, state, offset, n_embd_ * sizeof(float));
        }
        if (added >= 0) {
            const float * vector = control->vectors.data() + static_cast<size_t>(added) * n_embd_;
            for (size_t k = 0; k < n_embd_; ++k) {
                state[k] += vector[k];
            }
            if (!is_host) {
                ggml_backend_tensor_set(tensor, state, offset, n_embd_ * sizeof(float));
            }
        }
        if (reads) {
            double * sum = row.sum->data() + static_cast<size_t>(pooled) * n_embd_;
            for (size_t k = 0; k < n_embd_; ++k) {
                sum[k] += static_cast<double>(state[k]);
            }
        }
    }
}

} // namespace traitscope
