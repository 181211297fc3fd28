#include "core/adapter.h"

#include "core/error.h"
#include "core/log.h"
#include "core/model_file.h"

#include <string>

namespace traitscope {

namespace {

FilePtr memory_file(const void * data, size_t size) {
#if defined(_WIN32)
    FilePtr file(std::tmpfile()); // no fmemopen there; a temporary file gives llama.cpp a real handle
    if (file && std::fwrite(data, 1, size, file.get()) == size) {
        std::rewind(file.get());
        return file;
    }
    return nullptr;
#else
    // "r" never writes through the pointer; the signature predates const.
    return FilePtr(fmemopen(const_cast<void *>(data), size, "r"));
#endif
}

} // namespace

int32_t AdapterStore::add(const void * gguf, size_t size) {
    const FilePtr file = memory_file(gguf, size);
    if (!file) {
        throw Error(ErrorCode::OutOfMemory,
                    "the adapter of " + std::to_string(size) + " bytes could not be opened in memory");
    }
    const LogCapture log;
    llama_adapter_lora_ptr adapter(llama_adapter_lora_init_from_file_ptr(model_, file.get()));
    if (!adapter) {
        throw Error(ErrorCode::AdapterInvalid,
                    "llama.cpp refused the adapter: " + log.text("no reason given"));
    }
    const int32_t id = next_id_++;
    adapters_.emplace(id, std::move(adapter));
    return id;
}

void AdapterStore::remove(int32_t id) {
    adapters_.erase(id);
}

void AdapterStore::apply(llama_context * context,
                         const std::vector<std::pair<int32_t, float>> & adapters) const {
    std::vector<llama_adapter_lora *> handles;
    std::vector<float> strengths;
    for (const auto & [id, strength] : adapters) {
        const auto found = adapters_.find(id);
        if (found == adapters_.end()) {
            fail_internal("adapter " + std::to_string(id) + " is not attached");
        }
        handles.push_back(found->second.get());
        strengths.push_back(strength);
    }
    if (llama_set_adapters_lora(context, handles.data(), handles.size(), strengths.data()) != 0) {
        throw Error(ErrorCode::AdapterInvalid, "llama.cpp could not apply the adapters");
    }
}

} // namespace traitscope
