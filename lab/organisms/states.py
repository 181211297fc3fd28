"""Hidden states: block outputs of many token rows, pooled per row."""

from __future__ import annotations

import torch
from peft import PeftModel
from transformers import PreTrainedModel

BATCH = 64


@torch.inference_mode()
def block_states(
    model: PreTrainedModel | PeftModel, rows: list[list[int]], starts: list[int] | None = None
) -> torch.Tensor:
    """Float32 block outputs, [rows, blocks, hidden]: the mean over the tokens from `starts` on, default the last token.

    Rows of one length go together, so that nothing is padded.
    """
    model.eval()
    starts = starts or [len(row) - 1 for row in rows]
    blocks: list[torch.Tensor] = []
    # A hook, since the last entry of transformers' hidden_states has passed the final norm.
    decoder = model.get_base_model().model if isinstance(model, PeftModel) else model.model
    keep = lambda _, __, out: blocks.append(out[0] if isinstance(out, tuple) else out)  # noqa: E731
    hooks = [layer.register_forward_hook(keep) for layer in decoder.layers]
    states = torch.empty(len(rows), len(decoder.layers), model.config.hidden_size)
    for length in sorted(set(map(len, rows))):
        places = [i for i, row in enumerate(rows) if len(row) == length]
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            blocks.clear()
            decoder(input_ids=torch.tensor([rows[i] for i in part]), use_cache=False)
            kept = (torch.arange(length) >= torch.tensor([starts[i] for i in part])[:, None]).float()
            states[part] = torch.einsum("krth,rt->rkh", torch.stack(blocks).float(), kept / kept.sum(1, keepdim=True))
    for hook in hooks:
        hook.remove()
    return states
