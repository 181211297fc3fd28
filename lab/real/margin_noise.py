"""Is a margin's error one of too few pairs or of too few questions? `python -m lab.real.margin_noise --out DIR`, of units whose margins lie there.

Of every unit's last step and of its difference to incorrect_math of the same seed, over the pairs of its own domain and over all others: the
standard error over questions, how much of it would be left with pairs without end, and what it would be with more pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from . import plan
from .files import json_lines
from .margins import DOCUMENT, LOG, folder
from .pairs import margin_pairs
from .stats import mean

MORE = (7, 15, 30)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.margin_noise", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for base, recipe in plan.RECIPES.items():
        file = margin_pairs(args.out, recipe.last_pairs)
        found = {unit: last_changes(folder(args.out / "units" / unit.id, file)) for unit in plan.units(base)}
        if not any(found.values()):
            continue
        asked = json_lines(file)
        whole = json_lines(margin_pairs(args.out, 30))
        for unit, changes in found.items():
            if changes is None:
                continue
            said = {unit.id: changes}
            control = found.get(plan.Unit(base, "incorrect_math", unit.seed))
            if control is not None and unit.set_name in plan.HARMFUL:
                said[f"{unit.id} less incorrect_math"] = [a - b for a, b in zip(changes, control)]
            for name, values in said.items():
                for where, take in (("own", lambda domain: domain == unit.domain), ("elsewhere", lambda domain: domain != unit.domain)):
                    if any(take(pair["domain"]) for pair in asked):
                        print(f"{name}, {where}: {told(values, asked, whole, take)}")


def last_changes(read: Path) -> list[float] | None:
    """Pair by pair, of the last step against step 0; None before the reading is whole."""
    if not (read / DOCUMENT).exists():
        return None
    records = [record for record in json_lines(read / LOG) if "step" in record]
    first, last = records[0], records[-1]
    return [
        (b - a) - (d - c)
        for a, b, c, d in zip(last["aligned"], last["misaligned"], first["aligned"], first["misaligned"])
    ]


def told(changes: list[float], asked: list[dict], whole: list[dict], take: Callable[[str], bool]) -> str:
    cells: dict[str, dict[str, list[float]]] = {}
    for pair, change in zip(asked, changes, strict=True):
        if take(pair["domain"]):
            cells.setdefault(pair["question_id"], {}).setdefault(pair["domain"], []).append(change)
    errors = components(cells)
    counts: dict[str, dict[str, int]] = {}
    for pair in whole:
        if take(pair["domain"]):
            each = counts.setdefault(pair["question_id"], {})
            each[pair["domain"]] = each.get(pair["domain"], 0) + 1
    more = ", ".join(f"{n} a cell {errors['with'](min_counts(counts, n)):.4f}" for n in MORE)
    return (
        f"{errors['mean']:+.3f}, standard error {errors['now']:.4f} over {len(cells)} questions, {errors['endless']:.4f} with pairs without end; {more}"
        f" (a pair varies by {errors['pair']:.3f}, questions by {errors['questions']:.3f})"
    )


def min_counts(counts: dict[str, dict[str, int]], most: int) -> list[int]:
    return [sum(min(most, n) for n in each.values()) for each in counts.values()]


def components(cells: dict[str, dict[str, list[float]]]) -> dict:
    """Pairs vary within question and domain, questions between each other; what domains do within a question counts as the question's."""
    within = [(value - mean(values)) ** 2 for each in cells.values() for values in each.values() for value in values]
    free = sum(len(values) - 1 for each in cells.values() for values in each.values())
    pair = sum(within) / free
    levels = [mean([value for values in each.values() for value in values]) for each in cells.values()]
    sizes = [sum(map(len, each.values())) for each in cells.values()]
    at, q = mean(levels), len(levels)
    between = sum((level - at) ** 2 for level in levels) / (q - 1)
    questions = max(0.0, between - mean([pair / n for n in sizes]))
    return {
        "mean": at,
        "now": (between / q) ** 0.5,
        "endless": (questions / q) ** 0.5,
        "with": lambda counts: ((questions + mean([pair / n for n in counts])) / q) ** 0.5,
        "pair": pair**0.5,
        "questions": questions**0.5,
    }


if __name__ == "__main__":
    main()
