#pragma once
// LoRA adapters of one model, held by id. llama.cpp keeps raw pointers to them in contexts and in the model,
// so they live and die here, between the context that uses them and the model that owns their memory.

#include <cstddef>
#include <cstdint>
#include <llama-cpp.h>
#include <map>
#include <utility>
#include <vector>

namespace traitscope {

class AdapterStore {
  public:
    explicit AdapterStore(llama_model * model) : model_(model) {}

    /// Loads an in-memory GGUF LoRA; the bytes are not needed afterwards. Throws AdapterInvalid.
    int32_t add(const void * gguf, size_t size);

    /// The caller must have taken it out of every context.
    void remove(int32_t id);

    /// Makes adapters, by id and strength, those of a context. Throws Internal for an unknown id, or
    /// AdapterInvalid.
    void apply(llama_context * context, const std::vector<std::pair<int32_t, float>> & adapters) const;

    size_t size() const { return adapters_.size(); }

  private:
    llama_model * model_;
    std::map<int32_t, llama_adapter_lora_ptr> adapters_;
    int32_t next_id_ = 1; // ids are never reused: a stale id must not name a newer adapter
};

} // namespace traitscope
