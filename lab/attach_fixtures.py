"""Golden states of adapters that the oracle models do not have: on embedding and head, and two at once.

`<model>/adapter-embeddings/` is LoRA on the embedding, the head, q and v of a model with a head of its own, made and
saved by peft. `<model>/golden.safetensors` holds the last token's state after every block, prompts and shapes as in
test/fixtures/oracles: `embeddings` with that adapter, `two` with the oracle's adapter "plain" at strength 1 and
"patterns" at strength 0.5, `scaled` with "rslora" at strength -0.25.

    python -m lab.attach_fixtures
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers.utils import logging

from .convert_fixtures import oracle_model
from .oracles.adapters import save_adapter
from .oracles.golden import last_states, relative_change
from .oracles.models import ORACLES, Oracle, normal

# One with permuted rows, one with biases, one with fused weights; all have a head of their own.
MODELS = ("llama", "qwen2", "phi3")
ORACLE_FIXTURES = Path("test/fixtures/oracles")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.attach_fixtures", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/attach"))
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    for oracle in ORACLES:
        if oracle.name in MODELS:
            make(oracle, args.out / oracle.name)
            print(f"{oracle.name}: made")


def make(oracle: Oracle, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = oracle_model(oracle, Path(scratch) / oracle.name)
    fixtures = ORACLE_FIXTURES / oracle.name
    prompts = [prompt["ids"] for prompt in json.loads((fixtures / "prompts.json").read_text("utf-8"))["prompts"]]
    base = last_states(model, prompts)
    golden = {
        "embeddings": last_states(embeddings(oracle, copy.deepcopy(model), folder / "adapter-embeddings"), prompts),
        "two": last_states(loaded(copy.deepcopy(model), fixtures, {"plain": 1.0, "patterns": 0.5}), prompts),
        "scaled": last_states(loaded(copy.deepcopy(model), fixtures, {"rslora": -0.25}), prompts),
    }
    for name, states in golden.items():
        if relative_change(states, base) < 0.02:
            raise SystemExit(f"{oracle.name}: {name} moves the states by too little to tell")
    save_file({name: states.contiguous() for name, states in golden.items()}, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)


def embeddings(oracle: Oracle, model: torch.nn.Module, folder: Path) -> PeftModel:
    attention = ["qkv_proj"] if oracle.architecture == "phi3" else ["q_proj", "v_proj"]
    config = LoraConfig(
        task_type="CAUSAL_LM", r=3, lora_alpha=5, target_modules=["embed_tokens", "lm_head", *attention]
    )
    peft_model = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name:
                parameter.copy_(normal(f"{oracle.name}/embeddings/{name}", parameter.shape, 0.3))
    save_adapter(peft_model, oracle, folder)
    return peft_model


def loaded(model: torch.nn.Module, fixtures: Path, strengths: dict[str, float]) -> PeftModel:
    """The oracle's saved adapters, all active, each with a factor on its scale."""
    names = list(strengths)
    peft_model = PeftModel.from_pretrained(model, fixtures / f"adapter-{names[0]}", adapter_name=names[0])
    for name in names[1:]:
        peft_model.load_adapter(fixtures / f"adapter-{name}", adapter_name=name)
    peft_model.base_model.set_adapter(names)
    for module in peft_model.modules():
        if hasattr(module, "scaling") and isinstance(module.scaling, dict):
            for name in names:
                if name in module.scaling:
                    module.scaling[name] *= strengths[name]
    return peft_model.eval()


if __name__ == "__main__":
    main()
