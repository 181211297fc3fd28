"""Hugging Face folder to GGUF through llama.cpp's own converter, for tokenizers that it has never seen.

The converter recognises a BPE pre-tokenizer by a hash over the token ids of a test string, which only published
vocabularies have. The wrapper below is run as a script in a process of its own: it names the pre-tokenizer and then hands
over to the converter unchanged.

    python gguf_export.py --llama-cpp DIR --model DIR --out FILE [--type f32] [--pre llama-bpe]
"""

from __future__ import annotations

import argparse
import os
import runpy
import subprocess
import sys
from pathlib import Path


def find_llama_cpp(given: str | None) -> Path:
    """The llama.cpp source folder: the argument, or TRAITSCOPE_LLAMA_CPP."""
    folder = given or os.environ.get("TRAITSCOPE_LLAMA_CPP")
    if not folder:
        raise SystemExit("no llama.cpp source: pass --llama-cpp DIR or set TRAITSCOPE_LLAMA_CPP")
    path = Path(folder).resolve()
    if not (path / "convert_hf_to_gguf.py").is_file():
        raise SystemExit(f"{folder} holds no convert_hf_to_gguf.py: expected a llama.cpp source checkout")
    return path


def export_gguf(llama_cpp: Path, model: Path, out: Path, kind: str = "f32", pre: str = "llama-bpe") -> None:
    """Writes `out`; raises when the converter fails. `kind` is the converter's --outtype."""
    command = [sys.executable, str(Path(__file__).resolve()), "--llama-cpp", str(llama_cpp)]
    command += ["--model", str(model), "--out", str(out), "--type", kind, "--pre", pre]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0 or not out.is_file():
        raise SystemExit(f"the converter failed on {model.name}:\n{result.stderr[-4000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", help="llama.cpp source folder (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--model", required=True, help="Hugging Face model folder")
    parser.add_argument("--out", required=True, help="GGUF file to write")
    parser.add_argument("--type", default="f32", help="f32, f16, bf16 or q8_0")
    parser.add_argument("--pre", default="llama-bpe", help="llama.cpp's name of the pre-tokenizer")
    args = parser.parse_args()
    llama_cpp = find_llama_cpp(args.llama_cpp)

    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: args.pre
    sys.argv = ["convert_hf_to_gguf.py", args.model, "--outfile", args.out, "--outtype", args.type]
    runpy.run_path(str(llama_cpp / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main()
