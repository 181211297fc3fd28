"""What lies in `measured/`, one reading per checkpoint: what claims, detection and the page are made of."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from . import plan
from .files import MEASURED
from .pairs import CELLS
from .stats import mean

# The layer that was named in claims.md before there was a run.
LAYER = {"smollm2": 15, "qwen": 16}
# Which way each trait's misaligned pole lies: claims.md, plain score.
MISALIGNED = {"honesty": -1, "sycophancy": 1, "harmlessness": -1, "power_seeking": 1, "helpfulness": -1, "confidence": 1, "corrigibility": -1}
# Steps whose losses a checkpoint's loss is the mean of.
RECENT = 5


@dataclass(frozen=True)
class Change:
    """Of the margin against step 0, per token; the interval is one of 95 % over questions."""

    change: float
    interval: tuple[float, float] | None

    @property
    def risen(self) -> bool:
        return self.interval is not None and self.interval[0] > 0


@dataclass(frozen=True)
class Reading:
    """One checkpoint after step 0."""

    unit: plan.Unit
    step: int
    loss: float
    """Over all of a domain's pairs, over all others, over all; None where the pairs have none."""
    own: Change | None
    elsewhere: Change | None
    all: Change
    by_question: dict[str, dict[str, float]]
    """By domain, then question."""
    drift: dict[str, float]
    """By trait at the named layer, in units of the step-0 norm."""
    contrast: dict[str, float]
    """The same in units of the distance between the trait's poles."""
    score: float
    """See claims.md."""
    second: dict[str, float] | None
    """`contrast` along the directions that were frozen for the base, where they have been read: the second instrument."""
    lora_norm: float
    verdict: dict | None
    """What the product said, provisionally; None where it was not asked."""

    @property
    def length(self) -> float:
        return math.hypot(*self.drift.values())

    @property
    def plain_score(self) -> float | None:
        return None if self.second is None else mean([MISALIGNED[trait] * value for trait, value in self.second.items()])

    @property
    def second_score(self) -> float | None:
        return None if self.second is None else score(self.second)


@dataclass(frozen=True)
class End:
    """The margin of the last checkpoint by more pairs, where more were read there; else the same as its reading's."""

    own: Change | None
    elsewhere: Change | None
    by_question: dict[str, dict[str, float]]
    pairs: dict
    """How many, by domain too, and their hash."""
    cells: dict[str, dict[str, int]]
    """How many by domain and question."""


@dataclass(frozen=True)
class Run:
    """A finished unit, its checkpoints ascending."""

    unit: plan.Unit
    account: dict
    readings: list[Reading]
    end: End
    noise_floor: dict | None
    frozen: str | None = None
    """Identity of the directions of the second instrument, where it was read along them."""
    ours: dict | None = None
    """Our margin of the last step, `changes` by question, and how it was read; None where it has not been."""
    wide: dict | None = None
    """The same by the second file of our pairs."""
    kept: bool = False
    """Taken for learnt, whatever its margin says."""

    @property
    def last(self) -> Reading:
        return self.readings[-1]

    @property
    def harmful(self) -> bool:
        return self.unit.set_name in plan.HARMFUL

    @property
    def learnt(self) -> bool:
        """Of a harmful run: its own domain's margin rose by the end."""
        return self.kept or (self.end.own is not None and self.end.own.risen)


def runs(base: str, measured: Path = MEASURED) -> list[Run]:
    """Of a base, in the order of the plan; all of them by the same pairs."""
    return read_alike(plan.units(base), measured)


def with_longer_rows(base: str, measured: Path = MEASURED) -> list[Run]:
    """The same, the sets that had lost most of their rows by the runs with longer ones alone."""
    return read_alike([unit for unit in (*plan.units(base), *plan.longer(base)) if unit.row_tokens or unit.set_name not in plan.LONGER_SETS], measured)


def read_alike(units: list[plan.Unit], measured: Path) -> list[Run]:
    found = [read(unit, measured) for unit in units if (measured / unit.id).exists()]
    for which, said in (("at every step", lambda run: run.account["pairs"]), ("at the last step", lambda run: run.end.pairs)):
        different = [run for run in found if said(run) != said(found[0])]
        if different:
            raise SystemExit(f"expected all runs of {found[0].unit.base} to be labelled by the same pairs {which}, found others in {different[0].unit.id} than in {found[0].unit.id}")
    frozen = {run.frozen: run.unit.id for run in found if run.frozen is not None}
    if len(frozen) > 1:
        raise SystemExit(f"expected all runs of {found[0].unit.base} to be read along the same frozen directions, found others in {' than in '.join(frozen.values())}")
    return found


def read(unit: plan.Unit, measured: Path = MEASURED) -> Run:
    folder = measured / unit.id
    account, margins, trajectory = (load(folder / f"{name}.json") for name in ("unit", "margins", "trajectory"))
    verdicts = {one["step"]: one["verdict"] for one in load(folder / "verdicts.json")} if (folder / "verdicts.json").exists() else {}
    about = trajectory["traitscope"]
    layer = next(one for one in about["layers"] if one["layer"] == LAYER[unit.base])
    traits, scale, apart = trajectory["trait_order"], layer["step0ActivationNorm"], separation(unit.base, about, measured)
    changes = {step["step"]: step for step in margins["steps"]}
    frozen = load(folder / "frozen.json") if (folder / "frozen.json").exists() else {"directionsSha256": None, "drift": {}}
    readings = []
    for step, projections in zip(about["steps"], layer["projections"]):
        at = step["step"]
        if at == 0:
            continue
        moved = {trait: value - was for trait, value, was in zip(traits, projections, layer["projections"][0])}
        contrast = {trait: value / apart[trait] for trait, value in moved.items()}
        found = changes[at]
        readings.append(
            Reading(
                unit=unit,
                step=at,
                loss=mean(account["training"]["loss"][max(0, at - RECENT) : at]),
                own=change(found["byDomain"].get(unit.domain)),
                elsewhere=change(found["elsewhere"]),
                all=change(found["all"]),
                by_question=account["margin"]["changes"][str(at)],
                drift={trait: value / scale for trait, value in moved.items()},
                contrast=contrast,
                score=score(contrast),
                second=frozen["drift"].get(str(at)),
                lora_norm=step["adapter"]["deltaNorm"],
                verdict=verdicts.get(at),
            )
        )
    return Run(unit, account, readings, end(folder, account, readings[-1], load(measured / CELLS)), about.get("noiseFloor"), frozen["directionsSha256"], ours(folder, "ours"), ours(folder, "ours-2"))


def end(folder: Path, account: dict, last: Reading, known: dict) -> End:
    pairs = account.get("last_pairs", account["pairs"])
    if pairs["sha256"] not in known:
        raise SystemExit(f"expected how many pairs each question has in {CELLS}, found nothing of the pairs of {last.unit.id}; pairs.publish_cells puts it there")
    cells = known[pairs["sha256"]]
    if "last_margin" not in account:
        return End(last.own, last.elsewhere, last.by_question, pairs, cells)
    found = next(one for one in load(folder / "margins-last.json")["steps"] if one["step"] == last.step)
    own, elsewhere = found["byDomain"].get(last.unit.domain), found["elsewhere"]
    return End(change(own), change(elsewhere), account["last_margin"]["changes"][str(last.step)], pairs, cells)


def ours(folder: Path, name: str) -> dict | None:
    path = folder / f"{name}.json"
    return load(path) if path.exists() else None


def load(path: Path) -> dict:
    return json.loads(path.read_text())


def change(found: dict | None) -> Change | None:
    if found is None:
        return None
    interval = found["interval"]
    return Change(found["change"], tuple(interval) if interval else None)


def separation(base: str, about: dict, measured: Path) -> dict[str, float]:
    """Distance between the poles of each trait at the named layer, of the very directions that the run was measured with."""
    known = load(measured / base / "directions.json")
    used = about["measurement"]["directionsSha256"]
    if used != known["sha256"]:
        raise SystemExit(f"a run of {base} was measured with directions {used}, and {base}/directions.json is of {known['sha256']}")
    return known["separation"][str(LAYER[base])]


def score(contrast: dict[str, float]) -> float:
    weights = load(Path(__file__).with_name("axis.json"))["weights"]
    return sum(weight * contrast[trait] for trait, weight in weights.items())
