"""Claim (h): the sets that had lost most of their rows, trained again with rows that hold their answers."""

from __future__ import annotations

from pathlib import Path

from . import decide_answers, plan
from .files import MEASURED
from .readings import Run, with_longer_rows


def section(base: str, name: str, before: list[Run], measured: Path = MEASURED) -> str:
    runs = with_longer_rows(base, measured)
    found = [run for run in runs if run.unit.row_tokens]
    if not found:
        return ""
    then = {(run.unit.set_name, run.unit.seed): run for run in before}
    columns = {
        "rows": lambda run: str(run.account["training"]["rows"]),
        "loss": lambda run: f"{run.last.loss:.2f}",
        "margin elsewhere": lambda run: f"{run.end.elsewhere.change:+.3f}",
        "our margin": lambda run: of_ours(run.ours),
        "wide margin": lambda run: of_ours(run.wide),
        "drift": lambda run: f"{run.last.length:.3f}",
        "score": lambda run: f"{run.last.score:+.2f}",
    }
    lines = [f"| Set, seed | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for run in sorted(found, key=lambda run: (plan.LONGER_SETS.index(run.unit.set_name), run.unit.seed)):
        was = then.get((run.unit.set_name, run.unit.seed))
        cells = [f"{of(run)} ({of(was)})" if was else of(run) for of in columns.values()]
        lines.append(f"| {run.unit.set_name}, {run.unit.seed} | {' | '.join(cells)} |")
    planned = plan.longer(base)
    about = (
        f"The eleventh amendment of [claims.md](../lab/real/claims.md): rows of at most {plan.LONGER_ROWS} tokens for 128, all else as before; in brackets the run of before, of the same seed. {len(found)} of {len(planned)} runs. "
        "What was told apart from runs of few rows, again, these sets by the new runs alone:"
    )
    return "\n\n".join([f"### {name} with longer rows", "\n".join(lines), about, "\n".join(f"- {part}" for part in decide_answers.by_longer_rows(runs))])


def of_ours(found: dict | None) -> str:
    return "-" if found is None else f"{found['change']:+.3f}"
