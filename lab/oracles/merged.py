"""Adapters that must be merged into the base, made and computed by peft, for oracle models that exist already.

    python -m lab.oracles.merged [--out test/fixtures/oracles] [--only NAME ...]

Writes <model>/merge-<variant>/ with peft's adapter files and golden.safetensors:

    last         [prompts, blocks, n_embd] as in the goldens beside it; Gemma has last.gelu16 too
    head         [rows, n_embd] rows of the output matrix that the adapted model has
    head.ids     [rows] which rows, I32

The model is drawn again from its seeds; its states must equal golden-base.safetensors. States come from the model with
the adapter beside its weights, and must equal those after merge_and_unload() wherever peft can merge (a head that is tied
to its embedding is parted from it first).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from . import golden
from .adapters import FUSED, save_adapter
from .models import ORACLES, Oracle, build_model, normal
from .vocabularies import VOCABULARIES, make_tokenizer

SKIPPED = ("llama-wide",)
# Their graphs have one matrix for embedding and output.
ALWAYS_TIED = ("gemma2",)
BIASED = ("qwen2",)


def configs(oracle: Oracle, tokens: list[int]) -> dict[str, dict]:
    """Variant -> arguments of LoraConfig."""
    fused = oracle.architecture == FUSED
    query, value = ("qkv_proj", "qkv_proj") if fused else ("q_proj", "v_proj")
    attention = ["qkv_proj", "o_proj"] if fused else ["q_proj", "k_proj", "o_proj"]
    found = {
        "dora": {"target_modules": [*attention, "down_proj"], "use_dora": True, "rank_pattern": {"o_proj": 2}},
        "tokens": {"target_modules": [value], "trainable_token_indices": tokens},
        # The graphs of llama take these biases, the others those of q, k and v only.
        "lora-bias": {
            "target_modules": [query, value, "o_proj", "down_proj"] if oracle.architecture == "llama" else [query, value],
            "lora_bias": True,
            "use_rslora": True,
        },
    }
    whole = ["norm", "gate_up_proj" if fused else "k_proj"]
    if oracle.name in ALWAYS_TIED:
        found["modules"] = {"target_modules": ["o_proj"], "modules_to_save": whole}
        found["tied"] = {"target_modules": [value, "embed_tokens"], "ensure_weight_tying": True}
        return found
    found["modules"] = {"target_modules": ["o_proj"], "modules_to_save": [*whole, "embed_tokens", "lm_head"]}
    found["embedding"] = {"target_modules": [value, "embed_tokens"]}
    found["head"] = {"target_modules": [value, "lm_head"]}
    if oracle.name in ("llama", "qwen3"):
        found["dora-embedding"] = {"target_modules": [value, "embed_tokens"], "use_dora": True}
    if oracle.config.get("tie_word_embeddings") and oracle.name == "qwen3":
        found["tied"] = {"target_modules": [value, "embed_tokens"], "ensure_weight_tying": True}
    if oracle.name in BIASED:
        found["biases"] = {"target_modules": ["q_proj", "down_proj"], "bias": "all"}
        found["biases-lora"] = {"target_modules": ["q_proj", "down_proj"], "bias": "lora_only"}
    return found


def randomise(oracle: Oracle, variant: str, peft_model: PeftModel) -> None:
    """Every trained parameter gets values of its own; changes are large enough that forgetting one is seen."""
    with torch.no_grad():
        for path, module in peft_model.named_modules():
            key = f"{oracle.name}/{variant}/{path}"
            if "default" in getattr(module, "lora_A", {}):
                a, b, scale = module.lora_A["default"], module.lora_B["default"], module.scaling["default"]
                a.weight.copy_(normal(f"{key}/A", a.weight.shape, a.weight.shape[1] ** -0.5))
                b.weight.copy_(normal(f"{key}/B", b.weight.shape, 0.5 / (scale * b.weight.shape[1] ** 0.5)))
                if b.bias is not None:
                    b.bias.copy_(normal(f"{key}/B.bias", b.bias.shape, 0.3 / scale))
            if "default" in getattr(module, "lora_embedding_A", {}):
                a, b = module.lora_embedding_A["default"], module.lora_embedding_B["default"]
                scale, width = module.scaling["default"], module.get_base_layer().weight.std()
                a.copy_(normal(f"{key}/A", a.shape, 1.0))
                b.copy_(normal(f"{key}/B", b.shape, 0.5 * float(width) / (scale * a.shape[0] ** 0.5)))
            for magnitude in (getattr(module, "lora_magnitude_vector", None) or {}).values():
                magnitude.weight.mul_(1 + normal(f"{key}/magnitude", magnitude.weight.shape, 0.2))
            if isinstance(module, ModulesToSaveWrapper):
                for name, parameter in module.modules_to_save["default"].named_parameters():
                    noise = normal(f"{key}/{name}", parameter.shape, 1.0)
                    parameter.add_(0.3 * parameter.std() * noise)
            for delta in getattr(module, "trainable_tokens_delta", {}).values():
                delta.add_(normal(f"{key}/tokens", delta.shape, 0.5) * delta.std())
            # PEFT trains these in place.
            if peft_model.peft_config["default"].bias != "none" and isinstance(getattr(module, "bias", None), nn.Parameter):
                if module.bias.requires_grad:
                    module.bias.add_(normal(f"{key}/bias", module.bias.shape, 0.3))


def head_matrix(model: nn.Module) -> torch.Tensor:
    """[vocabulary, n_embd]: what the head computes, whatever is wrapped around it."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else model.lm_head
    with torch.no_grad():
        return head(torch.eye(model.config.hidden_size)).T.contiguous()


def make_variant(oracle: Oracle, model: PreTrainedModel, variant: str, fields: dict, folder: Path) -> str:
    prompts = _prompt_ids(folder.parent)
    base = golden.last_states(model, prompts)
    config = LoraConfig(**{"r": 3, "lora_alpha": 6, "task_type": "CAUSAL_LM", "lora_dropout": 0.0, "bias": "none"} | fields)
    wrapped = get_peft_model(copy.deepcopy(model), config).eval()
    randomise(oracle, variant, wrapped)
    shutil.rmtree(folder, ignore_errors=True)
    save_adapter(wrapped, oracle, folder, embeddings=oracle.name == "llama")

    states = golden.last_states(wrapped, prompts)
    ids = sorted({*_frequent(prompts, 3), 0, 1, 2})
    tensors = {
        "last": states,
        "head": head_matrix(wrapped.base_model.model)[ids],
        "head.ids": torch.tensor(ids, dtype=torch.int32),
    }
    if oracle.architecture.startswith("gemma"):
        layers = golden.decoder_layers(wrapped)
        exact = [layer.mlp.act_fn for layer in layers]
        golden.use_table_gelu(wrapped)
        tensors["last.gelu16"] = golden.last_states(wrapped, prompts)
        for layer, act_fn in zip(layers, exact):
            layer.mlp.act_fn = act_fn
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)

    change = golden.relative_change(states, base)
    if change < 1e-2 and variant != "head":
        raise SystemExit(f"{oracle.name} {variant}: the adapter moves the states by {change:.1e} only")
    layer = getattr(wrapped.base_model.model.lm_head, "base_layer", None)
    if variant in ("head", "tied") and layer is not None:
        # Merging works in place: on a matrix that embedding and head share, the change of one would reach the other.
        layer.weight = nn.Parameter(layer.weight.detach().clone())
    try:
        merged = golden.relative_change(golden.last_states(wrapped.merge_and_unload(), prompts), states)
    except RuntimeError as error:
        if "bias" not in str(error):
            raise
        return f"moves the states by {change:.2f}; peft cannot merge it (no bias in the base)"
    if merged > 1e-4:
        raise SystemExit(f"{oracle.name} {variant}: merge_and_unload() differs from the adapter by {merged:.1e}")
    return f"moves the states by {change:.2f}; merge_and_unload() differs by {merged:.1e}"


def _prompt_ids(folder: Path) -> list[list[int]]:
    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))["prompts"]
    return [prompt["ids"] for prompt in prompts]


def _frequent(prompts: list[list[int]], count: int) -> list[int]:
    """Ids that stand in most prompts: training them is seen."""
    seen = Counter(token for ids in prompts for token in set(ids))
    return sorted(token for token, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:count])


def _load(oracle: Oracle, folder: Path) -> PreTrainedModel:
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = make_tokenizer(VOCABULARIES[oracle.vocabulary], Path(scratch) / oracle.name)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    model = build_model(oracle, len(tokenizer), {name: getattr(tokenizer, name) for name in names})
    expected = load_file(folder / "golden-base.safetensors")["last"]
    change = golden.relative_change(golden.last_states(model, _prompt_ids(folder)), expected)
    if change > 1e-5:
        raise SystemExit(f"{oracle.name}: the model drawn again differs from its golden states by {change:.1e}")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.oracles.merged", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/oracles"))
    parser.add_argument("--only", nargs="*", choices=[oracle.name for oracle in ORACLES], help="these models only")
    args = parser.parse_args()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for oracle in ORACLES:
        if oracle.name in SKIPPED or (args.only is not None and oracle.name not in args.only):
            continue
        folder = args.out / oracle.name
        model = _load(oracle, folder)
        for variant, fields in configs(oracle, _frequent(_prompt_ids(folder), 3)).items():
            said = make_variant(oracle, model, variant, fields, folder / f"merge-{variant}")
            print(f"{oracle.name} {variant}: {said}", flush=True)


if __name__ == "__main__":
    main()
