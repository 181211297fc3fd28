"""The oracle models: one small configuration per architecture, and random values for every parameter of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

# n_embd 32 with 4 heads of 24: the heads together are 96 wide, so that n_embd / n_head is never right by accident.
WIDE_HEADS = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 24,
}
# The families below have no head_dim of their own.
EVEN_HEADS = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}

GELU_NOTE = (
    "llama.cpp's CPU back end computes GELU through a table of F16 values, which alone moves the states by 3e-4 to 1e-3 "
    "relative. The goldens hold the exact states (last, tokens.*) and those with that table (last.gelu16), which an "
    "F32 run on a CPU meets to 2e-4 for each prompt."
)

SHORT_FACTORS = [1.0, 1.02, 1.1, 1.25, 1.4, 1.75, 2.1, 2.4]
LONG_FACTORS = [1.08, 1.3, 2.0, 3.5, 5.0, 9.0, 14.0, 22.0]
MINI_SHORT_FACTORS = [1.0, 1.05, 1.15, 1.3, 1.5, 1.9]
MINI_LONG_FACTORS = [1.1, 1.6, 2.7, 4.5, 8.0, 15.0]


@dataclass(frozen=True)
class Oracle:
    """One model. `expected` are GGUF metadata keys without the architecture prefix, checked after conversion."""

    name: str
    architecture: str
    general_name: str
    vocabulary: str
    config_class: type
    model_class: type
    config: dict[str, Any]
    expected: dict[str, Any]
    notes: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("plain", "rslora", "patterns")
    file_type: str = "f32"
    # Tensors that must exist, name -> values or None when only their presence is checked.
    extra_tensors: dict[str, list[float] | None] = field(default_factory=dict)


ORACLES = (
    Oracle(
        name="llama",
        architecture="llama",
        general_name="oracle llama",
        vocabulary="llama3",
        config_class=LlamaConfig,
        model_class=LlamaForCausalLM,
        config={
            **WIDE_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
            # The original context is 64, not 8192, so that the factors move the states of short prompts.
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        expected={
            "rope.freq_base": 500000.0,
            "rope.dimension_count": 24,
            "attention.key_length": 24,
            "attention.value_length": 24,
            "attention.layer_norm_rms_epsilon": 1e-5,
        },
        extra_tensors={"rope_freqs.weight": None},
        notes=("Llama 3 frequency factors are a tensor, rope_freqs.weight, shared by all blocks.",),
    ),
    Oracle(
        name="llama-wide",
        architecture="llama",
        general_name="oracle llama wide",
        vocabulary="llama3",
        config_class=LlamaConfig,
        model_class=LlamaForCausalLM,
        config={
            "hidden_size": 256,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 64,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        expected={"rope.freq_base": 10000.0, "rope.dimension_count": 64, "attention.key_length": 64},
        variants=("plain",),
        file_type="f16",
        notes=(
            "All rows are 256 values, so every k-quant type applies. Weights are rounded to F16 before the goldens are "
            "computed and stored as F16: the file holds exactly the oracle's numbers, and requantising starts from them. "
            "llama.cpp on the F16 file rounds activations to F16 as well and is off by 4e-4; on the same values in F32 it is "
            "not.",
        ),
    ),
    Oracle(
        name="mistral",
        architecture="llama",
        general_name="oracle mistral",
        vocabulary="mistral",
        config_class=MistralConfig,
        model_class=MistralForCausalLM,
        config={
            **WIDE_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        expected={"rope.freq_base": 1000000.0, "rope.dimension_count": 24, "attention.key_length": 24},
        notes=(
            "No sliding window: the converter drops it and llama.cpp's llama graph has none, so a Mistral with a window "
            "(7B v0.1: 4096) is computed with full attention; prompts shorter than the window are not affected.",
        ),
    ),
    Oracle(
        name="qwen2",
        architecture="qwen2",
        general_name="oracle qwen2",
        vocabulary="qwen2",
        config_class=Qwen2Config,
        model_class=Qwen2ForCausalLM,
        config={
            **EVEN_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        expected={"rope.freq_base": 1000000.0, "attention.layer_norm_rms_epsilon": 1e-6},
        notes=("Biases on q, k and v. head_dim is n_embd / n_head in this family.",),
    ),
    Oracle(
        name="qwen3",
        architecture="qwen3",
        general_name="oracle qwen3",
        vocabulary="qwen3",
        config_class=Qwen3Config,
        model_class=Qwen3ForCausalLM,
        config={
            **WIDE_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
        expected={"rope.freq_base": 1000000.0, "attention.key_length": 24, "attention.value_length": 24},
        notes=("Norms on q and k. Tied embeddings: no output.weight in the file.",),
    ),
    Oracle(
        name="gemma2",
        architecture="gemma2",
        general_name="oracle gemma2",
        vocabulary="gemma2",
        config_class=Gemma2Config,
        model_class=Gemma2ForCausalLM,
        config={
            **WIDE_HEADS,
            "num_hidden_layers": 4,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "sliding_window": 8,
            # llama.cpp scales by 1 / sqrt(head_dim) for every size but 27B.
            "query_pre_attn_scalar": 24,
            # Low enough to bend the scores of random weights; real models have 50.
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 30.0,
            # The converter writes no rope base for gemma2, llama.cpp takes 10000.
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        expected={
            "attention.sliding_window": 8,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 30.0,
            "attention.key_length": 24,
            "attention.value_length": 24,
        },
        notes=(
            "Blocks 0 and 2 see a window of 8 tokens, 1 and 3 the whole prompt; the pattern is fixed in llama.cpp.",
            GELU_NOTE,
        ),
    ),
    Oracle(
        name="gemma3",
        architecture="gemma3",
        general_name="oracle gemma3",
        vocabulary="gemma3",
        config_class=Gemma3TextConfig,
        model_class=Gemma3ForCausalLM,
        config={
            **WIDE_HEADS,
            # llama.cpp's pattern is five local blocks and one global one; the seventh is a local block after it.
            "num_hidden_layers": 7,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "sliding_window": 8,
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            },
        },
        expected={
            "attention.sliding_window": 8,
            "rope.freq_base": 1000000.0,
            "rope.freq_base_swa": 10000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 8.0,
            "attention.key_length": 24,
            "attention.value_length": 24,
        },
        notes=(
            "Local blocks rotate with base 10000 unscaled, the global block (5) with base 1e6 and linear factor 8.",
            GELU_NOTE,
        ),
    ),
    Oracle(
        name="phi3",
        architecture="phi3",
        general_name="oracle phi-3",
        vocabulary="phi3",
        config_class=Phi3Config,
        model_class=Phi3ForCausalLM,
        config={
            **EVEN_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "sliding_window": 2047,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": SHORT_FACTORS,
                "long_factor": LONG_FACTORS,
            },
        },
        expected={
            "rope.freq_base": 10000.0,
            "rope.dimension_count": 16,
            "rope.scaling.original_context_length": 4096,
            "rope.scaling.attn_factor": 1.1902380714238083,
            "attention.sliding_window": 2047,
        },
        extra_tensors={"rope_factors_short.weight": SHORT_FACTORS, "rope_factors_long.weight": LONG_FACTORS},
        notes=(
            "SHORT factors: true for a context of at most 4096 tokens. llama.cpp takes the long ones as soon as the "
            "context that was asked for is larger, whatever the prompt's length.",
            "The window of 2047 is longer than every prompt; llama.cpp ignores it for phi3.",
            "llama.cpp swallows white space after Phi-3's special tokens only when general.name contains phi-3.",
        ),
    ),
    Oracle(
        name="phi4-mini",
        architecture="phi3",
        general_name="oracle phi-4-mini",
        vocabulary="phi4-mini",
        config_class=Phi3Config,
        model_class=Phi3ForCausalLM,
        config={
            **EVEN_HEADS,
            "num_hidden_layers": 3,
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 256,
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.75,
                "short_factor": MINI_SHORT_FACTORS,
                "long_factor": MINI_LONG_FACTORS,
            },
        },
        expected={
            "rope.freq_base": 10000.0,
            "rope.dimension_count": 12,
            "rope.scaling.original_context_length": 256,
            "rope.scaling.attn_factor": 1.118033988749895,
            "attention.sliding_window": 0,
        },
        extra_tensors={"rope_factors_short.weight": MINI_SHORT_FACTORS, "rope_factors_long.weight": MINI_LONG_FACTORS},
        notes=(
            "SHORT factors, as transformers takes for prompts of up to 256 tokens; longer ones are in "
            "test/fixtures/convert/variants.",
            "Partial rotation: 12 of 16 values per head. Tied embeddings.",
        ),
    ),
    Oracle(
        name="phi4",
        architecture="phi3",
        general_name="oracle phi-4",
        vocabulary="phi4",
        config_class=Phi3Config,
        model_class=Phi3ForCausalLM,
        config={
            **EVEN_HEADS,
            "num_key_value_heads": 1,
            "num_hidden_layers": 3,
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 250000.0},
        },
        expected={
            "rope.freq_base": 250000.0,
            "rope.dimension_count": 16,
            "rope.scaling.original_context_length": 4096,
            "attention.sliding_window": 0,
        },
        notes=("Plain rotation with a large base; four query heads share one key head.",),
    ),
)


def build_model(oracle: Oracle, vocab_size: int, ids: dict[str, int | None]) -> PreTrainedModel:
    """The model in float32 with eager attention, every parameter drawn from a seed of its own name."""
    config = oracle.config_class(vocab_size=vocab_size, **oracle.config, **ids)
    config._attn_implementation = "eager"
    model = oracle.model_class(config).eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = _draw(oracle, name, parameter.shape)
            if oracle.file_type == "f16" and values.ndim > 1:
                values = values.half().float()
            parameter.copy_(values)
    model.tie_weights()
    return model


def normal(seed_text: str, shape: torch.Size | tuple[int, ...], std: float, mean: float = 0.0) -> torch.Tensor:
    """Normal values from a seed that depends on the text alone, so that adding a tensor moves no other one."""
    seed = int.from_bytes(hashlib.sha256(seed_text.encode()).digest()[:6], "little")
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * std + mean


def _draw(oracle: Oracle, name: str, shape: torch.Size) -> torch.Tensor:
    key = f"{oracle.name}/{name}"
    gemma = oracle.architecture.startswith("gemma")
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        # Scores come from these alone; 1.5 makes the attention neither flat nor one-hot.
        return normal(key, shape, 0.3, 0.5 if gemma else 1.5)
    if name.endswith("norm.weight"):
        return normal(key, shape, 0.3, 0.0 if gemma else 1.0)
    if name.endswith(".bias"):
        return normal(key, shape, 0.5)
    if "embed_tokens" in name:
        # Gemma multiplies by sqrt(n_embd).
        return normal(key, shape, 1.5 / shape[-1] ** 0.5 if gemma else 1.0)
    gain = 1.0
    if name.endswith(("q_proj.weight", "k_proj.weight", "qkv_proj.weight")):
        gain = 1.4
    return normal(key, shape, gain / shape[-1] ** 0.5)
