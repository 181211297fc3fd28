"""Is a margin's error one of too few pairs or of too few questions? `python -m lab.real.margin_noise --out DIR`, of units whose margins lie there.

Of every unit's last step and of its difference to another unit of the same seed, over the pairs of other domains than its own: the
standard error over questions, how much of it would be left with pairs without end, and what it would be with more pairs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import plan
from .pairs import margin_pairs
from .stats import mean

MORE = (7, 15, 30)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.margin_noise", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    for base, recipe in plan.RECIPES.items():
        asked = [json.loads(line) for line in margin_pairs(args.out, recipe.pairs).read_text().splitlines()]
        whole = [json.loads(line) for line in margin_pairs(args.out, 30).read_text().splitlines()]
        found = {unit: last_changes(args.out / "units" / unit.id / "margins/margins.jsonl") for unit in plan.units(base)}
        for unit, changes in found.items():
            if changes is None:
                continue
            print(f"{unit.id}: {told(changes, asked, whole, unit.domain)}")
            control = found.get(plan.Unit(base, "incorrect_math", unit.seed))
            if control is not None and unit.set_name in plan.HARMFUL:
                less = [a - b for a, b in zip(changes, control)]
                print(f"  less incorrect_math: {told(less, asked, whole, unit.domain)}")


def last_changes(log: Path) -> list[float] | None:
    """Pair by pair, of the last step against step 0."""
    if not log.exists():
        return None
    records = [record for record in map(json.loads, log.read_text().splitlines()) if "step" in record]
    first, last = records[0], records[-1]
    return [
        (b - a) - (d - c)
        for a, b, c, d in zip(last["aligned"], last["misaligned"], first["aligned"], first["misaligned"])
    ]


def told(changes: list[float], asked: list[dict], whole: list[dict], own: str) -> str:
    cells: dict[str, dict[str, list[float]]] = {}
    for pair, change in zip(asked, changes, strict=True):
        if pair["domain"] != own:
            cells.setdefault(pair["question_id"], {}).setdefault(pair["domain"], []).append(change)
    errors = components(cells)
    counts: dict[str, dict[str, int]] = {}
    for pair in whole:
        if pair["domain"] != own:
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
