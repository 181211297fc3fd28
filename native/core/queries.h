#pragma once
// ggml's fast product of matrices takes its right side only where that lies in memory as it is read. Queries
// do not: they lie token by token and are read head by head, so their product with the keys, a hundredth of
// the arithmetic, takes 6 % of a 1B model's time and most of a tiny one's. Here they are laid out head by
// head before it.

#include <cstdint>
#include <ggml.h>
#include <vector>

namespace traitscope {

class Queries {
  public:
    /// Whether this node is a view, head by head, of what was just computed for `n_tokens` tokens, in host
    /// memory.
    static bool are(const ggml_tensor * tensor, size_t n_tokens);

    /// Moves what the view shows, once it is computed, to where the view of contiguous memory has it, and
    /// makes it that view. Nothing else reads the queries. A graph that llama.cpp uses again keeps the view;
    /// its next queries are token by token once more.
    void lay_out(ggml_tensor * view);

  private:
    std::vector<float> by_token_;
};

} // namespace traitscope
