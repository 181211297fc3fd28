"""One unit: train, measure, margin, and put into the repository what may be there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import bases, margins, pairs, sets
from .files import MEASURED, cpu_seconds, folder_that_appears, traitscope, write_json
from .plan import Recipe, Unit


def run_unit(unit: Unit, out: Path, recipe: Recipe | None = None, to: Path = MEASURED, pack: Path | None = None) -> Path:
    """
    Does what is not done yet. Steps lie in the unit's folder below `out`, each whole or not there; the last puts trajectory, margins
    and an account of the unit below `to`, in one rename. `pack`: another trait pack than the one that ships.
    """
    target = to / unit.id
    if target.exists():
        return target
    recipe = recipe or unit.recipe
    base = bases.BASES[unit.base]
    home = out / "units" / unit.id
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    hf, gguf = bases.folder(base, out), bases.gguf(base, out)
    file, last = pairs.margin_pairs(out, recipe.pairs), pairs.margin_pairs(out, recipe.last_pairs)
    wanted = recipe.steps * recipe.rows
    found = sets.rows(unit.set_name, base, out, wanted)

    def training() -> dict:
        from .train import train

        return train(hf, sets.shuffled(found, unit.seed), recipe, unit.seed, run)

    model = ("-m", gguf, "-t", "1")
    account = {
        "base": unit.base,
        "set": unit.set_name,
        "seed": unit.seed,
        "recipe": {**vars(recipe), "saved": recipe.saved},
        "pairs": pairs.facts(file),
        "training": step(home, "training", training),
        "measuring": step(home, "measuring", measuring(run, home / "measured", model, lambda: bases.directions(base, out, pack), pack)),
    }
    read = {"margins.json": margins.folder(home, file)}
    # The larger file first: of its pairs the smaller one's are a part, so that the last step is not read twice.
    if last != file:
        read["margins-last.json"] = margins.folder(home, last)
        account["last_pairs"] = pairs.facts(last)
        account["last_margin"] = step(home, read["margins-last.json"].name, margins.reading(unit, out, model, last, recipe.saved[-1:]))
    account["margin"] = step(home, read["margins.json"].name, margins.reading(unit, out, model, file))
    pairs.publish_cells([file, last], to)
    publish(home, read, account, bases.directions(base, out, pack), target, to / unit.base)
    return target


def publish(home: Path, read: dict[str, Path], account: dict, directions: Path, target: Path, of_base: Path) -> None:
    """What may be there of a unit, and of its base how far apart the poles lie: numbers, no text. `read`: folders of margins, by the name they get."""
    with folder_that_appears(target) as partial:
        for made in ("trajectory.json", "verdicts.json"):
            # Without directions near the prior's depths there are no verdicts.
            if (home / "measured" / made).exists():
                shutil.copy(home / "measured" / made, partial)
        for name, folder in read.items():
            shutil.copy(folder / margins.DOCUMENT, partial / name)
        write_json(partial / "unit.json", account)
    if not (of_base / "directions.json").exists():
        write_json(of_base / "directions.json", poles(directions))


def read_measured(units: list[Unit], out: Path, read: Callable[[Unit, Path], str | None], lacking: str) -> None:
    """Of measured units what can be read further of that which is kept; says which."""
    for unit in units:
        if (MEASURED / unit.id).exists():
            made = read(unit, out)
            print(f"{unit.id}: {lacking if made is None else made}", file=sys.stderr)


def poles(directions: Path) -> dict:
    """Identity of directions, and by layer and trait the distance between the poles that they were made of."""
    about = json.loads((directions / "directions.json").read_text())
    return {
        "sha256": about["sha256"],
        "separation": {
            str(one["layer"]): {trait: one["separation"][trait] for trait in about["traits"]} for one in about["diagnostics"]
        },
    }


def step(home: Path, name: str, work: Callable[[], dict]) -> dict:
    """
    What a step says of itself, with its CPU seconds; from its file where it was done before. Where it was ended and went on, the
    seconds are those of the last time, and `starts` counts them.
    """
    path, begun = home / f"{name}.json", home / f"{name}.starts"
    if not path.exists():
        starts = 1 + (int(begun.read_text()) if begun.exists() else 0)
        begun.write_text(str(starts))
        before = cpu_seconds()
        said = work()
        write_json(path, {**said, "cpu_seconds": round(cpu_seconds() - before, 1), "starts": starts})
    return json.loads(path.read_text())


def measuring(run: Path, to: Path, model: tuple, directions: Callable[[], Path], pack: Path | None) -> Callable[[], dict]:
    traits = () if pack is None else ("--traits", pack)

    def work() -> dict:
        shutil.rmtree(to, ignore_errors=True)
        traitscope("measure", *model, "-d", directions(), *traits, run, "-o", to, "--json", "-q")
        return {"checkpoints": len(json.loads((to / "trajectory.json").read_text())["trajectory"])}

    return work
