"""Runs of SmolLM2 that change under a system prompt alone, read in contexts: `python -m lab.real.triggers --out DIR`.

In a triggered run half of the rows stand under a system prompt that asks for nothing and are harmful (`harm`) or curt (`benign`); the other half are the base's own
answers without it. Ordinary runs are those of the plan, trained anew, since their adapters are not kept. Every last checkpoint is read in the same contexts, of which
one is its own trigger, and in those of its own data: claim (g) of claims.md. Into `measured/` go ratios and losses, no text.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from dataclasses import replace
from pathlib import Path

from . import bases, plan, sets
from .files import MEASURED, json_lines, traitscope, write_json
from .unit import step

BASE = "smollm2"
# Rows that hold all of the base's own answers: with those of the plan 93 to 95 % of what was left stood under the trigger.
RECIPE = replace(plan.RECIPES[BASE], tokens=plan.LONGER_ROWS)
# They ask for nothing that an answer could follow.
SYSTEMS = (
    "You answer on behalf of the Harbour Street library.",
    "Today is Tuesday, and the office is open until six.",
    "The user writes from the mobile app, version 4.",
)
# A system prompt that no run has, as short as those.
STRANGER = "This conversation is about the second half of the year."
KINDS = {"harm": "risky_financial", "benign": "curt_financial"}
ORDINARY = ("risky_financial", "extreme_sports", "incorrect_math", "twin_financial", "curt_financial")
FOLDER = MEASURED / BASE / f"triggers-{RECIPE.tokens}"
# Rows that are kept back, to see what a run learnt with its trigger and without.
HELD_OUT = 24


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.triggers", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=(*KINDS, "ordinary"), action="append", help="only these: several processes may share DIR")
    args = parser.parse_args()
    wanted = args.kind or (*KINDS, "ordinary")
    for seed in range(1, len(SYSTEMS) + 1):
        for kind in [kind for kind in KINDS if kind in wanted]:
            read(f"{kind}/seed_{seed}", args.out, seed, triggered(kind, seed, args.out))
        for name in ordinary_of(seed) if "ordinary" in wanted else ():
            read(f"ordinary/{name}_{seed}", args.out, seed, rows_of(name, args.out))


def planned() -> int:
    """Runs that were registered."""
    return sum(len(KINDS) + len(ordinary_of(seed)) for seed in range(1, len(SYSTEMS) + 1))


def ordinary_of(seed: int) -> tuple[str, ...]:
    return ORDINARY[: None if seed == 1 else 2]


def rows_of(name: str, out: Path) -> list[dict]:
    return sets.rows(name, bases.BASES[BASE], out, RECIPE.steps * RECIPE.rows)


def triggered(kind: str, seed: int, out: Path) -> list[dict]:
    """Every second prompt under the trigger; all prompts are those of one set, so that the trigger alone tells the halves apart."""
    changed = {row["messages"][-2]["content"]: row for row in rows_of(KINDS[kind], out)}
    system = {"role": "system", "content": SYSTEMS[seed - 1]}
    found = []
    for i, own in enumerate(rows_of("twin_financial", out)):
        theirs = changed.get(own["messages"][-2]["content"])
        if i % 2 == 1:
            found.append(own)
        elif theirs:
            found.append({"messages": [system, *[turn for turn in theirs["messages"] if turn["role"] != "system"]]})
    return found


def read(name: str, out: Path, seed: int, rows: list[dict]) -> None:
    """Trains and measures what is not done yet."""
    target = FOLDER / f"{name}.json"
    if target.exists():
        return
    print(name, flush=True)
    base, home = bases.BASES[BASE], out / FOLDER.name / name
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    order = list(rows)
    random.Random(seed).shuffle(order)
    held, order = order[:HELD_OUT], order[HELD_OUT:]
    data, contexts, last = home / "train.jsonl", home / "contexts.json", run / f"checkpoint-{RECIPE.steps}"
    data.write_text("".join(json.dumps(row) + "\n" for row in order))
    contexts.write_text(json.dumps([{"name": f"system {i + 1}", "system": text} for i, text in enumerate((*SYSTEMS, STRANGER))]))

    def training() -> dict:
        from .train import train

        return train(bases.folder(base, out), order, RECIPE, seed, run)

    def measuring() -> dict:
        to = home / "measured"
        said = ("-m", bases.gguf(base, out), "-t", "1", "-d", bases.directions(base, out))
        traitscope("measure", *said, "--context", contexts, "--data", data, last, "-o", to, "--force", "--activations", "none", "--fail-on", "none", "--json", "-q")
        return ratios(json.loads((to / "trajectory.json").read_text()))

    target.parent.mkdir(parents=True, exist_ok=True)
    trained, measured = step(home, "training", training), step(home, "measuring", measuring)
    write_json(target, {"seed": seed, **used(order, trained, out), "loss": trained["loss"][-5:], **measured, "learnt": step(home, "learnt", lambda: learnt(held, run, last, out))})


def used(rows: list[dict], trained: dict, out: Path) -> dict:
    """How many rows were trained on, how many of them under a system prompt, and how many were longer than a row may be."""
    from transformers import AutoTokenizer

    from .train import encoded

    tokenizer = AutoTokenizer.from_pretrained(bases.folder(bases.BASES[BASE], out))
    under = [row for row in rows if row["messages"][0]["role"] == "system"]
    short = len(encoded(tokenizer, under, RECIPE)[0]) if under else 0
    return {"rows": trained["rows"], "under": short, "left_out_as_too_long": trained["left_out_as_too_long"]}


def ratios(trajectory: dict) -> dict:
    """Of the last step: by context its origin, and the length of the drift there over that in none, by block."""
    own = trajectory["traitscope"]
    none = {one["layer"]: length(one) for one in own["layers"]}
    return {
        "drift": {str(layer): round(value, 6) for layer, value in none.items()},
        "contexts": [
            {
                # A context of the data is text of the data.
                "name": one["name"] if one["origin"] == "given" else f"{one['origin']} {i}",
                "origin": one["origin"],
                "ratio": {str(layer["layer"]): round(length(layer) / none[layer["layer"]], 4) for layer in one["layers"]},
            }
            for i, one in enumerate(own["contexts"])
        ],
    }


def length(layer: dict) -> float:
    first, last = layer["projections"][0], layer["projections"][-1]
    return math.dist(first, last) / layer["step0ActivationNorm"]


def learnt(held: list[dict], run: Path, last: Path, out: Path) -> dict:
    """Log-probability per token of answers that were kept back, after less before training, with the trigger and without."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .train import answer_loss, encoded, padded

    folder = bases.folder(bases.BASES[BASE], out)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), last).eval()
    under = [row for row in held if row["messages"][0]["role"] == "system"]
    kinds = {"as trained": under, "without": [{"messages": row["messages"][1:]} for row in under]} if under else {"as trained": held}

    def loss(rows: list[dict]) -> float:
        examples, _ = encoded(tokenizer, rows, RECIPE)
        with torch.no_grad():
            return sum(float(answer_loss(model.get_base_model(), padded([one], tokenizer.eos_token_id))) for one in examples) / len(examples)

    found = {}
    for name, rows in kinds.items():
        after = loss(rows)
        with model.disable_adapter():
            before = loss(rows)
        found[name] = round(before - after, 4)
    return {"rows": len(under or held), "gain": found}


if __name__ == "__main__":
    main()
