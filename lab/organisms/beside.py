"""Runs of sets that the lab's plan does not have: the flags of the modules that make them, and how such a run appears, whole."""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .families import ORGANISMS, Organism
from .finetune import EPOCHS, inside


def flags(prog: str, seeds: Sequence[int]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m lab.organisms.{prog}")
    parser.add_argument("--out", type=Path, required=True, help="folder outside the repository, with restored bases")
    parser.add_argument("--organism", default="llama,qwen2,mistral,gemma2", help="names, separated by commas")
    parser.add_argument("--set", default="*", help="pattern of set names")
    parser.add_argument("--seeds", default=",".join(map(str, seeds)))
    return parser


def missing(args: argparse.Namespace, sets: Sequence[str]) -> Iterator[tuple[Organism, Path, str, int]]:
    """Organism, its folder, set and seed of every run that is asked for and not there."""
    for name in sets:
        for organism in args.organism.split(","):
            for seed in map(int, args.seeds.split(",")):
                home = args.out.resolve() / organism
                if fnmatch.fnmatch(name, args.set) and not (home / "runs" / name / f"seed_{seed}").exists():
                    yield ORGANISMS[organism], home, name, seed


def make(home: Path, name: str, seed: int, rows: list, about: dict[str, Any], fill: Callable[[Path], Any]) -> None:
    """
    `fill` trains into a folder and returns the labels of its checkpoints; `about` is what else `run.json` says. The run gets its name when
    all is there.
    """
    started = time.time()
    folder, partial = Path("runs") / name / f"seed_{seed}", Path("partial") / f"{name}-{seed}"
    with inside(home):
        shutil.rmtree(partial, ignore_errors=True)
        labels = fill(partial)
        (partial / "labels.json").write_text(json.dumps(labels) + "\n")
        said = {"set": name, "seed": seed, **about, "n_samples": len(rows), "epochs": EPOCHS}
        (partial / "run.json").write_text(json.dumps(said, indent=1) + "\n")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(folder)
    print(f"{home.name} {folder}: {time.time() - started:.0f} s", flush=True)
