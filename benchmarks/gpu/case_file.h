#pragma once
// What `prepare.mjs` made, as the suite reads it: a GGUF that holds numbers alone, so that nobody needs a
// parser of another format.

#include "core/model_file.h"
#include "core/plan.h"

#include <cstdint>
#include <ggml-cpp.h>
#include <gguf.h>
#include <string>
#include <vector>

namespace traitscope::gpu {

class CaseFile {
  public:
    /// Throws Internal where it cannot be read.
    explicit CaseFile(const std::string & path);

    bool has(const std::string & key) const;
    /// The readers below throw Internal where the key is not there or holds something else.
    std::string text(const std::string & key) const;
    int64_t number(const std::string & key) const;
    std::vector<uint8_t> bytes(const std::string & key) const;
    std::vector<int32_t> integers(const std::string & key) const;
    std::vector<int64_t> long_integers(const std::string & key) const;
    std::vector<float> floats(const std::string & key) const;

    PlanBatch batch() const;
    /// Triples of begin, size and source (model_file.h).
    std::vector<FilePart> parts(const std::string & key) const;

  private:
    int64_t find(const std::string & key, gguf_type type) const;
    template <typename T> std::vector<T> list(const std::string & key, gguf_type type) const;

    std::string path_;
    gguf_context_ptr file_;
};

} // namespace traitscope::gpu
