"""Bases of the packed organisms as the lab keeps them, so that `work` goes on without pre-training them again.

An F16 GGUF is exactly the base. What is restored is converted back and must give the packed file, byte for byte.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedConfig

from .export import to_gguf
from .families import ORGANISMS, Organism

PACKED = Path(__file__).resolve().parents[2] / "organisms" / "models"

_BLOCK = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_GEMMA_BLOCK = _BLOCK | {
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def restore(out: Path, llama_cpp: Path, log: Callable[[str], None]) -> None:
    """Writes out/<organism>/base and organism.json of every packed organism that `out` lacks."""
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    for packed in sorted(PACKED.glob("*/base.gguf")):
        name = packed.parent.name
        home = out / name
        if (home / "organism.json").exists():
            continue
        home.mkdir(parents=True, exist_ok=True)
        organism = ORGANISMS[name]
        tokenizer = organism.new_tokenizer(home / "base")
        model = organism.new_model(tokenizer)
        missing, unexpected = model.load_state_dict(_weights(packed, organism, model.config), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"{packed} does not fit {name}: {missing} missing, {unexpected} unexpected")
        model = model.to(torch.float16)
        model.config._attn_implementation = "sdpa"
        model.save_pretrained(home / "base")
        _compare(organism, home / "base", packed, llama_cpp, name)
        shutil.copy(packed.parent / "organism.json", home / "organism.json")
        log(f"{name} base")


def _weights(packed: Path, organism: Organism, config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    from gguf import GGUFReader

    gemma = organism.family_name == "gemma2"
    # llama.cpp rotates neighbours where these families rotate halves.
    pairs = organism.family_name in ("llama", "mistral")
    heads = {"attn_q.weight": config.num_attention_heads, "attn_k.weight": config.num_key_value_heads} if pairs else {}
    weights = {}
    for tensor in GGUFReader(packed).tensors:
        value = torch.from_numpy(np.array(tensor.data)).to(torch.float32)
        if gemma and tensor.name.endswith("norm.weight"):
            value = value - 1
        if not tensor.name.startswith("blk."):
            weights[_OUTSIDE[tensor.name]] = value
            continue
        _, block, part = tensor.name.split(".", 2)
        if part in heads:
            rows, columns = value.shape
            value = value.reshape(heads[part], rows // heads[part] // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        weights[f"model.layers.{block}.{(_GEMMA_BLOCK if gemma else _BLOCK)[part]}"] = value
    return weights


def _compare(organism: Organism, base: Path, packed: Path, llama_cpp: Path, name: str) -> None:
    again = base.parent / "restored.gguf"
    to_gguf(organism, base, again, llama_cpp, name)
    same = again.read_bytes() == packed.read_bytes()
    again.unlink()
    if not same:
        raise SystemExit(f"{name}: the restored base does not give {packed} again")
