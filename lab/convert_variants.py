"""Settings that published folders have and the oracle models have not: states of the folders of test/fixtures/convert with a
changed config.json, by transformers in float32.

`variants.json` names for each variant the folder, the changed keys (null removes one) and the prompts as token ids;
`states.safetensors` holds the output of every block at the last token, `NAME.PROMPT` of shape [blocks, n_embd].
`tokenizers.json` is the same for changed parts of tokenizer.json: ids of texts by the tokenizers library.

    python -m lab.convert_variants
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from .oracles.build import write_json
from .oracles.corpus import TOKEN_TEXTS

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
    "long_factor": [1.08, 1.3, 2.0, 3.5, 5.0, 9.0, 14.0, 22.0],
    "short_factor": [1.0, 1.02, 1.1, 1.25, 1.4, 1.75, 2.1, 2.4],
}


def yarn(theta: float, **more: Any) -> dict[str, Any]:
    return {"max_position_embeddings": 4096, "rope_parameters": {**YARN, "rope_theta": theta, **more}}


def kinds(text: str) -> list[str]:
    return [{"f": "full_attention", "s": "sliding_attention"}[kind] for kind in text]


def gemma3(full: dict[str, Any], sliding: dict[str, Any]) -> dict[str, Any]:
    return {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}


DEFAULT = {"rope_type": "default"}
LONG_CONTEXTS = {"original_max_position_embeddings": 256, "max_position_embeddings": 4096}

# Name -> folder, changed keys, lengths of the prompts.
VARIANTS: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "llama-yarn": ("llama", yarn(10000.0), [7, 60]),
    "llama-yarn-attention": ("llama", yarn(10000.0, attention_factor=1.0), [7, 60]),
    "llama-yarn-factor-null": ("llama", yarn(10000.0, factor=None), [60]),
    "llama-dynamic": (
        "llama",
        {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        [7, 64],
    ),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4}}, [60]),
    "llama-linear-older": (
        "llama",
        {"rope_parameters": None, "rope_theta": 20000.0, "rope_scaling": {"type": "linear", "factor": 3.0}},
        [60],
    ),
    "qwen2-yarn-mscale": ("qwen2", yarn(1e6, mscale=0.7, mscale_all_dim=0.3), [7, 60]),
    "qwen2-yarn-one-mscale": ("qwen2", yarn(1e6, mscale=0.7), [60]),
    "qwen3-yarn-attention": ("qwen3", yarn(1e6, attention_factor=1.4), [7, 60]),
    "qwen3-yarn-betas": ("qwen3", yarn(1e6, beta_fast=32, beta_slow=1, truncate=True), [60]),
    "mistral-window": ("mistral", {"sliding_window": 16}, [7, 16]),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1, "layer_types": None},
        [7, 16],
    ),
    "qwen3-window": (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": 16, "layer_types": kinds("fsf")},
        [16],
    ),
    "phi3-window": ("phi3", {"sliding_window": 16}, [7, 16]),
    "gemma2-theta": ("gemma2", {"rope_parameters": {**DEFAULT, "rope_theta": 1e6}}, [7, 60]),
    "gemma2-linear": ("gemma2", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, [60]),
    "gemma2-kinds": ("gemma2", {"layer_types": kinds("ffsf")}, [60]),
    "gemma3-pattern": ("gemma3", {"layer_types": None, "sliding_window_pattern": 2}, [7, 60]),
    "gemma3-kinds": ("gemma3", {"layer_types": kinds("fssfssf")}, [60]),
    "gemma3-full": ("gemma3", {"layer_types": kinds("fffffff")}, [60]),
    "gemma3-bases": ("gemma3", gemma3({**DEFAULT, "rope_theta": 5e5}, {**DEFAULT, "rope_theta": 2e4}), [60]),
    "gemma3-older": (
        "gemma3",
        {
            "rope_parameters": None,
            "rope_theta": 5e5,
            "rope_local_base_freq": 2e4,
            "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        },
        [60],
    ),
    "phi3-long": ("phi3", {**LONG_CONTEXTS, "rope_parameters": LONG}, [7, 60, 256, 257, 300]),
    "phi3-long-attention": ("phi3", {**LONG_CONTEXTS, "rope_parameters": {**LONG, "attention_factor": 1.3}}, [60]),
    "phi3-long-factor": ("phi3", {**LONG_CONTEXTS, "rope_parameters": {**LONG, "factor": 2.0}}, [60]),
    "phi3-long-older": (
        "phi3",
        {
            **LONG_CONTEXTS,
            "rope_parameters": None,
            "rope_theta": 10000.0,
            "rope_scaling": {"type": "longrope", "long_factor": LONG["long_factor"], "short_factor": LONG["short_factor"]},
        },
        [60],
    ),
}


METASPACE = {"type": "Metaspace", "replacement": "\u2581", "split": False}
FIRST = {"normalizer": None, "pre_tokenizer": {**METASPACE, "prepend_scheme": "first"}}
SECTIONS = {"normalizer": None, "pre_tokenizer": {**METASPACE, "prepend_scheme": "always"}}
NEVER = {"normalizer": None, "pre_tokenizer": {**METASPACE, "prepend_scheme": "never"}}

# Name -> folder, changed parts, and for which tokens the sides are that they swallow white space on.
TOKENIZERS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "pieces-first": ("mistral", FIRST, {}),
    "pieces-sections": ("mistral", SECTIONS, {}),
    "pieces-never": ("mistral", NEVER, {}),
    "empty-sequence": ("llama", {"normalizer": {"type": "Sequence", "normalizers": []}}, {}),
    "nfc-in-sequence": ("qwen2", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}, {}),
    "promoted": ("qwen2", {}, {}),
    "strips": ("phi4-mini", {}, {"<|user|>": ("rstrip",), "<|end|>": ("lstrip", "rstrip"), "<|system|>": ("lstrip",)}),
}


def with_ordinary_end(model: dict[str, Any]) -> dict[str, Any]:
    """`</s>` as an ordinary token, which no merge gives, as in Qwen's vocabulary."""
    last = max(model["vocab"], key=model["vocab"].get)
    vocab = {("</s>" if text == last else text): index for text, index in model["vocab"].items()}
    return {**model, "vocab": vocab, "merges": [pair for pair in model["merges"] if "".join(pair) != last]}


def tokenized(fixtures: Path, base: str, changes: dict[str, Any], strips: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    content = {**json.loads((fixtures / base / "hf/tokenizer.json").read_text()), **changes}
    for token in content["added_tokens"]:
        for side in strips.get(token["content"], ()):
            token[side] = True
    if changes == {} and not strips:
        changes = {"model": with_ordinary_end(content["model"])}
        content |= changes
    if strips:
        changes = {**changes, "added_tokens": content["added_tokens"]}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    special = [token["content"] for token in content["added_tokens"]]
    texts = [
        *TOKEN_TEXTS,
        *(f"{a}one {a} two  {b}\n three {a}{b} \tfour\u00a0{b}\u3000five" for a, b in zip(special, special[1:])),
        f"  two spaces{special[-1]}  and more ",
        f"{special[0]} one",
        f"a <s>struck</s> word{special[0]} and </s>{special[-1]}</s>\n",
    ]
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return {"tokenizer": changes, "texts": texts, "ids": ids}


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**config, **changes}.items() if value is not None or key not in changes}


def states(folder: Path, prompt: list[int]) -> np.ndarray:
    # A model for every prompt: its rotation must not remember the prompt before.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    rows: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.register_forward_hook(
            lambda _, __, output: rows.append((output[0] if isinstance(output, tuple) else output)[0, -1].clone())
        )
    with torch.no_grad():
        model(torch.tensor([prompt]), use_cache=False)
    return torch.stack(rows).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.convert_variants", description=__doc__.split("\n")[0])
    parser.add_argument("--fixtures", type=Path, default=Path("test/fixtures/convert"))
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {}
    listed = []
    for name, (base, changes, lengths) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "hf"
            shutil.copytree(args.fixtures / base / "hf", folder)
            config = changed(json.loads((folder / "config.json").read_text()), changes)
            (folder / "config.json").write_text(json.dumps(config))
            random = np.random.RandomState(len(listed) + 1)
            prompts = [random.randint(10, 370, size=length).tolist() for length in lengths]
            for index, prompt in enumerate(prompts):
                found[f"{name}.{index}"] = states(folder, prompt)
        listed.append({"name": name, "folder": base, "config": changes, "prompts": prompts})
        print(f"{name}: {len(prompts)} prompts")
    out = args.fixtures / "variants"
    out.mkdir(exist_ok=True)
    write_json(out / "variants.json", listed)
    save_file(found, out / "states.safetensors")
    (out / "states.safetensors").chmod(0o644)
    tokenizers = [
        {"name": name, "folder": base, **tokenized(args.fixtures, base, changes, strips)}
        for name, (base, changes, strips) in TOKENIZERS.items()
    ]
    write_json(out / "tokenizers.json", tokenizers)


if __name__ == "__main__":
    main()
