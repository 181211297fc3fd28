"""The second instrument of claims.md: states that `measure` kept, along the directions that were frozen for a base.

    python -m lab.real instrument --out DIR    for every measured unit whose states lie there

Numbers go into `measured/`, beside those of the first.
"""

from __future__ import annotations

import json
from pathlib import Path

from . import bases
from .files import MEASURED, REPOSITORY, traitscope, write_json
from .plan import Unit

PACK, METHOD = REPOSITORY / "traits/core-2.yaml", "whitened"
NAME = "frozen.json"


def frozen_layer(base: str) -> int:
    """The block that was chosen for it, with this method, before there was a run."""
    found = json.loads(Path(__file__).with_name("frozen.json").read_text())[f"{base}-F32"]
    if not found["estimator"].startswith(METHOD):
        raise SystemExit(f"{base} was frozen with another estimator than {METHOD}: {found['estimator']}")
    return found["layer"]


def directions(base: bases.Base, out: Path) -> Path:
    target = out / "bases" / base.name / "directions-frozen"
    if not target.exists():
        how = ("--traits", PACK, "--method", METHOD, "-l", frozen_layer(base.name), "--no-probes")
        traitscope("directions", "-m", bases.gguf(base, out), "-t", "1", *how, "-o", target)
    return target


def read(unit: Unit, out: Path, to: Path = MEASURED) -> str | None:
    """`frozen.json` of a unit, made once: drifts in units of the distance between the poles, by step and trait. None where its states are not kept."""
    target = to / unit.id / NAME
    if target.exists():
        return NAME
    states = out / "units" / unit.id / "measured/activations.safetensors"
    if not states.exists():
        return None
    folder = directions(bases.BASES[unit.base], out)
    about = json.loads((folder / "directions.json").read_text())
    layer = frozen_layer(unit.base)
    write_json(target, {"directionsSha256": about["sha256"], "layer": layer, "drift": drifts(states, folder, about, layer)})
    return NAME


def drifts(states: Path, folder: Path, about: dict, layer: int) -> dict[str, dict[str, float]]:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file

    vectors = load_file(folder / "directions.safetensors")
    apart = next(one for one in about["diagnostics"] if one["layer"] == layer)["separation"]
    with safe_open(states, "numpy") as file:
        kept = [int(one) for one in file.metadata()["layers"].split(",")]
        if layer not in kept:
            raise SystemExit(f"expected block {layer} in {states}, found {kept}: measure the unit again with it")
        means = {
            int(name.removeprefix("step-")): file.get_tensor(name)[:, kept.index(layer)].astype(np.float64).mean(axis=0) for name in file.keys()
        }
    return {
        str(step): {trait: float((means[step] - means[0]) @ vectors[f"{layer}/{trait}"].astype(np.float64)) / apart[trait] for trait in about["traits"]}
        for step in sorted(means)
        if step != 0
    }
