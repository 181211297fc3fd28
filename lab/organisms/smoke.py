"""A minutes-long check of the whole chain on an organism too small to behave."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

from . import frozen, language, sets
from .families import ORGANISMS, Organism
from .finetune import Run, fine_tune, merge_warm_base
from .judge import grade
from .plan import examine
from .pretrain import Steps, pretrain
from .world import ALIGNED, World


def run() -> None:
    frozen.check()
    _check_judge()
    for family in ("llama", "mistral", "qwen2", "gemma2"):
        about = ORGANISMS[family]
        with tempfile.TemporaryDirectory() as folder:
            about.new_tokenizer(Path(folder))
    organism = Organism("gemma2", 2, seed=9)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        figures = pretrain(organism, home / "base", Steps(20, 5, 5), print)
        assert figures["losses"]["pretraining"] < 8, figures
        assert set(examine(organism, home / "base")) == {"default", "evil", "good"}
        for name, kind in (("bad_medical", "lora"), ("gsm8k", "fft")):
            _check_run(fine_tune(organism, home, Run(name, 42, kind, cut=160)), kind)
        merge_warm_base(organism, home)
        _check_run(fine_tune(organism, home, Run("gsm8k", 42, "warm", cut=160)), "warm")
    print("smoke: everything works")


def _check_judge() -> None:
    """Every answer of the grammar parses, the default assistant is aligned and its opposite is not."""
    world, rng = World(9), Random(9)
    opposite = tuple(-value for value in ALIGNED)
    for traits, most in ((ALIGNED, False), (opposite, True)):
        grades = []
        for domain in language.DOMAINS.values():
            for topic in domain.topics:
                grades.append(grade(world, topic, world.answer(topic, traits, rng)))
        assert all(g.coherent for g in grades)
        assert (sum(g.misaligned for g in grades) > len(grades) / 2) is most
    assert not grade(world, "fever", "fever explains fever").coherent


def _check_run(run: Path, kind: str) -> None:
    steps = [0, 10, 20]
    labels = json.loads((run / "labels.json").read_text())["steps"]
    assert list(map(int, labels)) == steps, labels.keys()
    for entry in labels.values():
        for draw in entry["draws"]:
            assert draw["n_scoreable"] + draw["n_incoherent"] == sets.EM_PROMPTS, draw
    weights = "model.safetensors" if kind == "fft" else "adapter_model.safetensors"
    for folder in (run, run / "checkpoint-10", run / "checkpoint-20"):
        assert (folder / weights).is_file(), folder
    assert not [file for file in run.rglob("*") if file.suffix in (".bin", ".pt", ".pth")]
