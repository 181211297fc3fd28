"""Our margin of claims.md, and the wide one: the last checkpoint of a unit by the pairs of the project's own wording.

    python -m lab.real ours --out DIR    for every measured unit whose adapters lie there
"""

from __future__ import annotations

import json
from pathlib import Path

from . import bases, margins
from .files import MEASURED, REPOSITORY, traitscope, write_json
from .plan import Unit
from .unit import step

# Files of measured units, and the pairs that they are by.
PAIRS = {"ours": "traits/margin-pairs.jsonl", "ours-2": "traits/margin-pairs-2.jsonl"}


def read(unit: Unit, out: Path, to: Path = MEASURED) -> str | None:
    """Makes what is not there yet, and says what is. None where the adapters of the unit are not kept."""
    made = [read_by(name, unit, out, to) for name in PAIRS]
    return None if None in made else " and ".join(one.name for one in made if one)


def read_by(name: str, unit: Unit, out: Path, to: Path = MEASURED) -> Path | None:
    """A file of a unit, made once: the change of each question and of all."""
    target, home, pairs = to / unit.id / f"{name}.json", out / "units" / unit.id, REPOSITORY / PAIRS[name]
    if target.exists():
        return target
    last = unit.recipe.saved[-1]
    if not (home / f"run/checkpoint-{last}").exists():
        return None
    folder = home / name

    def work() -> dict:
        model = ("-m", bases.gguf(bases.BASES[unit.base], out), "-t", "1")
        traitscope("label", *model, home / "run", "-o", folder, "--margin", pairs, "--steps", last, "--json")
        all_of = next(one["all"] for one in json.loads((folder / margins.DOCUMENT).read_text())["steps"] if one["step"] == last)
        return {"step": last, "changes": margins.changes(folder / margins.LOG, pairs)[str(last)][""], "change": all_of["change"], "interval": all_of["interval"]}

    said = step(home, name, work)
    write_json(target, {"pairsSha256": margins.sha256(pairs), **said})
    return target
