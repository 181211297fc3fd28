"""What a GGUF calls the matrices of a block, and how it orders their rows."""

import torch

# GGUF name -> name in a Hugging Face model, of the architectures that Llama's layout fits.
BLOCK_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def unpermuted(weight: torch.Tensor, n_head: int) -> torch.Tensor:
    """Rows [n_out, n_in] of each head from pairs side by side back to halves."""
    rows, cols = weight.shape
    return weight.reshape(n_head, rows // n_head // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
