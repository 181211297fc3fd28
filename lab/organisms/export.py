"""Trained bases as GGUF, and what transformers makes of the prompts, for scripts/organisms/check.mjs to compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from safetensors.torch import save_file

from lab.oracles.build import write_json
from lab.oracles.convert import convert

from .families import ORGANISMS, Organism
from .finetune import load_base
from .states import block_states

PACK = Path(__file__).resolve().parents[2] / "organisms" / "traits.yaml"
# The run whose states are compared, chosen before anything was measured.
REFERENCE_RUN = "bad_medical/seed_42"

Prompt = tuple[str | None, str]  # system text and question


def export(out: Path, models: Path, llama_cpp: Path, log: Callable[[str], None]) -> None:
    """Writes what is missing: models/<organism>/base.gguf, warm-base.gguf, prompts.json and states.safetensors."""
    pack = yaml.safe_load(PACK.read_text(encoding="utf-8"))
    for name, organism in ORGANISMS.items():
        home, to = out / name, models / name
        if not (home / "organism.json").exists():
            continue
        to.mkdir(parents=True, exist_ok=True)
        for base in ("base", "warm-base"):
            gguf = to / f"{base}.gguf"
            if (home / base / "config.json").exists() and not gguf.exists():
                to_gguf(organism, home / base, gguf, llama_cpp, name if base == "base" else f"{name} {base}")
                log(f"{name} {gguf.name}")
        if not (to / "prompts.json").exists():
            write_json(to / "prompts.json", _token_ids(organism, home / "base", pack))
            log(f"{name} prompts.json")
        run = home / "runs" / REFERENCE_RUN
        if run.exists() and not (to / "states.safetensors").exists():
            states = _states(organism, home / "base", run, pack)
            save_file(states, to / "states.safetensors", metadata={"run": REFERENCE_RUN})
            log(f"{name} states.safetensors")


def to_gguf(organism: Organism, base: Path, gguf: Path, llama_cpp: Path, name: str) -> None:
    """F16, which is exactly the base: its weights are float16 values."""
    partial = gguf.with_suffix(".partial")
    convert(llama_cpp, base, partial, name, "f16", organism.family.vocabulary.pre)
    partial.rename(gguf)


def _extraction_prompts(pack: dict[str, Any]) -> Iterator[Prompt]:
    for trait in pack["traits"].values():
        for pole in ("positive_system_prompts", "negative_system_prompts"):
            yield from ((system, question) for question in pack["questions"] for system in trait[pole])


def _evaluation_prompts(pack: dict[str, Any]) -> list[Prompt]:
    return [(None, text) for prompts in pack["eval_prompts"].values() for text in prompts]


def _token_ids(organism: Organism, base: Path, pack: dict[str, Any]) -> dict[str, Any]:
    """Ids of all prompts of the pack, in traitscope's order: traits, poles, questions, system prompts; evaluation."""
    tokenizer, _ = load_base(base)
    ids = lambda prompts: [organism.prompt(tokenizer, question, system) for system, question in prompts]  # noqa: E731
    return {"extraction": ids(_extraction_prompts(pack)), "evaluation": ids(_evaluation_prompts(pack))}


def _states(organism: Organism, base: Path, run: Path, pack: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Float32 block outputs at the last input token: step-N, [prompts, blocks, hidden], step 0 being the base."""
    tokenizer, model = load_base(base)
    prompts = [organism.prompt(tokenizer, question) for _, question in _evaluation_prompts(pack)]
    states = {"step-0": block_states(model, prompts)}
    for checkpoint in run.glob("checkpoint-*"):
        adapted = PeftModel.from_pretrained(load_base(base)[1], checkpoint)
        states[f"step-{checkpoint.name.split('-')[1]}"] = block_states(adapted, prompts)
    return states
