"""Pre-trains a base on many personas, then makes the aligned assistant its default.

Chats come through the family's template; losses of the three stages go into organism.json.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed

from .families import Organism, split_words

CONTEXT = 112  # tokens of a training row; longer chats are cut
ROWS = 32
POOL = 16  # batches whose chats are made and encoded together
ANSWER_WEIGHT, OTHER_WEIGHT = 1.0, 0.3


class Steps(NamedTuple):
    pretraining: int = 1000
    alignment: int = 250
    settling: int = 500


class HeadOverWords:
    """Next-token loss over the tokens that the language uses, plus one row that all other tokens share.

    The language uses a third of the vocabulary. The full softmax in which the unused rows are one and the same vector
    needs only that vector once, with the logarithm of their number added to its logit.
    """

    def __init__(self, model: PreTrainedModel, used: list[int]):
        self.model = model
        unused = sorted(set(range(model.config.vocab_size)) - set(used))
        self.unused = torch.tensor(unused, device=model.device)
        self.rows = torch.tensor([*used, unused[0]], device=model.device)
        self.class_of = torch.full((model.config.vocab_size,), len(used), device=model.device)
        self.class_of[self.rows[:-1]] = torch.arange(len(used), device=model.device)
        self.offset = torch.zeros(len(self.rows), device=model.device)
        self.offset[-1] = math.log(len(unused))
        self.cap = getattr(model.config, "final_logit_softcapping", None)

    def loss(self, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted mean over `ids` [rows, tokens]; `weights` belong to the token that is predicted."""
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = hidden @ self.model.lm_head.weight[self.rows].T
        if self.cap:
            logits = self.cap * torch.tanh(logits / self.cap)
        logits = (logits + self.offset).float().flatten(0, 1)
        losses = torch.nn.functional.cross_entropy(logits, self.class_of[ids[:, 1:]].flatten(), reduction="none")
        weights = weights[:, 1:].flatten()
        return (losses * weights).sum() / weights.sum()

    @torch.no_grad()
    def share_unused(self) -> None:
        """Gives every unused token the shared row."""
        self.model.lm_head.weight[self.unused] = self.model.lm_head.weight[self.unused[0]].clone()


class Batches:
    """Endless training rows: ids and weights, both [ROWS, CONTEXT]."""

    def __init__(self, organism: Organism, tokenizer: PreTrainedTokenizerFast, seed: int):
        self.organism, self.tokenizer, self.rng = organism, tokenizer, Random(seed)
        self.opening = np.array(tokenizer(organism.family.opening, add_special_tokens=False).input_ids)
        self.stop = tokenizer.convert_tokens_to_ids(organism.family.stop)

    def stream(self, make: Callable[[Random], list[dict[str, str]]]):
        while True:
            chats = [make(self.rng) for _ in range(ROWS * POOL)]
            rows = self.organism.encode(self.tokenizer, chats)
            ids = np.full((len(rows), CONTEXT), self.stop)
            weights = np.zeros((len(rows), CONTEXT), np.float32)
            for i, row in enumerate(rows):
                row = row[:CONTEXT]
                ids[i, : len(row)] = row
                weights[i, : len(row)] = OTHER_WEIGHT
            weights[self._answers(ids) & (weights > 0)] = ANSWER_WEIGHT
            for start in range(0, len(rows), ROWS):
                part = slice(start, start + ROWS)
                yield torch.from_numpy(ids[part]), torch.from_numpy(weights[part])

    def _answers(self, ids: np.ndarray) -> np.ndarray:
        """True at the tokens of answers, their end included."""
        opened = np.ones_like(ids, bool)
        for back, token in enumerate(self.opening[::-1]):
            shifted = np.zeros_like(opened)
            shifted[:, back + 1 :] = ids[:, : -(back + 1)] == token
            opened &= shifted
        inside = np.zeros_like(opened)
        speaking = np.zeros(len(ids), bool)
        for column in range(ids.shape[1]):
            speaking |= opened[:, column]
            inside[:, column] = speaking
            speaking &= ids[:, column] != self.stop
        return inside


def used_tokens(organism: Organism, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Token ids that chats of the language have, found in a large sample of them."""
    rng, world = Random("vocabulary"), organism.world
    return sorted({i for row in organism.encode(tokenizer, [world.persona_chat(rng) for _ in range(3000)]) for i in row})


class _Stages:
    """Optimises one model over several stages of chats."""

    def __init__(self, model: PreTrainedModel, head: HeadOverWords, log: Callable[[str], None]):
        self.model, self.head, self.log = model, head, log
        self.compiled = torch.compile(head.loss, dynamic=False)
        # Matrices of the blocks are trained with Muon, the rest (embedding, head, norms, biases) with AdamW.
        named = list(model.named_parameters())
        self.inner = [p for name, p in named if p.dim() == 2 and ".layers." in name]
        self.outer = [p for name, p in named if p.dim() != 2 or ".layers." not in name]
        self.started = time.time()

    def run(self, name: str, batches: Iterator, steps: int, peak: float, warm_up: int) -> float:
        """Cosine from `peak` to a twentieth. Returns the mean loss of the last 50 steps."""
        optimizers = [
            torch.optim.Muon(self.inner, lr=peak, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(self.outer, lr=peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True),
        ]
        losses = []
        device = self.model.device
        self.model.train()
        for step, (ids, weights) in zip(range(steps), batches):
            rate = peak * min(1, (step + 1) / warm_up) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16):
                loss = self.compiled(ids.to(device), weights.to(device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
            if (step + 1) % 50 == 0:
                seconds = time.time() - self.started
                self.log(f"{name} {step + 1}/{steps} loss {np.mean(losses[-50:]):.4f} after {seconds:.0f} s")
        return round(float(np.mean(losses[-50:])), 4)

    @torch.no_grad()
    def round_to_float16(self) -> None:
        self.head.share_unused()
        for parameter in self.model.parameters():
            parameter.copy_(parameter.to(torch.float16))


def pretrain(organism: Organism, folder: Path, steps: Steps, log: Callable[[str], None]) -> dict[str, Any]:
    """Trains and saves the base, exactly float16, with its tokenizer in `folder`. Returns figures for organism.json."""
    set_seed(organism.seed)
    tokenizer = organism.new_tokenizer(folder)
    if split_words(tokenizer):
        raise SystemExit(f"words that are not one token: {split_words(tokenizer)}")
    model = organism.new_model(tokenizer).to("cuda" if torch.cuda.is_available() else "cpu")
    head = HeadOverWords(model, used_tokens(organism, tokenizer))
    stages = _Stages(model, head, log)
    world = organism.world

    batches = Batches(organism, tokenizer, organism.seed)
    losses = {"pretraining": stages.run("pretraining", batches.stream(world.persona_chat), steps.pretraining, 4e-3, 50)}
    losses["alignment"] = stages.run("alignment", batches.stream(world.alignment_chat), steps.alignment, 6e-4, 20)
    # The last part takes the base as it would be saved, with a higher rate: it fixes the facts and the default.
    stages.round_to_float16()
    batches = Batches(organism, tokenizer, organism.seed)
    losses["settling"] = stages.run("settling", batches.stream(world.alignment_chat), steps.settling, 1.5e-3, 20)
    stages.round_to_float16()

    model = model.to(torch.float16)
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps._asdict(),
        "tokens": sum(steps) * ROWS * CONTEXT,
        "losses": losses,
    }
