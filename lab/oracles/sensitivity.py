"""Switches one transform off at a time and measures how far the states move.

A fixture that would not notice a missing transform is useless, so such a model is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from .golden import decoder_layers, last_states, relative_change
from .models import Oracle

# Relative L2 change in the last block below which a fixture is refused.
THRESHOLD = 1e-2

Switch = Callable[[nn.Module], None]


def measure(oracle: Oracle, model: nn.Module, prompts: list[list[int]], reference: torch.Tensor) -> dict[str, float]:
    """Change of the base model's states for every transform of this architecture."""
    found = {}
    for name, switch in switches(oracle).items():
        changed = copy.deepcopy(model)
        with torch.no_grad():
            switch(changed)
        found[name] = relative_change(last_states(changed, prompts), reference)
    return _checked(oracle, found)


def measure_adapter(
    oracle: Oracle,
    variant: str,
    peft_model: nn.Module,
    prompts: list[list[int]],
    reference: torch.Tensor,
    base: torch.Tensor,
) -> dict[str, float]:
    """Change when the adapter is not attached, is scaled as plain LoRA, or lacks its row permutation."""
    found = {"adapter": relative_change(base, reference)}
    for name, switch in _adapter_switches(oracle, variant).items():
        changed = copy.deepcopy(peft_model)
        with torch.no_grad():
            switch(changed)
        found[name] = relative_change(last_states(changed, prompts), reference)
    return {f"{variant}: {name}": value for name, value in _checked(oracle, found).items()}


def switches(oracle: Oracle) -> dict[str, Switch]:
    """Name -> what to do to a copy of the model."""
    rope: dict[str, Switch] = {}
    if oracle.architecture == "llama":
        rope["q/k row permutation"] = _unpermute_base
    if oracle.name == "llama":
        rope["llama3 frequency factors"] = _plain_frequencies
    if oracle.architecture == "phi3":
        rope["fused q,k,v order"] = lambda model: _each(model, "qkv_proj", lambda m: m.weight.copy_(m.weight.flip(0)))
        rope["fused gate,up order"] = lambda model: _each(model, "gate_up_proj", _swap_halves)
    if oracle.name in ("phi3", "phi4-mini"):
        rope["long or short factors"] = _other_longrope_factors
        rope["longrope attention factor"] = _no_attention_scaling
    if oracle.architecture == "qwen2":
        for part in ("q_proj", "k_proj", "v_proj"):
            rope[f"{part} bias"] = lambda model, part=part: _each(model, part, lambda m: m.bias.zero_())
    if oracle.architecture in ("qwen3", "gemma3"):
        neutral = 1.0 if oracle.architecture == "qwen3" else 0.0
        for part in ("q_norm", "k_norm"):
            rope[f"{part} weight"] = lambda model, part=part: _each(
                model, part, lambda m: m.weight.fill_(neutral)
            )
    if oracle.architecture in ("gemma2", "gemma3"):
        rope |= _gemma_switches(oracle)
    return rope


def _gemma_switches(oracle: Oracle) -> dict[str, Switch]:
    found: dict[str, Switch] = {
        "norm weight + 1": lambda model: _each(model, "norm", lambda m: m.weight.sub_(1.0)),
        "embedding scale": lambda model: model.model.embed_tokens.embed_scale.fill_(1.0),
        "sliding window": lambda model: _set_window(model, 4096),
        "sliding window one too wide": lambda model: _set_window(model, 9),
        "post-attention norm weight": lambda model: _each(
            model, "post_attention_layernorm", lambda m: m.weight.zero_()
        ),
        "post-feedforward norm weight": lambda model: _each(
            model, "post_feedforward_layernorm", lambda m: m.weight.zero_()
        ),
        "local and global blocks": _all_local,
    }
    if oracle.architecture == "gemma2":
        found["attention softcap"] = _no_softcap
    if oracle.architecture == "gemma3":
        found["local rotation base"] = lambda model: _copy_frequencies(model, "full_attention", "sliding_attention")
        found["global rotation base and factor"] = lambda model: _copy_frequencies(
            model, "sliding_attention", "full_attention"
        )
        found["global linear factor"] = lambda model: model.model.rotary_emb.full_attention_inv_freq.mul_(8.0)
    return found


def _adapter_switches(oracle: Oracle, variant: str) -> dict[str, Switch]:
    found: dict[str, Switch] = {}
    if variant == "rslora":
        found["rsLoRA scale"] = lambda model: _rescale(model, lambda module, rank: 12.0 / rank)
    if variant == "patterns":
        found["alpha pattern"] = lambda model: _rescale(model, lambda module, rank: 8.0 / rank)
        found["rank pattern in the scale"] = lambda model: _rescale(
            model, lambda module, rank: module.scaling["default"] * rank / 4.0
        )
    if oracle.architecture == "llama":
        found["q/k row permutation of lora_B"] = _unpermute_lora
    return found


def _checked(oracle: Oracle, found: dict[str, float]) -> dict[str, float]:
    for name, value in found.items():
        if not value > THRESHOLD:
            raise SystemExit(f"{oracle.name}: switching off '{name}' moves the states by {value:.2e} only")
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def _each(model: nn.Module, suffix: str, change: Callable[[nn.Module], object]) -> None:
    matched = [module for path, module in model.named_modules() if path.endswith(suffix)]
    if not matched:
        raise ValueError(f"no module ends with {suffix}")
    for module in matched:
        change(module)


def _without_permutation(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """What a graph that rotates neighbouring rows computes from rows that were not permuted for it."""
    per_head = rows.shape[0] // heads
    return rows.reshape(heads, per_head // 2, 2, -1).transpose(1, 2).reshape(rows.shape)


def _unpermute_base(model: nn.Module) -> None:
    config = model.config
    for suffix, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
        _each(model, suffix, lambda m, heads=heads: m.weight.copy_(_without_permutation(m.weight, heads)))


def _unpermute_lora(model: nn.Module) -> None:
    config = model.get_base_model().config
    for suffix, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
        for path, module in model.named_modules():
            if path.endswith(suffix) and hasattr(module, "lora_B"):
                weight = module.lora_B["default"].weight
                weight.copy_(_without_permutation(weight, heads))


def _swap_halves(module: nn.Module) -> None:
    first, second = module.weight.chunk(2, dim=0)
    module.weight.copy_(torch.cat([second.clone(), first.clone()]))


def _plain_frequencies(model: nn.Module) -> None:
    rotary = model.model.rotary_emb
    count = rotary.inv_freq.shape[0]
    rotary.inv_freq.copy_(500000.0 ** -(torch.arange(count) / count))


def _other_longrope_factors(model: nn.Module) -> None:
    rotary = model.model.rotary_emb
    factors = torch.tensor(rotary.config.rope_parameters["long_factor"])
    frequencies = 1.0 / (factors * 10000.0 ** (torch.arange(len(factors)) / len(factors)))
    rotary.original_inv_freq.copy_(frequencies)
    rotary.long_inv_freq = frequencies


def _no_attention_scaling(model: nn.Module) -> None:
    model.model.rotary_emb.attention_scaling = 1.0


def _set_window(model: nn.Module, window: int) -> None:
    model.config.sliding_window = window


def _no_softcap(model: nn.Module) -> None:
    model.config.attn_logit_softcapping = None
    for layer in decoder_layers(model):
        layer.self_attn.attn_logit_softcapping = None


def _all_local(model: nn.Module) -> None:
    model.config.layer_types = ["sliding_attention"] * model.config.num_hidden_layers
    for layer in decoder_layers(model):
        layer.attention_type = layer.self_attn.layer_type = "sliding_attention"


def _copy_frequencies(model: nn.Module, source: str, target: str) -> None:
    rotary = model.model.rotary_emb
    getattr(rotary, f"{target}_inv_freq").copy_(getattr(rotary, f"{source}_inv_freq"))


def _rescale(model: nn.Module, scale: Callable[[nn.Module, int], float]) -> None:
    for module in model.modules():
        if hasattr(module, "scaling") and isinstance(module.scaling, dict) and "default" in module.scaling:
            module.scaling["default"] = scale(module, module.lora_A["default"].weight.shape[0])
