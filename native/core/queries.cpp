#include "core/queries.h"

#include <cstring>
#include <ggml-backend.h>

namespace traitscope {

bool Queries::are(const ggml_tensor * tensor, size_t n_tokens) {
    const ggml_tensor * from = tensor->view_src;
    // Cached keys and values are permuted too: nothing computed those.
    return tensor->op == GGML_OP_PERMUTE && tensor->type == GGML_TYPE_F32 && from != nullptr &&
           from->op != GGML_OP_NONE && tensor->view_offs == 0 && ggml_is_contiguous(from) &&
           ggml_nelements(tensor) == ggml_nelements(from) && tensor->ne[3] == 1 && tensor->ne[2] > 1 &&
           n_tokens > 1 && tensor->ne[1] == static_cast<int64_t>(n_tokens) && from->buffer != nullptr &&
           ggml_backend_buffer_is_host(from->buffer);
}

void Queries::lay_out(ggml_tensor * view) {
    const auto size = static_cast<size_t>(view->ne[0]);
    const auto tokens = static_cast<size_t>(view->ne[1]);
    const auto heads = static_cast<size_t>(view->ne[2]);
    auto * to = static_cast<float *>(view->view_src->data);
    by_token_.assign(to, to + size * tokens * heads);
    for (size_t head = 0; head < heads; ++head) {
        for (size_t token = 0; token < tokens; ++token) {
            std::memcpy(to + (head * tokens + token) * size, &by_token_[(token * heads + head) * size],
                        size * sizeof(float));
        }
    }
    view->nb[1] = size * sizeof(float);
    view->nb[2] = tokens * view->nb[1];
    view->nb[3] = heads * view->nb[2];
}

} // namespace traitscope
