"""Reads a converted GGUF back and compares it with the configuration and the weights it was made from."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from .models import Oracle
from .vocabularies import Vocabulary


def verify_gguf(llama_cpp: Path, path: Path, oracle: Oracle, vocabulary: Vocabulary, model: PreTrainedModel) -> dict:
    """Raises SystemExit at the first difference. Returns all scalar metadata, for model.json."""
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    from gguf import GGUFReader

    reader = GGUFReader(path)
    metadata = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    config = model.config
    prefix = f"{oracle.architecture}."
    expected: dict[str, Any] = {
        "general.architecture": oracle.architecture,
        "general.name": oracle.general_name,
        f"{prefix}block_count": config.num_hidden_layers,
        f"{prefix}embedding_length": config.hidden_size,
        f"{prefix}feed_forward_length": config.intermediate_size,
        f"{prefix}attention.head_count": config.num_attention_heads,
        f"{prefix}attention.head_count_kv": config.num_key_value_heads,
        f"{prefix}context_length": config.max_position_embeddings,
        "tokenizer.ggml.add_bos_token": vocabulary.add_bos,
        "tokenizer.ggml.pre": vocabulary.pre or "default",
        "tokenizer.ggml.model": "gpt2" if vocabulary.pre else "llama",
        "tokenizer.chat_template": vocabulary.chat_template,
        **{prefix + key: value for key, value in oracle.expected.items()},
    }
    for key, value in expected.items():
        _same(oracle, key, metadata.get(key), value)
    for key, value in metadata.items():
        if isinstance(value, str) and key != "tokenizer.chat_template" and "/" in value:
            raise SystemExit(f"{oracle.name}: {key} holds a path: {value}")

    tensors = {tensor.name: tensor for tensor in reader.tensors}
    for name, values in oracle.extra_tensors.items():
        if name not in tensors:
            raise SystemExit(f"{oracle.name}: the file has no {name}")
        if values is not None and not np.allclose(tensors[name].data, values, rtol=1e-6):
            raise SystemExit(f"{oracle.name}: {name} differs from the configuration")
    _verify_weights(oracle, tensors, model)
    return {key: value for key, value in metadata.items() if not isinstance(value, list)} | {
        "tensors": len(tensors)
    }


def _verify_weights(oracle: Oracle, tensors: dict[str, Any], model: PreTrainedModel) -> None:
    """Untouched tensors are equal bit for bit; permuted and shifted ones hold what the transform says."""
    state = model.state_dict()
    gemma = oracle.architecture.startswith("gemma")
    pairs = {"blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight"}
    if oracle.architecture == "phi3":
        pairs["blk.1.attn_qkv.weight"] = "model.layers.1.self_attn.qkv_proj.weight"
        pairs["blk.1.ffn_up.weight"] = "model.layers.1.mlp.gate_up_proj.weight"
    elif oracle.architecture != "llama":
        pairs["blk.1.attn_q.weight"] = "model.layers.1.self_attn.q_proj.weight"
    for name, source in pairs.items():
        _equal(oracle, name, tensors[name].data, state[source].numpy())
    norm = state["model.layers.1.input_layernorm.weight"].numpy()
    _equal(oracle, "blk.1.attn_norm.weight", tensors["blk.1.attn_norm.weight"].data, norm + 1 if gemma else norm)
    if oracle.architecture == "llama":
        rows = state["model.layers.1.self_attn.k_proj.weight"].numpy()
        heads, dim = model.config.num_key_value_heads, model.config.head_dim
        order = [h * dim + p * dim // 2 + j for h in range(heads) for j in range(dim // 2) for p in range(2)]
        _equal(oracle, "blk.1.attn_k.weight", tensors["blk.1.attn_k.weight"].data, rows[order])
    if ("output.weight" in tensors) == bool(model.config.tie_word_embeddings):
        raise SystemExit(f"{oracle.name}: output.weight and tie_word_embeddings disagree")


def _same(oracle: Oracle, key: str, found: Any, wanted: Any) -> None:
    if isinstance(wanted, float) and isinstance(found, float):
        equal = math.isclose(found, wanted, rel_tol=1e-6)
    else:
        equal = found == wanted
    if not equal:
        raise SystemExit(f"{oracle.name}: {key} is {found!r} in the GGUF, expected {wanted!r}")


def _equal(oracle: Oracle, name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    if found.shape != wanted.shape or not np.array_equal(np.asarray(found, dtype=np.float32), wanted):
        raise SystemExit(f"{oracle.name}: {name} differs from the weights it was made from")
