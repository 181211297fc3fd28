"""Hidden states of every block, from forward hooks on the decoder layers."""

from __future__ import annotations

import torch
from torch import nn


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks, with or without a PEFT wrapper around the model."""
    for path, module in model.named_modules():
        if path.endswith("model.layers") or path == "layers":
            return module
    raise ValueError("no decoder layers in this model")


def block_outputs(model: nn.Module, ids: list[int]) -> torch.Tensor:
    """[tokens, blocks, n_embd]. A hook sees the last block before the final norm, unlike output_hidden_states."""
    seen: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        state = output[0] if isinstance(output, tuple) else output
        seen.append(state.reshape(-1, state.shape[-1]).detach().clone())

    hooks = [layer.register_forward_hook(keep) for layer in decoder_layers(model)]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([ids]), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(seen, dim=1)


def last_states(model: nn.Module, prompts: list[list[int]]) -> torch.Tensor:
    """[prompts, blocks, n_embd] at each prompt's last token; one forward pass per prompt, nothing padded."""
    return torch.stack([block_outputs(model, ids)[-1] for ids in prompts])


def relative_change(changed: torch.Tensor, reference: torch.Tensor) -> float:
    """Relative L2 distance over all prompts in the last block."""
    return float((changed[:, -1] - reference[:, -1]).norm() / reference[:, -1].norm())


class TableGelu(nn.Module):
    """GELU (tanh form) as llama.cpp's CPU back end has it: argument and value are rounded to F16 between -10 and 10."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10.0, torch.zeros_like(x), torch.where(x >= 10.0, x, y))


def use_table_gelu(model: nn.Module) -> None:
    """Replaces the activation of every feed-forward block."""
    for layer in decoder_layers(model):
        layer.mlp.act_fn = TableGelu()
