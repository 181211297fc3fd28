"""Directions on system prompts that were written after everything about them had been chosen.

    node lab/real/states.mjs BASE.gguf 10,12,13,14,15 STATES core-2
    python -m lab.real.frozen choose STATES            # layer and estimator by left-out wordings and questions of the pack: freezes
    node lab/real/states.mjs BASE.gguf LAYER[,LAYER] NEW lab/real/frozen-wordings.yaml
    python -m lab.real.frozen score STATES NEW [NAME=DIRECTIONS]

`choose` writes what it chose for a base into lab/real/frozen.json and `score` adds what came of it, once: neither does so again. Directions of a folder are scored beside it at those
layers that they were made at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from .estimators import BY_OTHERS, held_out, made_by
from .files import write_json

FILE = Path(__file__).with_name("frozen.json")
TRIED = ("mean difference", "logistic regression of the wordings' means", "whitened by wording", BY_OTHERS)
DRAWS = 1000


def read(stem: str) -> tuple[dict, np.ndarray]:
    """What states are of, and the states: trait, pole, question, wording, layer, dimension."""
    about = json.loads(Path(f"{stem}.json").read_text())
    shape = (len(about["traits"]), 2, about["questions"], -1, len(about["layers"]), about["nEmbd"])
    return about, np.fromfile(f"{stem}.f32", dtype=np.float32).reshape(shape).astype(np.float64)


def poles_at(about: dict, states: np.ndarray, layer: int) -> list[tuple[np.ndarray, np.ndarray]]:
    l = about["layers"].index(layer)
    return [(trait[0, :, :, l], trait[1, :, :, l]) for trait in states]


def known() -> dict[str, dict]:
    """By name of the base."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def choose(stem: str) -> None:
    about, states = read(stem)
    name = about["base"]["name"]
    if name in known():
        sys.exit(f"{FILE.name} has what was chosen for {name}: it is frozen")
    inner = {}
    for layer in about["layers"]:
        poles = poles_at(about, states, layer)
        inner[layer] = {kind: [round(held_out(made_by(kind, poles, t), *pole, paired=True), 3) for t, pole in enumerate(poles)] for kind in TRIED}
        print(layer, json.dumps({kind: round(float(np.mean(each)), 3) for kind, each in inner[layer].items()}), flush=True)
    layer, kind = max(((layer, kind) for layer in inner for kind in TRIED), key=lambda choice: np.mean(inner[choice[0]][choice[1]]))
    found = {"about": about, "wordings": states.shape[3], "inner": inner, "layer": layer, "estimator": kind}
    write_json(FILE, {**known(), name: found})


def tested(positive: np.ndarray, negative: np.ndarray, direction: np.ndarray) -> dict:
    """AUROC within a question over all pairs of one positive and one negative wording, its 95 % interval over wordings and questions drawn again, and of pairs of one form."""
    right = ((positive @ direction)[:, :, None] > (negative @ direction)[:, None, :]).astype(float)
    questions, above, below = right.shape
    random = np.random.default_rng(1)
    drawn = [
        right[np.ix_(random.integers(questions, size=questions), random.integers(above, size=above), random.integers(below, size=below))].mean()
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    paired = np.diagonal(right, axis1=1, axis2=2).mean()
    return {"auroc": round(float(right.mean()), 3), "interval": [round(float(low), 3), round(float(high), 3)], "paired": round(float(paired), 3)}


def score(stem: str, new: str, folders: list[str]) -> None:
    about, states = read(stem)
    name = about["base"]["name"]
    found = known()[name]
    if "scored" in found:
        sys.exit(f"{name} has been scored: these wordings are known now, and another figure needs others")
    layer = found["layer"]
    if about != found["about"]:
        sys.exit(f"{FILE.name} was frozen for other states than {stem}")
    new_about, new_states = read(new)
    made, held = poles_at(about, states, layer), poles_at(new_about, new_states, layer)
    kinds = dict.fromkeys([found["estimator"], *TRIED])
    scored = {
        f"{layer}, {kind}": [tested(*pole, made_by(kind, made, t)(*made[t])) for t, pole in enumerate(held)] for kind in kinds
    }
    for named in folders:
        title, folder = named.split("=", 1)
        vectors = load_file(f"{folder}/directions.safetensors")
        for at in new_about["layers"]:
            if f"{at}/{about['traits'][0]}" not in vectors:
                continue
            poles = zip(about["traits"], poles_at(new_about, new_states, at))
            scored[f"{at}, {title}"] = [tested(*pole, vectors[f"{at}/{trait}"].astype(np.float64)) for trait, pole in poles]
    found["scored"] = {"about": new_about, "wordings": new_states.shape[3], "directions": scored}
    write_json(FILE, {**known(), name: found})
    for title, each in scored.items():
        values = [float(one["auroc"]) for one in each]
        print(f"{title}: {values} mean {np.mean(values):.3f}, {sum(value >= 0.8 for value in values)} of .8 or more")


def main() -> None:
    if sys.argv[1] == "choose":
        choose(sys.argv[2])
    else:
        score(sys.argv[2], sys.argv[3], sys.argv[4:])


if __name__ == "__main__":
    main()
