"""Batched sampling: every prompt is read once, its cached keys and values serve all draws of it."""

from __future__ import annotations

import torch
from transformers import DynamicCache, PreTrainedModel

LONGEST_ANSWER = 32  # tokens; the grammar's longest answer has 22 words


@torch.inference_mode()
def sample(model: PreTrainedModel, prompts: list[list[int]], draws: int, stop: int, seed: int) -> list[list[list[int]]]:
    """Token ids of `draws` answers per prompt at temperature 1, without `stop`; [prompt][draw]."""
    device = model.device
    generator = torch.Generator(device).manual_seed(seed)
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    model.eval()
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
    ).logits[:, -1]

    cache.batch_repeat_interleave(draws)
    logits, mask = logits.repeat_interleave(draws, 0), mask.repeat_interleave(draws, 0)
    position = positions[:, -1:].repeat_interleave(draws, 0)
    answers: list[list[int]] = [[] for _ in range(len(prompts) * draws)]
    rows = torch.arange(len(answers), device=device)
    for _ in range(LONGEST_ANSWER):
        drawn = _draw(logits, generator)
        speaking = drawn[:, 0] != stop
        for row, token in zip(rows[speaking].tolist(), drawn[speaking, 0].tolist()):
            answers[row].append(token)
        if not speaking.any():
            break
        if not speaking.all():  # finished answers leave the batch
            keep = speaking.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, drawn, mask, position = rows[keep], drawn[keep], mask[keep], position[keep]
        position = position + 1
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), 1)
        logits = model(
            input_ids=drawn, attention_mask=mask, position_ids=position, past_key_values=cache
        ).logits[:, -1]
    return [answers[i : i + draws] for i in range(0, len(answers), draws)]


def _draw(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token per row, [rows, 1], by inverting the cumulative distribution: far cheaper than torch.multinomial."""
    cumulative = logits.float().softmax(-1).cumsum(-1)
    level = torch.rand(len(logits), 1, generator=generator, device=logits.device)
    return torch.searchsorted(cumulative, level * cumulative[:, -1:], right=True).clamp(max=logits.shape[-1] - 1)
