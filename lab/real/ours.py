"""Our margin of claims.md: the last checkpoint of a unit by the pairs of the project's own wording.

    python -m lab.real ours --out DIR    for every measured unit whose adapters lie there
"""

from __future__ import annotations

import json
from pathlib import Path

from . import bases, margins
from .files import MEASURED, REPOSITORY, traitscope, write_json
from .plan import RECIPES, Unit
from .unit import step

PAIRS = REPOSITORY / "traits/margin-pairs.jsonl"
NAME = "ours.json"


def read(unit: Unit, out: Path, to: Path = MEASURED) -> Path | None:
    """`ours.json` of a unit, made once: the change of each question and of all. None where its adapters are not kept."""
    target, home = to / unit.id / NAME, out / "units" / unit.id
    if target.exists():
        return target
    last = RECIPES[unit.base].saved[-1]
    if not (home / f"run/checkpoint-{last}").exists():
        return None
    folder = home / "ours"

    def work() -> dict:
        model = ("-m", bases.gguf(bases.BASES[unit.base], out), "-t", "1")
        traitscope("label", *model, home / "run", "-o", folder, "--margin", PAIRS, "--steps", last, "--json")
        all_of = next(one["all"] for one in json.loads((folder / margins.DOCUMENT).read_text())["steps"] if one["step"] == last)
        return {"step": last, "changes": margins.changes(folder / margins.LOG, PAIRS)[str(last)][""], "change": all_of["change"], "interval": all_of["interval"]}

    said = step(home, "ours", work)
    write_json(target, {"pairsSha256": margins.sha256(PAIRS), **said})
    return target
