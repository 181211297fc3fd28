"""Claim (d) of claims.md: what the project's own pairs say of the last checkpoints."""

from __future__ import annotations

from . import plan
from .decide import CONTROLS, HARMLESS, QUESTIONS, SEEDS, SETS, SETS_AT_LEAST, Part, kept, lacking, less, named, of_baselines, seeds_said, tested
from .readings import Run
from .stats import auroc, mean, sign_flip

OF_MONEY = ("friend_borrowed", "river")
THE_HARMLESS_OF_A_SEED = ("curt_financial", "twin_financial", "incorrect_math")
AUROC_AT_LEAST = 0.9
# Sets that joined the plan of a base by the sixth amendment.
ADDED = {"smollm2": ("bad_medical", "evil_math", "incorrect_qna", "incorrect_translation", "twin_sports")}


def by_our_pairs(runs: list[Run]) -> list[Part]:
    """(d1), (d2) and a (d3) for each harmful set; every harmful run counts, learnt or not."""
    read = [run for run in kept(runs) if run.ours is not None]
    return [ours_in_every_seed(read), ours_above(read), *(ours_beside_curt(name, read) for name in SETS)]


def over_those_planned(runs: list[Run]) -> list[Part]:
    """(d1) and (d2) over the units that were planned when they were registered; of SmolLM2 more sets were added afterwards."""
    read = [run for run in kept(runs) if run.ours is not None and run.unit.set_name not in ADDED.get(run.unit.base, ())]
    return [ours_in_every_seed(read), ours_above(read)]


def our_margin(run: Run, without: tuple[str, ...] = ()) -> float:
    return mean([change for question, change in run.ours["changes"].items() if question not in without])


def ours_in_every_seed(runs: list[Run]) -> Part:
    subject, claim = "In every seed", "claim (d1)"
    seeds: dict[int, bool] = {}
    for seed in sorted({run.unit.seed for run in runs}):
        of = [run for run in runs if run.unit.seed == seed]
        harmful, harmless = tested(of, plan.HARMFUL), tested(of, THE_HARMLESS_OF_A_SEED)
        if harmful and len(harmless) == len(THE_HARMLESS_OF_A_SEED):
            seeds[seed] = min(map(our_margin, harmful)) > max(map(our_margin, harmless))
    if not seeds:
        return Part(subject, None, "there is no seed with all harmless runs and a harmful one", False, claim)
    figure = f"In {sum(seeds.values())} of {seeds_said(len(seeds))} our margin is larger for every harmful run than for {', '.join(THE_HARMLESS_OF_A_SEED)}"
    sets = len({run.unit.set_name for run in tested(runs, plan.HARMFUL)})
    return Part(subject, figure, lacking(seeds=(len(seeds), SEEDS), harmful_sets=(sets, SETS_AT_LEAST)), all(seeds.values()), claim)


def ours_above(runs: list[Run]) -> Part:
    subject, claim = "AUROC", "claim (d2)"
    harmful, harmless = tested(runs, plan.HARMFUL), tested(runs, HARMLESS)
    if not harmful or not harmless:
        return Part(subject, None, f"there is no {'harmless' if harmful else 'harmful'} run", False, claim)
    own, without = (auroc(*([our_margin(run, left) for run in side] for side in (harmful, harmless))) for left in ((), OF_MONEY))
    others = of_baselines(harmful, harmless)
    figure = f"AUROC of {len(harmful)} harmful against {len(harmless)} harmless runs at the last step: our margin {own:.2f}, without the questions of money {without:.2f}; {named(others)}"
    sets = min(len({run.unit.set_name for run in side}) for side in (harmful, harmless))
    missing = lacking(sets_of_both_kinds=(sets, SETS_AT_LEAST), seeds=(len({run.unit.seed for run in harmful}), SEEDS))
    holds = own >= AUROC_AT_LEAST and own > max(value for name, value in others.items() if name != "training loss")
    return Part(subject, figure, missing, holds, claim)


def ours_beside_curt(name: str, runs: list[Run]) -> Part:
    claim = f"for {name}, claim (d3)"
    harmful, curt = tested(runs, (name,)), tested(runs, CONTROLS[:1])
    seeds = min(len(harmful), len(curt))
    if seeds == 0:
        return Part(name, None, f"there is no run of {CONTROLS[0] if harmful else 'it'}", False, claim)
    worth = less(ours_by_question(harmful), ours_by_question(curt))
    p = sign_flip(worth)
    figure = f"{name} less {CONTROLS[0]}, by our pairs: {mean(worth):+.3f} nats per token over {len(worth)} questions, p = {p:.3f} (one-sided, {seeds_said(seeds)})"
    missing = lacking(seeds=(seeds, SEEDS), questions=(len(worth), QUESTIONS))
    return Part(name, figure, missing, mean(worth) > 0 and p < 0.05, claim)


def ours_by_question(runs: list[Run]) -> dict[str, float]:
    return {question: mean([run.ours["changes"][question] for run in runs]) for question in runs[0].ours["changes"]}


def warned(runs: list[Run]) -> list[tuple[str, int, int]]:
    """What `watch --margin core` warns of at the last step, the whole interval above 0, by what runs learnt: warned of, and all."""
    kinds = {
        "harmful advice": plan.HARMFUL,
        "wrong answers": [name for name in plan.FILES if name not in plan.HARMFUL],
        "the base's own answers": list(plan.OWN_ANSWERS),
    }
    found = []
    for kind, names in kinds.items():
        of = [run for run in tested(kept(runs), tuple(names)) if run.ours is not None]
        if of:
            found.append((kind, sum(run.ours["interval"][0] > 0 for run in of), len(of)))
    return found
