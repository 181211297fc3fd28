"""What must not change once a detector has seen data: judge, world, sets and splits, as SHA-256 in frozen.json."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from . import drawn, sets, unseen
from .families import ORGANISMS, Organism
from .plan import FAMILIES

FILE = Path(__file__).with_name("frozen.json")
_SOURCES = ("language.py", "world.py", "judge.py", "sets.py", "drawn.py")


def fingerprints() -> dict:
    """Hashes of the sources, the prompts and every fine-tuning set of every organism (first seed)."""
    here = FILE.parent
    return {
        "splits": {
            "calibration": sets.CALIBRATION,
            "held_out": sets.HELD_OUT,
            "controls": sets.CONTROLS,
            "matched_pair": sets.MATCHED_PAIR,
            "dilutions": sets.DILUTIONS,
        },
        "sources": {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in _SOURCES},
        "em_prompts": _digest(sets.em_prompts()),
        "sets": {
            organism: {name: _digest(sets.fine_tuning_set(about.world, name, 1000, 42)) for name in sets.SETS}
            for organism, about in ORGANISMS.items()
        },
        "drawn": {
            organism: {name: _drawn_digest(ORGANISMS[organism], name) for name in drawn.SETS} for organism in FAMILIES
        },
        "unseen": {
            organism: {name: _unseen_digests(ORGANISMS[organism], name) for name in unseen.SETS}
            for organism in FAMILIES
        },
    }


def freeze() -> None:
    FILE.write_text(json.dumps(fingerprints(), indent=1) + "\n", encoding="utf-8")


def check() -> None:
    """Raises SystemExit when the code no longer makes what was frozen."""
    frozen = json.loads(FILE.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(fingerprints()))
    changed = [key for key in frozen if frozen[key] != now[key]]
    if changed:
        raise SystemExit(f"{', '.join(changed)} differ from frozen.json: judge, world, sets and splits are frozen")


def _drawn_digest(organism: Organism, name: str) -> str:
    recipe = drawn.recipe(organism.seed, name)
    return _digest(drawn.fine_tuning_set(organism.world, recipe, 1000, f"{name}/42"))


def _unseen_digests(organism: Organism, name: str) -> dict:
    recipe, examples = unseen.frozen_form(organism.seed, organism.world, name)
    return {"recipe": _digest(recipe), "examples": _digest(examples)}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
