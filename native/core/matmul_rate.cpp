#include "core/matmul_rate.h"

#include "core/engine.h"
#include "core/error.h"

#include <algorithm>
#include <chrono>
#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <string>
#include <vector>

namespace traitscope {

namespace {

/// The default layout, and on a CPU those that repack weights for its instructions (as a model's load does).
std::vector<ggml_backend_buffer_type_t> layouts(ggml_backend_dev_t device) {
    std::vector<ggml_backend_buffer_type_t> found = {ggml_backend_dev_buffer_type(device)};
    const auto get_extra =
        reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
    if (get_extra != nullptr) {
        for (ggml_backend_buffer_type_t * extra = get_extra(device); extra && *extra; ++extra) {
            found.push_back(*extra);
        }
    }
    return found;
}

ggml_context_ptr new_context() {
    return ggml_context_ptr(ggml_init({16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true}));
}

ggml_backend_buffer_ptr allocate(ggml_context * context, ggml_backend_buffer_type_t layout) {
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors_from_buft(context, layout));
    if (!buffer) {
        throw Error(ErrorCode::OutOfMemory, "no memory for the matrices of a speed measurement");
    }
    return buffer;
}

/// Asked as llama.cpp asks: an empty buffer stands for where the weights would be.
bool supports(ggml_backend_dev_t device, ggml_tensor * product, ggml_backend_buffer_type_t layout) {
    const ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(layout, 0));
    product->src[0]->buffer = empty.get();
    const bool yes = empty && ggml_backend_dev_supports_op(device, product);
    product->src[0]->buffer = nullptr;
    return yes;
}

double best_rate(ggml_backend_t backend, ggml_cgraph * graph, double operations, double seconds) {
    using clock = std::chrono::steady_clock;
    const auto elapsed = [](clock::time_point since) {
        return std::chrono::duration<double>(clock::now() - since).count();
    };
    double best = 0;
    const auto started = clock::now();
    do {
        const auto before = clock::now();
        if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) {
            throw Error(ErrorCode::Compute, "ggml could not multiply matrices");
        }
        best = std::max(best, operations / elapsed(before));
    } while (elapsed(started) < seconds);
    return best;
}

} // namespace

double matmul_rate(const MatmulShape & shape, int32_t n_threads, double seconds, bool gpu) {
    init_engine();
    ggml_backend_dev_t device =
        ggml_backend_dev_by_type(gpu ? GGML_BACKEND_DEVICE_TYPE_GPU : GGML_BACKEND_DEVICE_TYPE_CPU);
    const ggml_backend_ptr backend(device == nullptr ? nullptr : ggml_backend_dev_init(device, nullptr));
    if (!backend) {
        fail_internal("there is no such device to measure");
    }
    const auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads"));
    if (set_threads != nullptr) {
        set_threads(backend.get(), n_threads);
    }
    const double operations = 2.0 * static_cast<double>(shape.n_in) * static_cast<double>(shape.n_out) *
                              static_cast<double>(shape.n_tokens);
    if (shape.type < 0 || shape.type >= GGML_TYPE_COUNT ||
        ggml_blck_size(static_cast<ggml_type>(shape.type)) == 0) {
        fail_internal("ggml has no type " + std::to_string(shape.type));
    }
    const auto type = static_cast<ggml_type>(shape.type);
    const auto candidates = layouts(device);
    double best = 0;
    for (ggml_backend_buffer_type_t layout : candidates) {
        const ggml_context_ptr weights_context = new_context();
        const ggml_context_ptr context = new_context();
        ggml_tensor * weights = ggml_new_tensor_2d(weights_context.get(), type, shape.n_in, shape.n_out);
        ggml_tensor * rows = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, shape.n_in, shape.n_tokens);
        ggml_tensor * product = ggml_mul_mat(context.get(), weights, rows);
        if (!supports(device, product, layout)) {
            continue;
        }
        ggml_cgraph * graph = ggml_new_graph(context.get());
        ggml_build_forward_expand(graph, product);
        const ggml_backend_buffer_ptr weights_buffer = allocate(weights_context.get(), layout);
        const ggml_backend_buffer_ptr buffer = allocate(context.get(), candidates.front());
        // All-zero bytes are a zero in every type; set, not cleared, so that a layout can repack them.
        const std::vector<char> zeros(ggml_nbytes(weights), 0);
        ggml_backend_tensor_set(weights, zeros.data(), 0, zeros.size());
        const std::vector<float> ones(static_cast<size_t>(ggml_nelements(rows)), 1.0F);
        ggml_backend_tensor_set(rows, ones.data(), 0, ggml_nbytes(rows));
        best = std::max(best, best_rate(backend.get(), graph, operations, seconds));
    }
    return best;
}

} // namespace traitscope
