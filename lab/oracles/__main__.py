"""Command line: regenerate the oracle fixtures."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers.utils import logging

from .build import build_oracle, write_json
from .models import ORACLES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.oracles", description=__doc__)
    parser.add_argument("--llama-cpp", help="llama.cpp source checkout (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/oracles"))
    parser.add_argument("--only", nargs="*", choices=[oracle.name for oracle in ORACLES], help="these models only")
    parser.add_argument("--force", action="store_true", help="make models again that are already complete")
    args = parser.parse_args()
    llama_cpp = Path(args.llama_cpp or os.environ.get("TRAITSCOPE_LLAMA_CPP", "")).resolve()
    if not (llama_cpp / "convert_hf_to_gguf.py").is_file():
        parser.error("no converter: pass --llama-cpp DIR, a llama.cpp source checkout")
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.disable_progress_bar()
    # One thread: sums of floats depend on how the work is split.
    torch.set_num_threads(1)
    for oracle in ORACLES:
        if args.only is not None and oracle.name not in args.only:
            continue
        if (args.out / oracle.name / "model.json").is_file() and not args.force:
            print(f"{oracle.name}: complete, kept (--force makes it again)")
            continue
        build_oracle(oracle, llama_cpp, args.out)
        print(f"{oracle.name}: made")
    _write_index(args.out, llama_cpp)


def _write_index(out: Path, llama_cpp: Path) -> None:
    """index.json lists the complete models in the order of the package, whatever was made this time."""
    models = []
    for oracle in ORACLES:
        path = out / oracle.name / "model.json"
        if not path.is_file():
            continue
        model = json.loads(path.read_text(encoding="utf-8"))
        keys = ("name", "architecture", "huggingFaceClass", "variants", "fileType", "blocks", "embedding", "notes")
        models.append({key: model[key] for key in keys})
    packages = ("torch", "transformers", "peft", "tokenizers", "sentencepiece", "safetensors")
    versions = {name: re.sub(r"\+.*", "", version(name)) for name in packages}
    notes = [
        "Byte-level vocabularies: the converter's look-up of the splitting rule by hash is replaced by its name.",
        "Hidden states: float32, eager attention, one prompt per forward pass, hooks on the decoder layers.",
    ]
    versions["llama.cpp"] = _tag(llama_cpp)
    write_json(out / "index.json", {"versions": versions, "notes": notes, "models": models})


def _tag(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--tags", "--always"]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
