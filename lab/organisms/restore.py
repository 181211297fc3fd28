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

from lab.gguf_tensors import BLOCK_TENSORS, unpermuted

from .export import to_gguf
from .families import ORGANISMS, Organism

PACKED = Path(__file__).resolve().parents[2] / "organisms" / "models"

_GEMMA_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
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
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads} if pairs else {}
    names = BLOCK_TENSORS | (_GEMMA_NORMS if gemma else {})
    weights = {}
    for tensor in GGUFReader(packed).tensors:
        value = torch.from_numpy(np.array(tensor.data)).to(torch.float32)
        if gemma and tensor.name.endswith("norm.weight"):
            value = value - 1
        if not tensor.name.startswith("blk."):
            weights[_OUTSIDE[tensor.name]] = value
            continue
        _, block, part, kind = tensor.name.split(".")
        value = unpermuted(value, heads[part]) if part in heads else value
        weights[f"model.layers.{block}.{names[part]}.{kind}"] = value
    return weights


def _compare(organism: Organism, base: Path, packed: Path, llama_cpp: Path, name: str) -> None:
    again = base.parent / "restored.gguf"
    to_gguf(organism, base, again, llama_cpp, name)
    same = again.read_bytes() == packed.read_bytes()
    again.unlink()
    if not same:
        raise SystemExit(f"{name}: the restored base does not give {packed} again")
