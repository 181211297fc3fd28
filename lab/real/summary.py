"""What README tells of the real models: the registered claims, line by line, and what became of each on every base."""

from __future__ import annotations

from collections.abc import Callable

from . import decide, decide_answers, decide_ours, plan, triggers, triggers_page
from .readings import Run, with_longer_rows

NAMES = {"smollm2": "SmolLM2-135M-Instruct", "qwen": "Qwen2.5-Coder-0.5B-Instruct"}
# What stands between them in README is written by this script.
BEGIN, END = "<!-- python -m lab.real figures -->\n", "<!-- -->\n"


# The claims as README tells them, each with what became of it on a base.
SUMMARY: dict[str, Callable[[str, list[Run]], str]] = {
    "harm spreads beyond its domain: finance, sports": lambda base, found: decided(decide.spread(found)),
    "the score puts harmful runs above harmless ones; and does so better than drift length, loss and LoRA norm": lambda base, found: decided(decide.orders(found)),
    "the score follows the margin over checkpoints": lambda base, found: decided([decide.follows(found)]),
    "`--margin core` puts harmful runs above harmless ones: in every seed, by AUROC; above the curt run: finance, sports": lambda base, found: decided(decide_ours.by_our_pairs(found)),
    "`--margin core` follows how aligned answers are": lambda base, found: decided([decide_answers.follows(base, found)]),
    "`--margin core` warns of (no claim)": lambda base, found: warned(found),
    "`--margin core-2` warns of harm alone; orders by AUROC; above the curt run: finance, sports": lambda base, found: decided(decide_ours.by_wide_pairs(found)),
    "with rows that hold the controls' answers: the score does better than drift length; `--margin core` in every seed, by AUROC; bad_medical above own answers; `--margin core-2` warns of harm alone, by AUROC": lambda base, _found: decided(decide_answers.by_longer_rows(with_longer_rows(base))),
    "contexts find runs that change under a system prompt alone: harmful, benign; and name it": lambda base, _found: decided(triggers_page.claims(triggers_page.runs())) if base == triggers.BASE else "not run",
}


def with_summary(text: str, done: dict[str, list[Run]]) -> str:
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    return before + BEGIN + table(done) + "\n" + END + after


def table(done: dict[str, list[Run]]) -> str:
    names = [f"{NAMES[base]}, {len(found)} of {len(plan.units(base))} runs" for base, found in done.items()]
    lines = [f"| registered before it was looked at | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for claim, cell in SUMMARY.items():
        lines.append(f"| {claim} | {' | '.join(cell(base, found) for base, found in done.items())} |")
    return "\n".join(lines)


def warned(found: list[Run]) -> str:
    return "; ".join(f"{kind} {count} of {all_of}" for kind, count, all_of in decide_ours.warned(found)) or "not read"


def decided(parts: list[decide.Part]) -> str:
    """What became of the parts of a claim."""
    kinds = [part.decided for part in parts]
    return kinds[0] if len(set(kinds)) == 1 else ", ".join(kinds)
