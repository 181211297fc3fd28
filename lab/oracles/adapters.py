"""Real PEFT adapters in the variants that attach at run time, with both factors randomised."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from .models import Oracle, normal

FUSED = "phi3"


def lora_config(oracle: Oracle, variant: str) -> LoraConfig:
    """The three variants: plain on q and v, rsLoRA on every linear module, and ranks and alphas by pattern."""
    fused = oracle.architecture == FUSED
    common = {"task_type": "CAUSAL_LM", "lora_dropout": 0.0, "bias": "none"}
    if variant == "plain":
        return LoraConfig(r=4, lora_alpha=8, target_modules=["qkv_proj"] if fused else ["q_proj", "v_proj"], **common)
    if variant == "rslora":
        modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
        if not fused:
            modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        return LoraConfig(r=6, lora_alpha=12, use_rslora=True, target_modules=modules, **common)
    if variant == "patterns":
        query = "qkv_proj" if fused else "q_proj"
        modules = [query, "o_proj", "down_proj"] if fused else [query, "k_proj", "o_proj", "down_proj"]
        return LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=modules,
            # A suffix, a full path and a regular expression; a key that comes first in sorted order wins.
            rank_pattern={"down_proj": 2, f"model.layers.1.self_attn.{query}": 6},
            alpha_pattern={r"layers\.[01]\.mlp\.down_proj": 5, "self_attn.o_proj": 20, query: 3},
            **common,
        )
    raise ValueError(f"unknown variant {variant}")


def make_adapter(oracle: Oracle, model: PreTrainedModel, variant: str) -> PeftModel:
    """Wraps `model` in place. The change is about half of what the base module gives, so no variant is negligible."""
    peft_model = get_peft_model(model, lora_config(oracle, variant)).eval()
    with torch.no_grad():
        for path, module in peft_model.named_modules():
            if not hasattr(module, "lora_A") or "default" not in module.lora_A:
                continue
            a, b, scale = module.lora_A["default"].weight, module.lora_B["default"].weight, module.scaling["default"]
            a.copy_(normal(f"{oracle.name}/{variant}/{path}/A", a.shape, a.shape[1] ** -0.5))
            b.copy_(normal(f"{oracle.name}/{variant}/{path}/B", b.shape, 0.5 / (scale * b.shape[1] ** 0.5)))
    return peft_model


def save_adapter(peft_model: PeftModel, oracle: Oracle, folder: Path, embeddings: bool = False) -> None:
    """PEFT's own save_pretrained, then the parts that vary or name a place are removed."""
    peft_model.save_pretrained(folder, save_embedding_layers=embeddings)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"traitscope/oracle-{oracle.name}"
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
