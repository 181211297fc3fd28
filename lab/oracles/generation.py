"""What transformers generates and scores, for oracle models that exist already.

    python -m lab.oracles.generation [--out test/fixtures/oracles] [--only NAME ...]

Writes <model>/generation.json and generation.safetensors. Per variant (base, the adapter `plain`, and a control vector
added to one block's output at every position) and prompt, greedy `generate` of 24 tokens with nothing that ends it:

    tokens       generated ids
    text         of them, special tokens skipped
    gaps         logit of the chosen token minus the second best, per token
    logprobs     of the chosen token, natural, per token

`scores`: log-probabilities of a given continuation, token by token. `decoded`: what the tokenizer makes of the ids of every
plain text in tokens.json. In the safetensors file:

    control      [n_embd] the control vector; its block is `controlLayer`
    mean_output  [prompts, blocks, n_embd] mean block output over decode steps of the base: all generated tokens but the last

Gemma's GELU is rounded as llama.cpp's CPU back end does it, as in `last.gelu16` of the other goldens.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from . import golden
from .build import write_json
from .merged import _load, _prompt_ids
from .models import ORACLES, Oracle, normal
from .vocabularies import VOCABULARIES, make_tokenizer

NEW_TOKENS = 24
SCORED_TOKENS = 6


def generate(model: nn.Module, ids: list[int]) -> tuple[list[int], torch.Tensor]:
    """Greedy tokens and their logits, [tokens, vocabulary]."""
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        out = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    tokens = out.sequences[0, len(ids) :].tolist()
    if len(tokens) != NEW_TOKENS:
        raise SystemExit(f"generated {len(tokens)} tokens, expected {NEW_TOKENS}")
    return tokens, torch.cat(out.logits).float()


def rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in values.tolist()]


def decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def describe(model: nn.Module, tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> dict:
    tokens, logits = generate(model, ids)
    top = logits.topk(2).values
    chosen = torch.log_softmax(logits.double(), dim=-1)[torch.arange(len(tokens)), tokens]
    return {"tokens": tokens, "text": decode(tokenizer, tokens), "gaps": rounded(top[:, 0] - top[:, 1]), "logprobs": rounded(chosen)}


def score(model: nn.Module, ids: list[int], continuation: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + continuation]), use_cache=False).logits[0].double()
    logprobs = torch.log_softmax(logits[len(ids) - 1 : -1], dim=-1)
    return rounded(logprobs[torch.arange(len(continuation)), continuation])


def mean_output(model: nn.Module, ids: list[int]) -> torch.Tensor:
    """[blocks, n_embd] over the decode steps of a generation; the pass over the prompt is left out."""
    layers = golden.decoder_layers(model)
    seen: list[list[torch.Tensor]] = [[] for _ in layers]

    def keep(index: int):
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            seen[index].append((output[0] if isinstance(output, tuple) else output).detach().clone())

        return hook

    hooks = [layer.register_forward_hook(keep(i)) for i, layer in enumerate(layers)]
    try:
        generate(model, ids)
    finally:
        for hook in hooks:
            hook.remove()
    # The new token's state alone: Phi computes everything again where its rotation factors would change.
    steps = torch.stack([torch.stack([state[0, -1] for state in each[1:]]) for each in seen])
    if steps.shape[1] != NEW_TOKENS - 1:
        raise SystemExit(f"expected {NEW_TOKENS - 1} decode steps, found {steps.shape[1]}")
    return steps.double().mean(dim=1).float()


def make(oracle: Oracle, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = make_tokenizer(VOCABULARIES[oracle.vocabulary], Path(scratch) / oracle.name)
    model = _load(oracle, folder)
    if oracle.architecture.startswith("gemma"):
        golden.use_table_gelu(model)
    prompts = _prompt_ids(folder)
    variants = {"base": [describe(model, tokenizer, ids) for ids in prompts]}
    means = torch.stack([mean_output(model, ids) for ids in prompts])

    layers = golden.decoder_layers(model)
    block = len(layers) // 2
    size = float(golden.last_states(model, prompts)[:, block].norm(dim=-1).mean())
    control = normal(f"{oracle.name}/control", (model.config.hidden_size,), 1.0)
    control *= 0.7 * size / control.norm()

    def add(_module: nn.Module, _inputs: object, output: object) -> object:
        return (output[0] + control, *output[1:]) if isinstance(output, tuple) else output + control

    hook = layers[block].register_forward_hook(add)
    variants["control"] = [describe(model, tokenizer, ids) for ids in prompts]
    hook.remove()

    # The first six tokens of the next prompt, without the one that begins it.
    continuations = [prompts[(i + 1) % len(prompts)][1 : 1 + SCORED_TOKENS] or [1] for i in range(len(prompts))]
    scores = [
        {"continuation": continuation, "logprobs": score(model, ids, continuation)}
        for ids, continuation in zip(prompts, continuations)
    ]
    if "plain" in oracle.variants:
        adapted = PeftModel.from_pretrained(copy.deepcopy(model), folder / "adapter-plain").eval()
        variants["plain"] = [describe(adapted, tokenizer, ids) for ids in prompts]

    plain = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))["plain"]
    decoded = [decode(tokenizer, each["ids"]) for each in plain]
    write_json(
        folder / "generation.json",
        {"newTokens": NEW_TOKENS, "controlLayer": block, "variants": variants, "scores": scores, "decoded": decoded},
    )
    save_file({"control": control.contiguous(), "mean_output": means.contiguous()}, folder / "generation.safetensors")
    (folder / "generation.safetensors").chmod(0o644)
    distinct = len({tuple(each["tokens"]) for each in variants["base"]})
    moved = sum(a["tokens"] != b["tokens"] for a, b in zip(variants["base"], variants["control"]))
    smallest = min(gap for each in variants["base"] for gap in each["gaps"])
    print(f"{oracle.name}: {distinct} of {len(prompts)} differ, the control moves {moved}, smallest gap {smallest:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.oracles.generation", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/oracles"))
    parser.add_argument("--only", nargs="*", choices=[oracle.name for oracle in ORACLES], help="these models only")
    args = parser.parse_args()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for oracle in ORACLES:
        if args.only is None or oracle.name in args.only:
            make(oracle, args.out / oracle.name)


if __name__ == "__main__":
    main()
