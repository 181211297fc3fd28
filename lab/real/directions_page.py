"""The part of docs/real-models.md on directions, of directions.json (estimators.py) and frozen.json (frozen.py)."""

from __future__ import annotations

import json
from pathlib import Path

from .stats import mean

# The estimator that ships; beside it a table shows the one that orders best over its layers.
SHIPPED = "mean difference"


def directions() -> str:
    """What estimators.py found: which estimator holds up on new wordings, and what more wordings would do."""
    path = Path(__file__).with_name("directions.json")
    if not path.exists():
        return ""
    parts = [
        """## Directions on new wordings

AUROC within a question of directions that were made without a fifth of the questions and without the two system prompts, one of each pole, that
are tested; `lab/real/estimators.py`, layers and estimators not chosen by it. .50 is chance, below it a direction points the other way. The score of the claims weighs
harmlessness most, because organisms do; near the layers that it reads, of all traits that one's direction holds up worst here. The candidate's wordings come in pairs of one form: left out singly, as here, they
are ordered worse than new ones would be, because the direction then holds one form less another."""
    ]
    for name, found in json.loads(path.read_text()).items():
        traits = found["about"]["traits"]
        lines = [
            f"| {name}: layer, estimator | {' | '.join(traits)} | mean | .8 or more |",
            f"| --- |{' ---: |' * (len(traits) + 2)}",
        ]
        gains: dict[str, list[float]] = {}
        for each in found["layers"].values():
            for kind, values in each["auroc"].items():
                gains.setdefault(kind, []).append(mean(values) - mean(each["auroc"][SHIPPED]))
        best = max(gains.keys() - {SHIPPED}, key=lambda kind: mean(gains[kind]))
        for layer, each in found["layers"].items():
            for kind, values in {**each["auroc"], **each.get("crossed", {})}.items():
                if kind in gains and kind not in (SHIPPED, best):
                    continue
                cells = [short(value) for value in [*values, mean(values)]]
                lines.append(f"| {layer}, {kind} | {' | '.join(cells)} | {sum(value >= 0.8 for value in values)} |")
        curves = "; ".join(
            f"layer {layer}: {', '.join(short(value) for value in each['curve'])}" for layer, each in found["layers"].items()
        )
        others = "; ".join(
            f"{kind} {min(each):+.2f} to {max(each):+.2f}" for kind, each in gains.items() if kind not in (SHIPPED, best)
        )
        parts.append("\n".join(lines))
        parts.append(
            f"{found['wordings']} wordings a pole, {found['about']['questions']} questions. Other estimators, their mean less that of the {SHIPPED} over the layers: {others}. "
            f"Mean over traits of directions made of 1, 2, ... of the wordings: {curves}."
        )
    return "\n\n".join(parts)


def frozen() -> str:
    """What frozen.py chose within the pack core-2, and what the choice gave on wordings that were written afterwards."""
    path = Path(__file__).with_name("frozen.json")
    if not path.exists():
        return ""
    parts = [
        """## Directions of the pack core-2

The pack has system prompts of many forms, in pairs that differ by the pole alone (`lab/real/pack.py`). `lab/real/frozen.py` makes directions without a
question and without both pairs of the two system prompts that are tested, chooses block and estimator by the mean over traits, and scores them
once on five system prompts a pole of other forms (`lab/real/frozen-wordings.yaml`), under questions that the pack does not ask: AUROC within a question
over all pairs of a positive and a negative one, 95 % intervals by wordings and questions drawn again. For Qwen they were written after pack, block and
estimator had been frozen by a commit; for SmolLM2 they were known, and nothing but block and estimator was chosen, in the same way."""
    ]
    for name, found in json.loads(path.read_text()).items():
        traits = found["about"]["traits"]
        inputs = 2 * found["wordings"] * found["about"]["questions"]
        rows = [
            f"| {name}: block, estimator | {' | '.join(traits)} | mean | .8 or more |",
            f"| --- |{' ---: |' * (len(traits) + 2)}",
        ]
        for layer, each in found["inner"].items():
            for kind, values in each.items():
                rows.append(frozen_row(f"{layer}, {kind}, within the pack", [short(value) for value in values], values))
        scored = found.get("scored", {"directions": {}})["directions"]
        for kind, each in scored.items():
            cells = [f"{short(one['auroc'])} ({short(one['interval'][0])} to {short(one['interval'][1])})" for one in each]
            rows.append(frozen_row(f"{kind}, **new wordings**", cells, [one["auroc"] for one in each]))
        parts.append("\n".join(rows))
        chosen = f"{inputs} inputs a trait. Chosen within the pack: block {found['layer']}, {found['estimator']}."
        if scored:
            pairs = [f"{trait} {short(one['paired'])}" for trait, one in zip(traits, next(iter(scored.values())))]
            chosen += f" Of the new wordings, pairs of one form alone: {', '.join(pairs)}."
        parts.append(chosen)
    return "\n\n".join(parts)


def frozen_row(name: str, cells: list[str], values: list[float]) -> str:
    return f"| {name} | {' | '.join(cells)} | {short(mean(values))} | {sum(value >= 0.8 for value in values)} |"


def short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)
