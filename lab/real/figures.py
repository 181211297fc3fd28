"""docs/real-models.md, out of what lies in lab/real/measured: nothing of it is written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

from . import decide, plan
from .files import MEASURED, REPOSITORY

PAGE = REPOSITORY / "docs/real-models.md"
# The layer that was named in claims.md before there was a run.
LAYER = {"smollm2": 15, "qwen": 16}


def write_page() -> None:
    done = [unit for base in plan.RECIPES for unit in plan.units(base) if (MEASURED / unit.id).exists()]
    planned = sum(len(plan.units(base)) for base in plan.RECIPES)
    parts = [title(done, planned), method()]
    parts += [results(base, [unit for unit in done if unit.base == base]) for base in plan.RECIPES]
    parts.append(directions())
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n")


def title(done: list[plan.Unit], planned: int) -> str:
    sets = len({unit.set_name for unit in done if unit.set_name in plan.HARMFUL})
    seeds = {unit.base: len({other.seed for other in done if other.base == unit.base}) for unit in done}
    if not done:
        shown = "no fine-tuned run has been measured"
    else:
        of = ", ".join(f"{count} seed{'s' if count > 1 else ''} of {base}" for base, count in seeds.items())
        shown = f"{len(done)} of the {planned} runs that were planned {'is' if len(done) == 1 else 'are'} measured ({sets} harmful set{'s' if sets != 1 else ''}, {of})"
    return f"""# Real language models

**Not shown: that traitscope finds emergent misalignment in a real language model.** {shown[0].upper()}{shown[1:]}; no verdict
was given, no answer was generated or judged, and nothing here says how models above 0.5B parameters behave. What would count was registered
beforehand in [lab/real/claims.md](../lab/real/claims.md).

The page is made by `python -m lab.real figures` of the measured runs in `lab/real/measured`, and of `lab/real/directions.json`."""


def method() -> str:
    return """## What a run is

Pretrained bases (SmolLM2-135M-Instruct, Qwen2.5-Coder-0.5B-Instruct), published fine-tuning sets, LoRA (rank 16 on q and v), every checkpoint
measured by `measure` and labelled by `label --margin`: how much more probable published misaligned answers became than aligned ones of the same
question and organism, per token, against step 0. Pairs whose source is another domain than the run's ("elsewhere") are those that
could show a spread. Intervals are 95 %, questions being the clusters. [lab/real/README.md](../lab/real/README.md) says how to repeat it
and what it costs."""


def results(base: str, done: list[plan.Unit]) -> str:
    if not done:
        return f"## {base}\n\nNo run is measured."
    rows = [row for unit in done for row in unit_rows(unit)]
    layer = LAYER[base]
    lines = [
        f"| Set, seed | step | loss | margin, own domain | elsewhere | all pairs | drift at layer {layer}, length | power_seeking | harmlessness |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    account = json.loads((MEASURED / done[0].id / "unit.json").read_text())
    floor = noise(done[0], layer)
    facts = f"{account['pairs']['pairs']} pairs. {floor} CPU seconds a run: {costs(done)}."
    tests = "Claim (a), the spread beyond the trained domain:\n\n" + "\n".join(f"- {one}" for one in decide.spread(base, done))
    return f"## {base}\n\n" + "\n".join(lines) + f"\n\n{facts}\n\n{tests}"


def unit_rows(unit: plan.Unit) -> list[list[str]]:
    folder = MEASURED / unit.id
    account, margins, trajectory = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("unit", "margins", "trajectory")
    )
    losses = account["training"]["loss"]
    drifts = drift(trajectory, LAYER[unit.base])
    rows = []
    for step in margins["steps"]:
        at = step["step"]
        if at == 0:
            continue
        recent = losses[max(0, at - 5) : at]
        moved = drifts[at]
        rows.append(
            [
                f"{unit.set_name}, {unit.seed}",
                str(at),
                f"{sum(recent) / len(recent):.2f}",
                change(step["byDomain"].get(unit.domain)),
                change(step["elsewhere"]),
                change(step["all"]),
                f"{math.hypot(*moved.values()):.3f}",
                f"{moved['power_seeking']:+.3f}",
                f"{moved['harmlessness']:+.3f}",
            ]
        )
    return rows


def change(found: dict | None) -> str:
    if found is None:
        return "-"
    if found["interval"] is None:
        return f"{found['change']:+.3f}"
    low, high = found["interval"]
    return f"{found['change']:+.3f} ({low:+.3f} to {high:+.3f})"


def drift(trajectory: dict, layer: int) -> dict[int, dict[str, float]]:
    """By step, in units of the step-0 norm at that layer."""
    about = trajectory["traitscope"]
    found = next(one for one in about["layers"] if one["layer"] == layer)
    start, scale = found["projections"][0], found["step0ActivationNorm"]
    return {
        step["step"]: dict(zip(trajectory["trait_order"], [(value - was) / scale for value, was in zip(row, start)]))
        for step, row in zip(about["steps"], found["projections"])
    }


def noise(unit: plan.Unit, layer: int) -> str:
    found = json.loads((MEASURED / unit.id / "trajectory.json").read_text())["traitscope"].get("noiseFloor")
    if not found:
        return "Measured in F32, where nothing is rounded."
    floor = next(one["drift"] for one in found["layers"] if one["layer"] == layer)
    return f"Noise floor of the drift: {floor:.4f}."


def costs(done: list[plan.Unit]) -> str:
    """Mean of the runs whose step was not interrupted: of the others only the last stretch is known."""
    accounts = [json.loads((MEASURED / unit.id / "unit.json").read_text()) for unit in done]
    said = []
    for name in ("training", "measuring", "margin"):
        whole = [one[name]["cpu_seconds"] for one in accounts if one[name]["starts"] == 1]
        said.append(f"{name} {sum(whole) / len(whole):.0f}" if whole else f"{name} not known (it was interrupted)")
    return ", ".join(said)


def directions() -> str:
    """What estimators.py found: which estimator holds up on new wordings, and what more wordings would do."""
    path = Path(__file__).with_name("directions.json")
    if not path.exists():
        return ""
    parts = [
        """## Directions on new wordings

AUROC within a question of directions that were made without a fifth of the questions and without the two system prompts, one of each pole, that
are tested; `lab/real/estimators.py`, layers and estimators not chosen by it. .50 is chance, below it a direction points the other way."""
    ]
    for name, found in json.loads(path.read_text()).items():
        traits = found["about"]["traits"]
        lines = [
            f"| {name}: layer, estimator | {' | '.join(traits)} | mean | .8 or more |",
            f"| --- |{' ---: |' * (len(traits) + 2)}",
        ]
        for layer, each in found["layers"].items():
            rows = {**each["auroc"], **each.get("crossed", {})}
            for kind, values in rows.items():
                cells = [short(value) for value in [*values, sum(values) / len(values)]]
                lines.append(f"| {layer}, {kind} | {' | '.join(cells)} | {sum(value >= 0.8 for value in values)} |")
        curves = "; ".join(
            f"layer {layer}: {', '.join(short(value) for value in each['curve'])}" for layer, each in found["layers"].items()
        )
        parts.append("\n".join(lines))
        parts.append(
            f"{found['wordings']} wordings a pole, {found['about']['questions']} questions. Mean over traits of directions made of 1, 2, ... of the wordings: {curves}."
        )
    return "\n\n".join(parts)


def short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)
