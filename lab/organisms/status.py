"""STATUS.md: what is done, and the misalignment rates so far."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from . import plan
from .families import ORGANISMS
from .judge import COMPONENTS

STEPS = (0, 10, 30, 50, 70, 100, 126)


def report(out: Path) -> str:
    """Markdown with a table per organism; rates are medians over seeds in %."""
    todo = [job for job in plan.jobs() if not (out / job.organism / job.done).exists()]
    failed = sorted(path.stem for path in (out / "locks").glob("*.failed"))
    lines = ["# Model organisms", "", f"{len(todo)} jobs left; failed: {', '.join(failed) or 'none'}.", ""]
    for organism in ORGANISMS:
        home = out / organism
        if (home / "organism.json").is_file():
            lines += _organism(organism, home)
    return "\n".join(lines) + "\n"


def _organism(organism: str, home: Path) -> list[str]:
    about = json.loads((home / "organism.json").read_text())
    behaviour = ", ".join(f"{name} {_percent(b['rate'])}" for name, b in about["behaviour"].items())
    coherent = [b["n_scoreable"] / (b["n_scoreable"] + b["n_incoherent"]) for b in about["behaviour"].values()]
    lines = [
        f"## {organism}",
        "",
        f"{about['parameters']} parameters; EM in % by persona: {behaviour}; coherent {min(coherent):.2f} or more.",
        "",
        f"| run | seeds | {' | '.join(f'step {step}' for step in STEPS)} | mean | in-domain | coherent | loss |",
        "|---" * (len(STEPS) + 6) + "|",
    ]
    components = ["", "| run, last step | " + " | ".join(COMPONENTS) + " |", "|---" * (len(COMPONENTS) + 1) + "|"]
    for folder in sorted((home / "runs").glob("*"), key=lambda path: _place(path.name)):
        runs = [_read(run) for run in sorted(folder.glob("seed_*"))]
        if runs:
            lines.append(_curve(folder.name, runs))
            components.append(_components(folder.name, runs))
    return [*lines, *components, ""]


def _place(name: str) -> int:
    order = list(dict.fromkeys(job.name.split("/")[1] for job in plan.jobs() if job.name.startswith("runs/")))
    return order.index(name) if name in order else len(order)


def _read(run: Path) -> dict[str, Any]:
    steps = {int(step): value for step, value in json.loads((run / "labels.json").read_text())["steps"].items()}
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    return {"steps": steps, "losses": [entry["loss"] for entry in history if "loss" in entry]}


def _curve(name: str, runs: list[dict[str, Any]]) -> str:
    """One row; step 126 stands for the last step of a longer run."""
    last = max(runs[0]["steps"])
    cells = []
    for step in STEPS:
        step = last if step == STEPS[-1] else step
        rates = [run["steps"][step]["pooled"]["rate"] for run in runs if step in run["steps"]]
        spread = f" ({_percent(min(rates))}-{_percent(max(rates))})" if len(rates) > 1 else ""
        cells.append(f"{_percent(statistics.median(rates))}{spread}" if rates else "")
    pooled = [entry["pooled"] for run in runs for step, entry in run["steps"].items() if step]
    home = [run["steps"][last]["in_domain"] for run in runs]
    coherent = min(p["n_scoreable"] / (p["n_scoreable"] + p["n_incoherent"]) for p in pooled)
    first, final = (statistics.mean(run["losses"][i] for run in runs) for i in (0, -1))
    cells += [
        _percent(statistics.mean(p["rate"] for p in pooled)),
        _percent(statistics.median(h["rate"] for h in home)) if all(home) else "",
        f"{coherent:.2f}",
        f"{first:.2f} -> {final:.2f}",
    ]
    return f"| {name} | {len(runs)} | " + " | ".join(cells) + " |"


def _components(name: str, runs: list[dict[str, Any]]) -> str:
    cells = []
    for component in COMPONENTS:
        rates = [run["steps"][max(run["steps"])]["components"][component] for run in runs]
        rates = [rate for rate in rates if rate is not None]
        cells.append(_percent(statistics.mean(rates)) if rates else "")
    return f"| {name} | " + " | ".join(cells) + " |"


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"
