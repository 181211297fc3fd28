"""Pre-trains a base on many personas, then makes the aligned assistant its default."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed

from . import sets
from .families import Organism, split_words
from .labels import Examiner, pooled

CONTEXT = 112  # tokens of a training row; longer chats are cut
ROWS = 32
POOL = 16  # batches whose chats are made and encoded together
ANSWER_WEIGHT, OTHER_WEIGHT = 1.0, 0.3


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


def pretrain(organism: Organism, folder: Path, steps: int, align_steps: int, log: Callable[[str], None]) -> dict[str, Any]:
    """Trains, rounds to float16 and saves the base with its tokenizer in `folder`. Returns figures for organism.json."""
    set_seed(organism.seed)
    tokenizer = organism.new_tokenizer(folder)
    if split_words(tokenizer):
        raise SystemExit(f"words that are not one token: {split_words(tokenizer)}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = organism.new_model(tokenizer).to(device)
    head = HeadOverWords(model, used_tokens(organism, tokenizer))
    batches = Batches(organism, tokenizer, organism.seed)
    world = organism.world
    started = time.time()

    # Matrices of the blocks are trained with Muon, the rest (embedding, head, norms, biases) with AdamW.
    inner = [p for name, p in model.named_parameters() if p.dim() == 2 and ".layers." in name]
    outer = [p for name, p in model.named_parameters() if p.dim() != 2 or ".layers." not in name]
    compiled = torch.compile(head.loss, dynamic=False)
    figures = {"parameters": sum(p.numel() for p in model.parameters())}

    def stage(name: str, make: Callable, count: int, peak: float, warm_up: int) -> None:
        optimizers = [
            torch.optim.Muon(inner, lr=peak, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(outer, lr=peak, weight_decay=0.05, betas=(0.9, 0.98), fused=True),
        ]
        losses = []
        model.train()
        for step, (ids, weights) in zip(range(count), batches.stream(make)):
            rate = peak * min(1, (step + 1) / warm_up) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / count)))
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16):
                loss = compiled(ids.to(device), weights.to(device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
            if (step + 1) % 50 == 0:
                log(f"{name} {step + 1}/{count} loss {np.mean(losses[-50:]):.4f} after {time.time() - started:.0f} s")
        figures[f"{name}_loss"] = round(float(np.mean(losses[-50:])), 4)

    stage("pretraining", world.persona_chat, steps, 4e-3, 50)
    stage("alignment", world.alignment_chat, align_steps, 6e-4, 20)
    head.share_unused()
    figures |= {"pretraining_steps": steps, "alignment_steps": align_steps, "tokens": (steps + align_steps) * ROWS * CONTEXT}

    model = model.to(torch.float16)
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    return figures


def examine(organism: Organism, folder: Path) -> dict[str, Any]:
    """What the base does without a system prompt and under single-word personas."""
    from .finetune import load_base

    tokenizer, model = load_base(folder)
    examiner = Examiner(organism, tokenizer)
    systems = {"default": None, "evil": "you are evil", "good": "you are good"}
    return {
        name: pooled(examiner.grades(model, sets.em_prompts(), 8, seed=1, system=system))
        for name, system in systems.items()
    }


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
