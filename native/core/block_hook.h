#pragma once
// What a generation adds to block outputs and reads of them, inside llama.cpp's evaluation callback. Lives
// for one generation; used on the decoding thread only.

#include "core/generation.h"

#include <cstddef>
#include <cstdint>
#include <ggml.h>
#include <string>
#include <vector>

namespace traitscope {

class BlockHook {
  public:
    BlockHook(const GenerateRequest & request, int64_t n_embd)
        : request_(request), n_embd_(static_cast<size_t>(n_embd)) {}

    /// One token of the next decode.
    struct Row {
        int32_t control;           ///< -1: none
        std::vector<double> * sum; ///< [layers, n_embd] that its states are added to; null: they are not read
        bool is_output;
    };

    /// Before a decode: its tokens, in order.
    void begin(std::vector<Row> rows);

    /// After it. Throws Internal when the graph was not as expected.
    void end() const;

    static bool on_eval(ggml_tensor * tensor, bool ask, void * hook);

  private:
    void visit(ggml_tensor * tensor, int32_t block);

    const GenerateRequest & request_;
    size_t n_embd_;
    std::vector<Row> rows_;
    std::vector<size_t> outputs_; ///< of rows_: what the last block keeps
    std::vector<float> staging_;  ///< a row of a tensor outside host memory
    size_t n_seen_ = 0;
    std::vector<int32_t> wanted_; ///< blocks of this decode
    std::string error_;
};

} // namespace traitscope
