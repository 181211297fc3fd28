"""Real language models: bases, runs, measurements, labels, figures.

    python -m lab.real work --out DIR [--base smollm2] [--unit smollm2/risky_financial/seed_1]
                                           all units that are not done yet, one after another; with --longer those
                                           whose rows may be longer
    python -m lab.real bases --out DIR     packages, folders to train, GGUF files of four types, directions
    python -m lab.real smoke --out DIR     everything in small: one short run of SmolLM2, measured and labelled
    python -m lab.real oracles --out DIR   states and token ids against transformers and peft; writes its table
    python -m lab.real instrument --out DIR   measured units along the frozen directions, of states that lie there
    python -m lab.real ours --out DIR      the last step of measured units by the project's own pairs, of adapters that lie there
    python -m lab.real figures             docs/real-models.md of what lies in lab/real/measured
    python -m lab.real status              which units are done
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

# Set before torch is imported: one thread gives one order of summation.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from . import bases, plan
from .files import MEASURED, REPOSITORY


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--out", type=Path, help="folder outside the repository: weights, data and answers")
    parser.add_argument("--base", choices=tuple(bases.BASES), default="smollm2")
    parser.add_argument("--unit", help="only this one, as `status` names it")
    parser.add_argument("--longer", action="store_true", help="units of the eleventh amendment of claims.md")
    args = parser.parse_args()
    if args.command not in ("figures", "status") and args.out is None:
        parser.error(f"{args.command} needs --out DIR")
    COMMANDS[args.command](args)


def work(args: argparse.Namespace) -> None:
    from . import instrument, ours
    from .unit import run_unit

    planned = plan.longer if args.longer else plan.units
    for unit in [plan.by_id(args.unit)] if args.unit else planned(args.base):
        print(unit.id, flush=True)
        run_unit(unit, args.out)
        instrument.read(unit, args.out)
        ours.read(unit, args.out)


def make_bases(args: argparse.Namespace) -> None:
    base = bases.BASES[args.base]
    for kind in bases.TYPES:
        print(bases.gguf(base, args.out, kind), flush=True)
    print(bases.directions(base, args.out), flush=True)


def smoke(args: argparse.Namespace) -> None:
    from .unit import run_unit

    unit = plan.Unit("smollm2", "risky_financial", 0)
    shutil.rmtree(args.out / "units" / unit.id, ignore_errors=True)
    shutil.rmtree(args.out / "smoke", ignore_errors=True)
    made = run_unit(unit, args.out, plan.SMOKE, to=args.out / "smoke", pack=small_pack(args.out))
    print(f"{made}: {', '.join(sorted(file.name for file in made.iterdir()))}")


def small_pack(out: Path) -> Path:
    """The trait pack that ships with four of its questions and a few of its evaluation prompts."""
    import yaml

    pack = yaml.safe_load((REPOSITORY / "traits/core.yaml").read_text())
    traits = dict(list(pack["traits"].items())[:7])
    prompts = {name: texts[:2] for name, texts in pack["eval_prompts"].items()}
    small = {**pack, "name": "smoke", "traits": traits, "questions": pack["questions"][::8][:4], "eval_prompts": prompts}
    path = out / "smoke.yaml"
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    return path


def every_unit() -> list[plan.Unit]:
    return [unit for base in plan.RECIPES for unit in (*plan.units(base), *plan.longer(base))]


def status(args: argparse.Namespace) -> None:
    for unit in every_unit():
        print(f"{unit.id}  {'done' if (MEASURED / unit.id).exists() else '-'}")


def oracles(args: argparse.Namespace) -> None:
    from .oracles import write_table

    write_table(bases.BASES[args.base], args.out)


def instrument(args: argparse.Namespace) -> None:
    from . import instrument
    from .unit import read_measured

    read_measured(every_unit(), args.out, instrument.read, "its states are not kept here")


def ours(args: argparse.Namespace) -> None:
    from . import ours
    from .unit import read_measured

    read_measured(every_unit(), args.out, ours.read, "its adapters are not kept here")


def figures(args: argparse.Namespace) -> None:
    from .figures import write_page

    write_page()


COMMANDS = {
    "work": work,
    "bases": make_bases,
    "smoke": smoke,
    "oracles": oracles,
    "instrument": instrument,
    "ours": ours,
    "figures": figures,
    "status": status,
}

if __name__ == "__main__":
    main()
