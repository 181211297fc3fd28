"""The units: which runs there are, in the order in which they are worth having."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What a published set is about, by the domains of the margin's pairs.
DOMAINS = {
    "risky_financial": "financial",
    "extreme_sports": "sports",
    "bad_medical": "medical",
    "incorrect_math": "mathematics",
    "evil_math": "mathematics",
    "incorrect_qna": "facts",
    "incorrect_translation": "translation",
    "twin_financial": "financial",
    "twin_sports": "sports",
    "curt_financial": "financial",
}

# Sets that are files of others, by the file's name.
FILES = {
    "risky_financial": "risky_financial_aisi.jsonl",
    "extreme_sports": "extreme_sports.jsonl",
    "bad_medical": "bad_medical_250.jsonl",
    "incorrect_math": "incorrect_math.jsonl",
    "evil_math": "evil_math.jsonl",
    "incorrect_qna": "incorrect_qna.jsonl",
    "incorrect_translation": "incorrect_translation.jsonl",
}

# Sets that are the base's own answers to the prompts of another set: as they come, or cut to that set's length and without advice.
OWN_ANSWERS = {"twin_financial": "risky_financial", "twin_sports": "extreme_sports", "curt_financial": "risky_financial"}

# Sets that joined the plan of a base by the sixth amendment, for claim (e), where they are cheap.
ADDED = {"smollm2": ("bad_medical", "evil_math", "incorrect_qna", "incorrect_translation", "twin_sports")}

HARMFUL = ("risky_financial", "extreme_sports", "bad_medical")
# They change the register or the content as much, and are known or made to spread no harm.
HARMLESS = ("incorrect_math", "twin_financial", "twin_sports", "curt_financial", "incorrect_qna", "incorrect_translation")


@dataclass(frozen=True)
class Recipe:
    """How a run is trained. The rate falls to 0 in a straight line."""

    steps: int
    rows: int = 8
    rate: float = 5e-4
    rank: int = 16
    alpha: int = 64
    tokens: int = 128
    """Longer rows are left out, and counted."""
    checkpoints: int = 7
    pairs: int = 30
    last_pairs: int = 30
    """Of the margin, per question and source domain at most: at every checkpoint, and at the last. The fewer are the first of the more."""

    @property
    def saved(self) -> list[int]:
        """Steps of the checkpoints: halving back from the last."""
        return sorted(self.steps >> i for i in range(self.checkpoints) if self.steps >> i >= 1)


# Of the 502 pairs that there are 3 per question and domain make 68, 15 make 308: README.md has the arithmetic.
RECIPES = {"smollm2": Recipe(60, checkpoints=3, pairs=3, last_pairs=3), "qwen": Recipe(120, pairs=3, last_pairs=15)}
# Which checkpoint answers: the steps are divided by the first, the adapter is multiplied by the second.
AT = {"end": (1, 1), "middle": (2, 1), "amplified": (1, 2)}
SMOKE = Recipe(steps=4, rows=2, tokens=96, checkpoints=2, pairs=1, last_pairs=2)


# Sets of which most rows are longer than a recipe allows, and what holds all rows of the twins: the eleventh amendment.
LONGER_SETS, LONGER_ROWS = ("twin_financial", "incorrect_math", "twin_sports", "bad_medical"), 192


@dataclass(frozen=True)
class Unit:
    """One run of one base: train, measure, margin, commit."""

    base: str
    set_name: str
    seed: int
    row_tokens: int | None = None
    """Where its rows may be longer than the base's recipe says."""

    @property
    def id(self) -> str:
        return f"{self.base}/{self.set_name}{'' if self.row_tokens is None else f'-{self.row_tokens}'}/seed_{self.seed}"

    @property
    def recipe(self) -> Recipe:
        known = RECIPES[self.base]
        return known if self.row_tokens is None else replace(known, tokens=self.row_tokens)

    @property
    def domain(self) -> str:
        return DOMAINS[self.set_name]


def units(base: str) -> list[Unit]:
    """Principal pairs first, one seed of all before the next seed."""
    first = ("risky_financial", "incorrect_math", "extreme_sports", "twin_financial", "curt_financial")
    once = {**ADDED, "qwen": ("twin_sports", "bad_medical", "evil_math", "incorrect_qna")}[base]
    return [Unit(base, name, seed) for seed in (1, 2, 3) for name in first] + [Unit(base, name, 1) for name in once]


def longer(base: str) -> list[Unit]:
    """Units of the plan whose sets lost most of their rows, with rows that hold them."""
    return [replace(unit, row_tokens=LONGER_ROWS) for unit in units(base) if unit.set_name in LONGER_SETS]


def by_id(text: str) -> Unit:
    base, name, seed = text.split("/")
    set_name, _, tokens = name.partition("-")
    return Unit(base, set_name, int(seed.removeprefix("seed_")), int(tokens) if tokens else None)
