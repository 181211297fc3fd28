"""Builds the model organisms.

    python -m lab.organisms work --out DIR      runs everything that is not done yet; start it twice to use two cores
    python -m lab.organisms restore --out DIR --llama-cpp DIR
                                                writes the packed bases, so that `work` need not pre-train them
    python -m lab.organisms freeze              writes frozen.json
    python -m lab.organisms status --out DIR    writes STATUS.md
    python -m lab.organisms traits FILE         writes the trait pack of the toy language
    python -m lab.organisms export --out DIR --models DIR --llama-cpp DIR
                                                writes finished bases as GGUF, and what transformers makes of the prompts
    python -m lab.organisms baselines --out DIR --to DIR
                                                trains the autoencoders and persona directions that `evaluate` compares with
    python -m lab.organisms smoke               a small organism, two runs and all checks in minutes
"""

from __future__ import annotations

import argparse
import fnmatch
import os
from datetime import datetime
from pathlib import Path

# Set before torch is imported: one thread gives one order of summation.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from lab.gguf_export import find_llama_cpp

from . import baselines, export, frozen, plan, restore, smoke, status, traits


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.organisms", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("work", help="run what is not done yet")
    work.add_argument("--out", type=Path, required=True, help="folder outside the repository")
    work.add_argument("--organism", default="*", help="pattern of organism names (default: all)")
    work.add_argument("--job", default="*", help="pattern of job names, as base or runs/gsm8k/* (default: all)")
    work.add_argument("--seeds", default=",".join(map(str, plan.SEEDS)), help="other seeds than those that are packed")
    again = commands.add_parser("restore", help="write the packed bases as `work` keeps them")
    again.add_argument("--out", type=Path, required=True)
    again.add_argument("--llama-cpp", help="llama.cpp source folder (default: TRAITSCOPE_LLAMA_CPP)")
    commands.add_parser("freeze", help="write frozen.json")
    state = commands.add_parser("status", help="write STATUS.md")
    state.add_argument("--out", type=Path, required=True)
    pack = commands.add_parser("traits", help="write the trait pack")
    pack.add_argument("file", type=Path)
    pack.add_argument("--control", action="store_true", help="contrasts of domains instead of the traits")
    gguf = commands.add_parser("export", help="write finished bases as GGUF")
    gguf.add_argument("--out", type=Path, required=True)
    gguf.add_argument("--models", type=Path, required=True, help="folder for the GGUF files")
    gguf.add_argument("--llama-cpp", help="llama.cpp source folder (default: TRAITSCOPE_LLAMA_CPP)")
    compared = commands.add_parser("baselines", help="train sparse autoencoders and persona directions")
    compared.add_argument("--out", type=Path, required=True)
    compared.add_argument("--to", type=Path, required=True, help="folder for the safetensors files")
    commands.add_parser("smoke", help="check everything on a small organism")
    args = parser.parse_args()

    torch.set_num_threads(1)
    if args.command == "work":
        frozen.check()
        match = fnmatch.fnmatch
        seeds = tuple(map(int, args.seeds.split(",")))
        wanted = lambda job: match(job.organism, args.organism) and match(job.name, args.job)  # noqa: E731
        plan.work(args.out.resolve(), wanted, _log, seeds)
    elif args.command == "restore":
        restore.restore(args.out.resolve(), find_llama_cpp(args.llama_cpp), _log)
    elif args.command == "freeze":
        frozen.freeze()
    elif args.command == "status":
        (args.out / "STATUS.md").write_text(status.report(args.out), encoding="utf-8")
    elif args.command == "export":
        export.export(args.out.resolve(), args.models.resolve(), find_llama_cpp(args.llama_cpp), _log)
    elif args.command == "baselines":
        baselines.baselines(args.out.resolve(), args.to, _log)
    elif args.command == "traits":
        text = traits.control_pack() if args.control else traits.pack()
        args.file.write_text(text, encoding="utf-8")
    else:
        smoke.run()


def _log(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


if __name__ == "__main__":
    main()
