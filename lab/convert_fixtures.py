"""Hugging Face folders of every family and what llama.cpp's converter makes of them, for the tests of `convert`.

The models are the oracle models (lab/oracles) with their weights stored in 16 bits, as published models are; two are
sharded. `expected.json` holds all metadata and a SHA-256 of every tensor for the three output types. `full-llama/` is a
whole fine-tuned checkpoint: the oracle llama with its adapter "plain" merged by peft, so that the golden states of that
adapter are its own.

    python -m lab.convert_fixtures --llama-cpp DIR
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from peft import PeftModel
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils import logging

from .gguf_export import find_llama_cpp
from .oracles.build import write_json
from .oracles.convert import convert
from .oracles.corpus import TOKEN_TEXTS, TRAINING_TEXT
from .oracles.models import ORACLES, Oracle, build_model
from .oracles.vocabularies import VOCABULARIES, make_tokenizer

# Name of the oracle -> type that the weights are stored in, and the largest shard.
FOLDERS = {
    "llama": (torch.bfloat16, None),
    "mistral": (torch.bfloat16, "100KB"),
    "qwen2": (torch.float16, "100KB"),
    "qwen3": (torch.float32, None),
    "gemma2": (torch.bfloat16, None),
    "gemma3": (torch.bfloat16, None),
    "phi3": (torch.bfloat16, None),
    "phi4-mini": (torch.bfloat16, None),
    "phi4": (torch.float16, None),
}
TYPES = ("f32", "f16", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.convert_fixtures", description=__doc__.split("\n")[0])
    parser.add_argument("--llama-cpp", help="llama.cpp source checkout (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/convert"))
    parser.add_argument("--only", nargs="*", help="these folders only")
    args = parser.parse_args()
    llama_cpp = find_llama_cpp(args.llama_cpp)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    for oracle in ORACLES:
        if oracle.name in FOLDERS and (args.only is None or oracle.name in args.only):
            make_folder(oracle, llama_cpp, args.out / oracle.name)
            print(f"{oracle.name}: made")
    if args.only is None or "full-llama" in args.only:
        make_full_checkpoint(args.out / "full-llama")
    if args.only is None or "tokenizers" in args.only:
        make_tokenizers(args.out / "tokenizers")


def make_folder(oracle: Oracle, llama_cpp: Path, folder: Path) -> None:
    dtype, shard = FOLDERS[oracle.name]
    vocabulary = VOCABULARIES[oracle.vocabulary]
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / oracle.name
        model, tokenizer = oracle_model(oracle, source)
        model.to(dtype).save_pretrained(source, **({"max_shard_size": shard} if shard else {}))
        (source / "generation_config.json").unlink(missing_ok=True)
        shutil.copytree(source, folder / "hf")
        for file in (folder / "hf").iterdir():
            file.chmod(0o644)
        expected: dict[str, Any] = {"tensors": {}}
        for kind in TYPES:
            gguf = Path(scratch) / f"{kind}.gguf"
            convert(llama_cpp, source, gguf, oracle.general_name, kind, vocabulary.pre)
            metadata, tensors = read(llama_cpp, gguf)
            expected["tensors"][kind] = tensors
            expected["metadata"] = metadata
    write_json(folder / "expected.json", {"name": oracle.general_name, **expected})


def make_full_checkpoint(folder: Path) -> None:
    oracle = next(oracle for oracle in ORACLES if oracle.name == "llama")
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = oracle_model(oracle, Path(scratch) / oracle.name)
        adapter = Path("test/fixtures/oracles/llama/adapter-plain")
        merged = PeftModel.from_pretrained(copy.deepcopy(model), adapter).merge_and_unload()
        merged.save_pretrained(folder / "checkpoint-8", max_shard_size="150KB")
    (folder / "checkpoint-8" / "generation_config.json").unlink(missing_ok=True)
    state = {"epoch": 1.0, "global_step": 8, "log_history": [{"epoch": 1.0, "loss": 0.5, "step": 8}]}
    (folder / "checkpoint-8" / "trainer_state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    for file in (folder / "checkpoint-8").iterdir():
        file.chmod(0o644)


def make_tokenizers(folder: Path) -> None:
    """Byte-level tokenizers of the oracle llama's size for the splitting rules that no oracle has, and ids of texts."""
    upper, lower = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
    tekken = (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{upper}]*[{lower}]+|[^\r\n\p{{L}}\p{{N}}]?[{upper}]+[{lower}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rules = {
        "tekken": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(tekken), behavior="isolated"), plain]),
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words]),
        "gpt-2": words,
    }
    special = VOCABULARIES["llama3"].special
    shutil.rmtree(folder, ignore_errors=True)
    for name, rule in rules.items():
        tokenizer = Tokenizer(models.BPE(ignore_merges=name == "tekken"))
        tokenizer.pre_tokenizer = rule
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=384 - len(special),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
        (folder / name).mkdir(parents=True)
        tokenizer.save(str(folder / name / "tokenizer.json"))
        ids = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TOKEN_TEXTS]
        write_json(folder / name / "tokens.json", ids)


def read(llama_cpp: Path, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """All metadata, arrays as a hash of their content, and shape (ggml's order), type and hash of every tensor."""
    sys.path.insert(0, str(llama_cpp / "gguf-py"))
    from gguf import GGUFReader, GGUFValueType

    reader = GGUFReader(path)
    metadata = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        if field.types[0] != GGUFValueType.ARRAY:
            metadata[key] = {"type": field.types[0].name, "value": field.contents()}
            continue
        parts = [field.parts[index] for index in field.data]
        data = b"\0".join(part.tobytes() for part in parts) if field.types[-1] == GGUFValueType.STRING else b"".join(
            part.tobytes() for part in parts
        )
        metadata[key] = {"type": f"{field.types[-1].name}[]", "count": len(parts), "sha256": _sha256(data)}
    tensors = {
        tensor.name: {
            "type": tensor.tensor_type.name,
            "shape": [int(size) for size in tensor.shape],
            "sha256": _sha256(np.ascontiguousarray(tensor.data).tobytes()),
        }
        for tensor in reader.tensors
    }
    return metadata, tensors


def oracle_model(oracle: Oracle, source: Path) -> tuple[Any, Any]:
    tokenizer = make_tokenizer(VOCABULARIES[oracle.vocabulary], source)
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return build_model(oracle, len(tokenizer), ids), tokenizer


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
