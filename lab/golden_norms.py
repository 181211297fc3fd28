"""Golden LoRA norms of the tiny run: ||(alpha / r) B A|| per matrix by NumPy in float64, by block, q before v.

    python lab/golden_norms.py [--run test/fixtures/tiny/run] [--out test/fixtures/tiny/golden/norms.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def norms(folder: Path) -> list[float]:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    scale = config["lora_alpha"] / config["r"]
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    blocks = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in tensors)
    found = []
    for block in range(blocks):
        for part in ("q", "v"):
            prefix = f"base_model.model.model.layers.{block}.self_attn.{part}_proj."
            found.append(np.linalg.norm(scale * tensors[f"{prefix}lora_B.weight"] @ tensors[f"{prefix}lora_A.weight"]))
    return [float(value) for value in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("test/fixtures/tiny/run"))
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/tiny/golden/norms.json"))
    args = parser.parse_args()
    steps = {}
    for folder in sorted(args.run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])):
        values = norms(folder)
        steps[folder.name.split("-")[1]] = {"deltaNorm": float(np.linalg.norm(values)), "deltaNorms": values}
    args.out.write_text(json.dumps(steps, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
