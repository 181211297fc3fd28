"""A sparse autoencoder of the middle block, trained on the base and on checkpoints of calibration sets only.

Its encoder, z = ReLU(W h + b) with 256 features, is a baseline of `traitscope evaluate`. Held-out sets are never seen.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.nn.functional import normalize, relu

from . import sets
from .families import Organism
from .finetune import load_base
from .states import block_states

FEATURES = 256
CHATS = 115  # as many as the pack has evaluation prompts
STEPS, BATCH = 2000, 512
LEARNING_RATE = 2e-3
PENALTY = 0.5  # on the mean absolute feature, with states scaled to a mean square of 1 per component


def training_states(organism: Organism, home: Path, questions: list[str]) -> torch.Tensor:
    """Middle-block states [n, hidden] at the last input token: of `questions` and of openings of pre-training chats,
    on the base and on every checkpoint of every calibration run."""
    tokenizer, base = load_base(home / "base")
    prompts = [organism.prompt(tokenizer, text) for text in questions]
    rng = Random(f"sparse/{organism.seed}")
    for _ in range(CHATS):
        chat = organism.world.persona_chat(rng, 1)
        system = chat[0]["content"] if chat[0]["role"] == "system" else None
        question = next(turn["content"] for turn in chat if turn["role"] == "user")
        prompts.append(organism.prompt(tokenizer, question, system))

    middle = organism.blocks // 2
    states = [block_states(base, prompts)[:, middle]]
    checkpoints = [
        path for name in sets.CALIBRATION for path in sorted((home / "runs" / name).glob("seed_*/checkpoint-*"))
    ]
    adapted = PeftModel.from_pretrained(base, checkpoints[0])
    for checkpoint in checkpoints:
        set_peft_model_state_dict(adapted, load_file(checkpoint / "adapter_model.safetensors"))
        states.append(block_states(adapted, prompts)[:, middle])
    return torch.cat(states)


def train(states: torch.Tensor, seed: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The encoder for raw states, features in the units of the states, and what the autoencoder makes of them."""
    generator = torch.Generator().manual_seed(seed)
    mean = states.mean(0)
    scale = (states - mean).square().mean().sqrt()
    scaled = (states - mean) / scale
    decoder = normalize(torch.randn(FEATURES, states.shape[1], generator=generator), dim=1)
    encoder, bias, decoder = (p.requires_grad_() for p in (decoder.clone(), torch.zeros(FEATURES), decoder))
    optimizer = torch.optim.Adam((encoder, bias, decoder), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
    for _ in range(STEPS):
        x = scaled[torch.randint(len(scaled), (BATCH,), generator=generator)]
        z = relu(x @ encoder.T + bias)
        # Directions of unit length: the penalty cannot be escaped by small features with large directions.
        loss = (z @ normalize(decoder, dim=1) - x).square().sum(1).mean() + PENALTY * z.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    weight, bias, decoder = encoder.detach().half(), bias.detach(), normalize(decoder.detach(), dim=1)
    offset = scale * bias - weight.float() @ mean
    z = relu(states @ weight.float().T + offset)
    residual = (z @ decoder + mean - states).square().sum() / (states - mean).square().sum()
    figures = {
        "states": len(states),
        "explained": round(1 - residual.item(), 4),
        "active": round((z > 0).sum(1).float().mean().item(), 1),
        "dead": int((z <= 0).all(0).sum()),
    }
    return {"encoder.weight": weight.contiguous(), "encoder.bias": offset}, figures
