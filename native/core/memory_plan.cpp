#include "core/memory_plan.h"

#include "core/engine.h"
#include "core/error.h"
#include "core/extract.h"
#include "core/log.h"

#include <algorithm>
#include <llama-cpp.h>
// Not a public header of llama.cpp, and this is the only place that uses one: it has no other way to ask its
// allocator. At an upgrade, see that llama_get_memory_breakdown still counts what it counted.
#include <llama-ext.h>

namespace traitscope {

std::vector<DeviceMemory> count_memory(const llama_context * context) {
    std::vector<DeviceMemory> devices;
    for (const auto & [type, bytes] : llama_get_memory_breakdown(context)) {
        ggml_backend_dev_t owner = ggml_backend_buft_get_device(type);
        if (owner == nullptr) { // some of the CPU's
            owner = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
        }
        const std::string name = ggml_backend_dev_name(owner);
        auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const DeviceMemory & each) { return each.device == name; });
        if (found == devices.end()) {
            found = devices.insert(devices.end(), {name});
        }
        found->weights += bytes.model;
        found->context += bytes.context;
        found->compute += bytes.compute;
    }
    return devices;
}

std::vector<DeviceMemory> plan_memory(const ModelSource & source, const Placement & placement,
                                      int32_t max_tokens) {
    init_engine();
    PlacementParams placed(placement);
    placed.params.no_alloc = true;
    placed.params.load_mode = LLAMA_LOAD_MODE_NONE;
    const LogCapture log;
    const FilePtr file = open_model_file(source.path, source.header, source.parts);
    const llama_model_ptr model(llama_model_load_from_file_ptr(file.get(), placed.params));
    if (!model) {
        throw Error(ErrorCode::ModelLoad,
                    "llama.cpp could not plan " + source.path + ": " + log.text("no reason given"));
    }
    const llama_context_ptr context(llama_init_from_model(model.get(), extraction_params(max_tokens, 1, 1)));
    if (!context) {
        throw Error(ErrorCode::OutOfMemory, "llama.cpp could not plan a context of " +
                                                std::to_string(max_tokens) +
                                                " tokens: " + log.text("no reason given"));
    }
    return count_memory(context.get());
}

} // namespace traitscope
