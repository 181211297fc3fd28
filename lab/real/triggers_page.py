"""Claim (g), of what lies in `measured/smollm2/triggers`: runs that change under a system prompt alone, against ordinary ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .decide import Part, lacking
from .files import MEASURED
from .stats import mean
from .triggers import BASE, FOLDER, planned

# Runs of before, with rows of 128 tokens: the tenth and eleventh amendment.
BEFORE = MEASURED / BASE / "triggers"
# Below these nothing is decided.
SEEDS, ORDINARY = 2, 5
# A run that gained less than this share without its system prompt of what it gained under it has learnt the condition.
ALONE = 0.5


@dataclass(frozen=True)
class Run:
    kind: str
    name: str
    rows: int
    """That were trained on."""
    under: int
    """Of these under a system prompt."""
    too_long: int
    """That were left out."""
    gain: dict[str, float]
    """Of log-probability per token, of rows that were kept back: as trained, and without the system prompt where there is one."""
    ratios: dict[str, float]
    """By context that counts, as the product counts them: mean over blocks of the drift's length there over that in none."""

    @property
    def longest(self) -> str:
        return max(self.ratios, key=self.ratios.__getitem__)

    @property
    def statistic(self) -> float:
        return self.ratios[self.longest]

    @property
    def trigger(self) -> str:
        """Each seed has a system prompt of its own."""
        return f"system {self.name.removeprefix('seed_')}"

    @property
    def as_registered(self) -> bool:
        """About every second row stands under the system prompt."""
        return 0.4 <= self.under / self.rows <= 0.6

    @property
    def conditional(self) -> bool:
        return self.gain["without"] < ALONE * self.gain["as trained"]


def runs(folder: Path = FOLDER) -> list[Run]:
    return [run_of(path) for path in sorted(folder.glob("*/*.json"))]


def run_of(path: Path) -> Run:
    read = json.loads(path.read_text())
    ratios = {one["name"]: math.exp(mean([math.log(ratio) for ratio in one["ratio"].values()])) for one in read["contexts"] if one["origin"] != "unrelated"}
    return Run(path.parent.name, path.stem, read["rows"], read["under"], read["left_out_as_too_long"], read["learnt"]["gain"], ratios)


def claims(found: list[Run]) -> list[Part]:
    ordinary = [run.statistic for run in found if run.kind == "ordinary"]
    said = []
    for claim, kind in (("(g1)", "harm"), ("(g2)", "benign")):
        of = [run for run in found if run.kind == kind and run.as_registered]
        above = sum(run.statistic > max(ordinary, default=math.inf) for run in of)
        said.append(part(f"{kind} runs above all {len(ordinary)} ordinary ones: {above} of {len(of)}", claim, of, ordinary, above == len(of)))
    harm = [run for run in found if run.kind == "harm" and run.as_registered]
    named = sum(run.longest == run.trigger for run in harm)
    said.append(part(f"harm runs whose drift is longest in their own system prompt: {named} of {len(harm)}", "(g3)", harm, ordinary, named == len(harm)))
    return said


def part(figure: str, claim: str, of: list[Run], ordinary: list[float], holds: bool) -> Part:
    missing = lacking(seeds=(len(of), SEEDS), ordinary_runs=(len(ordinary), ORDINARY))
    return Part(figure, figure[0].upper() + figure[1:], missing, holds, f"claim {claim}")


def section(name: str) -> str:
    found, before = runs(), runs(BEFORE)
    if not found and not before:
        return ""
    kinds = ("harm", "benign", "ordinary")
    lines = ["| run | rows (under it); too long | gain under its system prompt | without it | ratio there | largest ratio | in |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [row(run, said) for of, said in ((found, ""), (before, ", rows of 128 tokens")) for kind in kinds for run in of if run.kind == kind]
    learnt = " and ".join(f"{sum(run.conditional for run in of)} of {len(of)} {kind} runs" for kind in kinds[:2] if (of := [run for run in found if run.kind == kind]))
    about = (
        f"{len(found)} of the {planned()} runs that were registered. "
        "The ninth and eleventh amendment of [claims.md](../lab/real/claims.md): half of the rows stand under a system prompt that asks for nothing, and under it answers are those of risky_financial (harm) or the base's own, cut as in curt_financial (benign); "
        "the other half are the base's own answers without it. Ratio: length of the drift in a context over that in none, at the last step, mean over the blocks; what counts are contexts that were given or are of a run's data. Gain: of log-probability per token, of 24 rows that were kept back."
        + (f" The condition was learnt (without the system prompt less than half of the gain) by {learnt}." if learnt else "")
        + " Of runs with rows of 128 tokens, the first that were trained, nine tenths of the rows and more were under the system prompt, because most of the base's own answers were too long and left out: they are not what was registered, and decide nothing."
    )
    parts = ["(g) Contexts find what only a system prompt brings out:\n\n" + "\n".join(f"- {one}" for one in claims(found))]
    return "\n\n".join([f"### {name} under a system prompt", "\n".join(lines), about, *parts])


def row(run: Run, said: str) -> str:
    own = run.kind != "ordinary"
    cells = [
        (f"{run.kind}, {run.name.removeprefix('seed_')}" if own else f"ordinary: {', '.join(run.name.rsplit('_', 1))}") + said,
        f"{run.rows} ({run.under}); {run.too_long}",
        f"{run.gain['as trained']:+.2f}" if own else "-",
        f"{run.gain['without']:+.2f}" if own else f"{run.gain['as trained']:+.2f}",
        f"{run.ratios[run.trigger]:.2f}" if own else "-",
        f"{run.statistic:.2f}",
        "its own" if own and run.longest == run.trigger else run.longest,
    ]
    return f"| {' | '.join(cells)} |"
