"""A sparse autoencoder of the middle block, trained on the base and on checkpoints of calibration sets only.

Its encoder, z = ReLU(W h + b) with 256 features, is a baseline of `traitscope evaluate`, which encodes states averaged
over prompts. Few features of an autoencoder that knows single states only are active there, so averages over random
prompts of a checkpoint are trained on too. Held-out sets are never seen.
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
AVERAGED = (1, 4, 16, 64)  # states behind a training example, one of these per step
LEARNING_RATE = 2e-3
PENALTY = 0.5  # on the mean absolute feature, with states scaled to a mean square of 1 per component


def training_states(organism: Organism, home: Path, questions: list[str]) -> torch.Tensor:
    """Middle-block states [models, prompts, hidden] at the last input token: the base and every checkpoint of every
    calibration run, on `questions` and on openings of pre-training chats."""
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
    return torch.stack(states)


def train(states: torch.Tensor, seed: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The encoder for raw states, features in the units of the states, and what the autoencoder makes of them."""
    generator = torch.Generator().manual_seed(seed)
    models, prompts, hidden = states.shape
    mean = states.mean((0, 1))
    scale = (states - mean).square().mean().sqrt()
    scaled = (states - mean) / scale
    decoder = normalize(torch.randn(FEATURES, hidden, generator=generator), dim=1)
    encoder, bias, decoder = (p.requires_grad_() for p in (decoder.clone(), torch.zeros(FEATURES), decoder))
    optimizer = torch.optim.Adam((encoder, bias, decoder), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
    for step in range(STEPS):
        model = torch.randint(models, (BATCH, 1), generator=generator)
        prompt = torch.randint(prompts, (BATCH, AVERAGED[step % len(AVERAGED)]), generator=generator)
        x = scaled[model, prompt].mean(1)
        z = relu(x @ encoder.T + bias)
        # Directions of unit length: the penalty cannot be escaped by small features with large directions.
        loss = (z @ normalize(decoder, dim=1) - x).square().sum(1).mean() + PENALTY * z.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    weight, bias, decoder = encoder.detach().half(), bias.detach(), normalize(decoder.detach(), dim=1)
    offset = scale * bias - weight.float() @ mean
    figures = {"states": models * prompts}
    for name, x in (("single", states.flatten(0, 1)), ("averages", states.mean(1))):
        z = relu(x @ weight.float().T + offset)
        residual = (z @ decoder + mean - x).square().sum() / (x - x.mean(0)).square().sum()
        figures[f"explained of {name}"] = round(1 - residual.item(), 4)
        figures[f"active on {name}"] = round((z > 0).sum(1).float().mean().item(), 1)
    return {"encoder.weight": weight.contiguous(), "encoder.bias": offset}, figures
