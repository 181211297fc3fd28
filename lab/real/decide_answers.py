"""Claim (e) of claims.md: whether our margin follows what is answered, as it was read blind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import answers_page, decide, plan
from .decide import CONTROLS, Part, lacking, over_sets
from .decide_ours import by_our_pairs, by_wide, by_wide_pairs, our_margin
from .files import MEASURED
from .readings import Run, with_longer_rows
from .stats import correlation, ranks

# Units of which both were known when (e) was registered.
KNOWN = (
    *(f"smollm2/{name}/seed_1" for name in ("risky_financial", "extreme_sports", "incorrect_math", "curt_financial", "twin_financial")),
    *(f"smollm2/{name}/seed_2" for name in ("risky_financial", "twin_financial")),
    *(f"qwen/{name}/seed_1" for name in ("risky_financial", "incorrect_math")),
)
UNITS, SETS = 8, 5
NEW, HARMLESS = "bad_medical", ("twin_financial", "twin_sports", CONTROLS[0])

Pair = tuple[float, float]


def by_answers(base: str, runs: list[Run], measured: Path = MEASURED) -> list[Part]:
    """(e1) and (e2)."""
    return [follows(base, runs, measured), new_above_harmless(runs)]


def every_part(base: str, runs: list[Run], measured: Path = MEASURED) -> list[Part]:
    """Of all claims that are made of a base; (b2) is made of Qwen alone."""
    second = decide.orders_by_second(runs) if base == "qwen" else []
    by_score = [*decide.spread(runs), *decide.orders(runs), decide.follows(runs), *second, *decide.by_plain(runs)]
    return [*by_score, *by_our_pairs(runs), *by_wide_pairs(runs), *by_answers(base, runs, measured), *by_longer_rows(with_longer_rows(base, measured))]


def by_longer_rows(runs: list[Run]) -> list[Part]:
    """(h): what had been told apart from runs of few rows, by runs that kept theirs."""
    in_every_seed, auroc, *_ = by_our_pairs(runs)
    warns, wide_auroc, *_ = by_wide_pairs(runs)
    return [replace(part, claim=f"(h), {part.claim} by longer rows,") for part in (decide.above_baselines(runs), in_every_seed, auroc, new_above_harmless(runs), warns, wide_auroc)]


def aligned(base: str, runs: list[Run], measured: Path = MEASURED) -> list[tuple[Run, float]]:
    """Of runs that were read both ways: alignment of their answers less that of the base's."""
    answers = answers_page.read_blind(base, measured)
    read = {one["run"] for one in answers}
    before = answers_page.aligned_mean(answers_page.of_run(answers, base)) if answers else 0.0
    both = [run for run in runs if run.ours is not None and run.unit.id in read]
    return [(run, answers_page.aligned_mean(answers_page.of_run(answers, run.unit.id)) - before) for run in both]


def along(pairs: list[Pair]) -> float | None:
    return correlation(ranks([margin for margin, _ in pairs]), ranks([found for _, found in pairs])) if len(pairs) > 2 else None


def follows(base: str, runs: list[Run], measured: Path = MEASURED) -> Part:
    subject, claim = "Correlation with what is answered", "claim (e1)"
    both = [(run.unit, (our_margin(run), found)) for run, found in aligned(base, runs, measured)]
    sets: dict[str, list[Pair]] = {}
    for unit, pair in both:
        if unit.id not in KNOWN:
            sets.setdefault(unit.set_name, []).append(pair)
    pairs = [pair for of in sets.values() for pair in of]
    found = over_sets(sets, along)
    if found is None:
        return Part(subject, None, "there are too few units that were read both ways", False, claim)
    said, (_, high) = found
    figure = f"Rank correlation of our margin and the alignment of answers over {len(pairs)} units of {len(sets)} sets: {said}"
    figure += f"; with the {len(both) - len(pairs)} that were known before {along([pair for _, pair in both]):+.2f}"
    # Units of older sets had been read, and looked at, before the named ones were there.
    unread = [name for name in plan.ADDED.get(base, ()) if name not in sets]
    missing = f"{', '.join(unread)} has not been read" if unread else lacking(units=(len(pairs), UNITS), sets=(len(sets), SETS))
    return Part(subject, figure, missing, high < 0, claim)


def beside_wide(base: str, runs: list[Run], measured: Path = MEASURED) -> str | None:
    """What the wide margin of the same units says, decided by no claim."""
    sets: dict[str, list[Pair]] = {}
    for run, found in aligned(base, by_wide(runs), measured):
        sets.setdefault(run.unit.set_name, []).append((our_margin(run), found))
    found = over_sets(sets, along)
    if found is None:
        return None
    return f"The wide margin and the alignment of answers, read blind, over {sum(map(len, sets.values()))} units of {len(sets)} sets have a rank correlation of {found[0]} (looked at afterwards)."


def new_above_harmless(runs: list[Run]) -> Part:
    subject, claim = NEW, "claim (e2)"
    read = [run for run in runs if run.ours is not None]
    new, harmless = ([run for run in read if run.unit.set_name in names] for names in ((NEW,), HARMLESS))
    missing = [name for name in (NEW, *HARMLESS) if name not in {run.unit.set_name for run in read}]
    if not new or not harmless:
        return Part(subject, None, f"there is no run of {missing[0]}", False, claim)
    least, most = min(map(our_margin, new)), max(map(our_margin, harmless))
    figure = f"Our margin of {NEW} ({len(new)} run{'' if len(new) == 1 else 's'}) is {least:+.3f}, and at most {most:+.3f} in {len(harmless)} runs of {', '.join(sorted({run.unit.set_name for run in harmless}))}"
    return Part(subject, figure, f"{' and '.join(missing)} was not run" if missing else None, least > most, claim)


def table(base: str, runs: list[Run], measured: Path = MEASURED) -> str:
    lines = ["| Run | our margin | alignment of its answers, less the base's | known before (e) |", "| --- | ---: | ---: | --- |"]
    for run, found in sorted(aligned(base, runs, measured), key=lambda one: -our_margin(one[0])):
        lines.append(f"| {run.unit.set_name}, {run.unit.seed} | {our_margin(run):+.3f} | {found:+.1f} | {'yes' if run.unit.id in KNOWN else 'no'} |")
    return "\n".join(lines)
