"""Hugging Face folder to GGUF through llama.cpp's converter.

The converter refuses byte-level vocabularies that it has no hash of. This module runs it in a process of its own
(`python -m lab.oracles.convert ...`), names the splitting rule in place of the look-up, and changes nothing else.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path


def convert(llama_cpp: Path, model: Path, out: Path, name: str, file_type: str, pre: str | None) -> None:
    """Writes `out`. `name` becomes general.name, `pre` is llama.cpp's name of the splitting rule."""
    # An absolute path of the model folder must not reach the file: the converter runs inside its parent.
    command = [sys.executable, "-m", "lab.oracles.convert", str(llama_cpp), pre or ""]
    command += [model.name, "--outfile", str(out.resolve()), "--outtype", file_type, "--model-name", name]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(command, cwd=model.parent, env=environment, capture_output=True, text=True)
    if result.returncode != 0 or not out.is_file():
        raise SystemExit(f"the converter failed on {name}:\n{result.stderr[-4000:]}")


def main() -> None:
    llama_cpp, pre, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    from conversion.base import TextModel

    if pre:
        TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    sys.argv = ["convert_hf_to_gguf.py", *arguments]
    runpy.run_path(str(llama_cpp / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main()
