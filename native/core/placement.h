#pragma once
// Which part of a model is opened, and where it goes: what TypeScript planned, as llama.cpp takes it.

#include "core/model_file.h"

#include <ggml-backend.h>
#include <llama.h>
#include <string>
#include <vector>

namespace traitscope {

struct Placement {
    std::string device; ///< ggml's name; empty: the CPU alone
    int32_t n_blocks = 0;
    /// The first so many blocks go to the device; one more than there are means the output head too.
    int32_t on_device = 0;
    /// The first block that never runs; as many as there are when all do. Then neither does the output head.
    int32_t runs_to = 0;
    bool runs_head = true;
    bool repack = true; ///< copy quantised weights into layouts that suit the CPU's instructions
};

/// The header and parts of what is opened (model_file.h), or the whole file where the header is empty.
struct ModelSource {
    std::string path;
    std::vector<uint8_t> header;
    std::vector<FilePart> parts;
};

/// Owns what llama_model_params only points to: keep it until the model is loaded.
class PlacementParams {
  public:
    /// Throws Internal for a device that is not there.
    explicit PlacementParams(const Placement & placement);

    llama_model_params params;

  private:
    void override(const std::string & pattern, ggml_backend_buffer_type_t type);

    std::vector<ggml_backend_dev_t> devices_;
    std::vector<float> split_;
    std::vector<std::string> patterns_;
    std::vector<llama_model_tensor_buft_override> overrides_;
};

} // namespace traitscope
