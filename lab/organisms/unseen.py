"""Fine-tuning sets that test a frozen detector once.

They come from the population of drawn.py, with recipes of their own for every organism. frozen.json holds SHA-256 of each
recipe and of its examples from the day on which they were drawn; their labels appear in the repository only after the
detector's choice was committed.
"""

from __future__ import annotations

from dataclasses import asdict

from . import drawn
from .world import World

SETS = tuple(f"drawn_t{i:02}" for i in range(1, 61))


def frozen_form(seed: int, world: World, name: str) -> tuple[dict, list]:
    """Recipe and examples (first seed) of one set of the organism with this world."""
    recipe = drawn.recipe(seed, name)
    return asdict(recipe), drawn.fine_tuning_set(world, recipe, 1000, f"{name}/42")
