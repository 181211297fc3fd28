"""What llama.cpp's own adapter converter makes of two oracle adapters, for the test that says where it is right and wrong.

    python -m lab.upstream_lora --llama-cpp DIR
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .gguf_export import find_llama_cpp

VARIANTS = ("plain", "rslora")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.upstream_lora", description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", help="llama.cpp source checkout (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/attach/upstream"))
    args = parser.parse_args()
    script = find_llama_cpp(args.llama_cpp) / "convert_lora_to_gguf.py"
    args.out.mkdir(parents=True, exist_ok=True)
    for variant in VARIANTS:
        command = [sys.executable, str(script), "--base", "test/fixtures/convert/llama/hf", "--outtype", "f32"]
        command += ["--outfile", str(args.out / f"{variant}.gguf"), f"test/fixtures/oracles/llama/adapter-{variant}"]
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True)
        (args.out / f"{variant}.gguf").chmod(0o644)
        print(f"{variant}: made")


if __name__ == "__main__":
    main()
