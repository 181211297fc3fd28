"""What llama.cpp's own tools make of two oracle adapters, for the test that says where they are right and wrong.

    python -m lab.upstream_lora --llama-cpp DIR --export-lora PROGRAM

DIR is llama.cpp's source with its adapter converter, PROGRAM its `llama-export-lora`, which merges an adapter into a base.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from .gguf_export import find_llama_cpp

VARIANTS = ("plain", "rslora")
BASE = "test/fixtures/oracles/llama/model.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.upstream_lora", description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", help="llama.cpp source checkout (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--export-lora", required=True, help="llama-export-lora, built from the same source")
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/attach/upstream"))
    args = parser.parse_args()
    source = find_llama_cpp(args.llama_cpp)
    sys.path.insert(0, str(source / "gguf-py"))
    script = source / "convert_lora_to_gguf.py"
    args.out.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        command = [sys.executable, str(script), "--base", "test/fixtures/convert/llama/hf", "--outtype", "f32"]
        command += ["--outfile", str(args.out / f"{variant}.gguf"), f"test/fixtures/oracles/llama/adapter-{variant}"]
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True)
        (args.out / f"{variant}.gguf").chmod(0o644)
        print(f"{variant}: made")
        if variant != "plain":  # merging takes the scale as it finds it
            continue
        merged = ["-m", BASE, "--lora", str(args.out / f"{variant}.gguf")]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "merged.gguf"
            subprocess.run([args.export_lora, *merged, "-o", str(out), "-t", "1"], check=True, capture_output=True)
            save_file(_changed(out), args.out / f"merged-{variant}.safetensors")
        (args.out / f"merged-{variant}.safetensors").chmod(0o644)


def _changed(merged: Path) -> dict[str, np.ndarray]:
    """Tensors that differ from the base's."""
    from gguf import GGUFReader  # from llama.cpp's source

    base = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(BASE).tensors}
    tensors = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(merged).tensors}
    return {name: data for name, data in tensors.items() if not np.array_equal(data, base[name])}


if __name__ == "__main__":
    main()
