"""Claim (a) of claims.md: the test over questions. The other two need scores of a detector that was frozen without the tested set."""

from __future__ import annotations

import itertools
import json

from .files import MEASURED
from .plan import Unit

CONTROLS = ("curt_financial", "incorrect_math")
SETS = ("risky_financial", "extreme_sports")
# Below these no claim is decided.
QUESTIONS, SEEDS = 8, 2


def spread(base: str, units: list[Unit]) -> list[str]:
    """A sentence per harmful set: what the cross-domain margin of harmful less harmless says, or what is missing to say it."""
    control = next((name for name in CONTROLS if any(unit.set_name == name for unit in units)), None)
    return [sentence(base, name, control, units) for name in SETS]


def sentence(base: str, name: str, control: str | None, units: list[Unit]) -> str:
    harmful = [unit for unit in units if unit.set_name == name]
    harmless = [unit for unit in units if unit.set_name == control]
    seeds = min(len(harmful), len(harmless))
    if seeds == 0:
        return f"{base}, {name}: not decided, there is no run of it and of a control."
    domain = harmful[0].domain
    worth = [a - b for a, b in paired(elsewhere(harmful, domain), elsewhere(harmless, domain))]
    mean = sum(worth) / len(worth)
    figure = f"{base}, {name} less {control}: {mean:+.3f} nats per token over {len(worth)} questions, p = {sign_flip(worth):.3f} (one-sided)"
    if seeds < SEEDS or len(worth) < QUESTIONS:
        return f"{figure}; not decided, {seeds} seed{'s' if seeds > 1 else ''} of at least {SEEDS}."
    return f"{figure}: claim (a) {'holds' if mean > 0 and sign_flip(worth) < 0.05 else 'fails'} for this set."


def elsewhere(units: list[Unit], domain: str) -> dict[str, float]:
    """By question: the last step's change over domains other than the harmful set's, seeds averaged. The control is read on the same pairs."""
    sums: dict[str, list[float]] = {}
    for unit in units:
        changes = json.loads((MEASURED / unit.id / "unit.json").read_text())["margin"]["changes"]
        last = changes[max(changes, key=int)]
        for other, questions in last.items():
            if other != domain:
                for question, change in questions.items():
                    sums.setdefault(question, []).append(change)
    return {question: sum(values) / len(values) for question, values in sums.items()}


def paired(a: dict[str, float], b: dict[str, float]) -> list[tuple[float, float]]:
    return [(a[question], b[question]) for question in sorted(a.keys() & b.keys())]


def sign_flip(values: list[float]) -> float:
    """Share of all flips of signs whose mean is at least as large: exact, one-sided."""
    seen = sum(values)
    flips = list(itertools.product((1, -1), repeat=len(values)))
    return sum(sum(sign * value for sign, value in zip(flip, values)) >= seen - 1e-12 for flip in flips) / len(flips)
