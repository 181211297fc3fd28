#include "core/placement.h"

#include "core/error.h"

#include <array>

namespace traitscope {

namespace {

/// Ordinary memory and nothing else. For llama.cpp "CPU" means the best layout there, repacked copies among
/// them.
ggml_backend_buffer_type_t plain_memory() {
    alignas(64) static std::array<char, 64> any;
    static const ggml_backend_buffer_type_t type = [] {
        ggml_backend_buffer_t buffer = ggml_backend_cpu_buffer_from_ptr(any.data(), any.size());
        ggml_backend_buffer_type_t found = ggml_backend_buffer_get_type(buffer);
        ggml_backend_buffer_free(buffer);
        return found;
    }();
    return type;
}

/// Matches the tensors of the blocks from `first` to `end`.
std::string blocks(int32_t first, int32_t end) {
    std::string numbers;
    for (int32_t i = first; i < end; ++i) {
        numbers += (numbers.empty() ? "" : "|") + std::to_string(i);
    }
    return "^blk\\.(" + numbers + ")\\.";
}

} // namespace

void PlacementParams::override(const std::string & pattern, ggml_backend_buffer_type_t type) {
    patterns_.push_back(pattern);
    overrides_.push_back({nullptr, type});
}

PlacementParams::PlacementParams(const Placement & placement) : params(llama_model_default_params()) {
    params.use_extra_bufts = placement.repack;
    params.no_host = true; // a device's pinned memory is taken whether it is read or not
    params.n_gpu_layers = 0;
    const int32_t n_slots = placement.n_blocks + 1; // the head takes the last
    if (!placement.device.empty() && placement.on_device > 0) {
        ggml_backend_dev_t device = ggml_backend_dev_by_name(placement.device.c_str());
        if (device == nullptr) {
            fail_internal("there is no device " + placement.device);
        }
        devices_.push_back(device);
        params.n_gpu_layers = n_slots;
        if (placement.on_device < n_slots) {
            // Given a number, llama.cpp moves the LAST blocks, which never run here. As one device of several
            // the CPU takes the blocks behind the first, with their keys and values.
            devices_.push_back(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
            split_.assign(llama_max_devices(), 0.0F);
            split_[0] = static_cast<float>(placement.on_device);
            split_[1] = static_cast<float>(n_slots - placement.on_device);
        }
    }
    if (!placement.runs_head) {
        // A tied embedding is looked up, never multiplied with: no second copy of it, repacked or on the
        // device.
        override("^(token_embd|output)\\.", plain_memory());
    }
    if (placement.runs_to < placement.n_blocks) {
        override(blocks(placement.runs_to, placement.n_blocks), plain_memory());
    }
    if (!split_.empty()) { // the layouts that a CPU computes with, which a device of several does not get
        override("^output\\.", ggml_backend_cpu_buffer_type());
        if (placement.on_device < placement.n_blocks) {
            override(blocks(placement.on_device, placement.n_blocks), ggml_backend_cpu_buffer_type());
        }
    }
    devices_.push_back(nullptr);
    params.devices = devices_.data();
    params.tensor_split = split_.empty() ? nullptr : split_.data();
    if (!overrides_.empty()) {
        for (size_t i = 0; i < overrides_.size(); ++i) {
            overrides_[i].pattern = patterns_[i].c_str();
        }
        overrides_.push_back({nullptr, nullptr});
        params.tensor_buft_overrides = overrides_.data();
    }
}

} // namespace traitscope
