"""Adapters of every kind that peft can make on the oracle llama, for the test that each is read or refused by name.

`test/fixtures/peft/<kind>/` holds what save_pretrained wrote. Weights are as initialised, with B moved away from zero where
there is one. `golden.safetensors` has the last token's state after every block for the converted PiSSA and OLoRA adapters,
which are plain LoRA on the original base.

    python -m lab.peft_kinds
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers.utils import logging

from .convert_fixtures import oracle_model
from .oracles.golden import last_states
from .oracles.models import ORACLES, normal

ORACLE = next(oracle for oracle in ORACLES if oracle.name == "llama")
TARGETS = {"target_modules": ["q_proj", "v_proj"]}
LORA = {"r": 2, "lora_alpha": 4, **TARGETS}

# Folder, name of peft's configuration class, its arguments.
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gaussian", "LoraConfig", {**LORA, "init_lora_weights": "gaussian"}),
    ("orthogonal", "LoraConfig", {**LORA, "init_lora_weights": "orthogonal"}),
    ("pissa", "LoraConfig", {**LORA, "init_lora_weights": "pissa"}),
    ("pissa-niter", "LoraConfig", {**LORA, "init_lora_weights": "pissa_niter_4"}),
    ("olora", "LoraConfig", {**LORA, "init_lora_weights": "olora"}),
    ("adalora", "AdaLoraConfig", {"init_r": 3, "target_r": 2, "total_step": 10, **TARGETS}),
    ("loha", "LoHaConfig", {"r": 2, "alpha": 4, **TARGETS}),
    ("lokr", "LoKrConfig", {"r": 2, "alpha": 4, **TARGETS}),
    ("ia3", "IA3Config", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    ("vera", "VeraConfig", {"r": 2, "target_modules": ["q_proj"]}),
    ("oft", "OFTConfig", {"oft_block_size": 8, **TARGETS}),
    ("boft", "BOFTConfig", {"boft_block_size": 8, **TARGETS}),
    ("hra", "HRAConfig", {"r": 2, **TARGETS}),
    ("fourierft", "FourierFTConfig", {"n_frequency": 8, **TARGETS}),
    ("ln-tuning", "LNTuningConfig", {"target_modules": ["input_layernorm"]}),
    ("trainable-tokens", "TrainableTokensConfig", {"token_indices": [3, 5], "target_modules": ["embed_tokens"]}),
    ("prompt-tuning", "PromptTuningConfig", {"num_virtual_tokens": 2}),
    ("prefix-tuning", "PrefixTuningConfig", {"num_virtual_tokens": 2}),
    ("p-tuning", "PromptEncoderConfig", {"num_virtual_tokens": 2, "encoder_hidden_size": 8}),
)
CONVERTED = ("pissa", "olora")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.peft_kinds", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/peft"))
    args = parser.parse_args()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = oracle_model(ORACLE, Path(scratch) / ORACLE.name)
    for name, config, arguments in KINDS:
        save(make(model, config, arguments), args.out / name)
        print(f"{name}: made")
    # DeepSpeed ZeRO-3 hands save_pretrained a state without the partitioned weights.
    plain = make(model, "LoraConfig", LORA)
    save(plain, args.out / "zero3-empty", state_dict={})
    converted(model, args.out)


def make(model: torch.nn.Module, config: str, arguments: dict[str, Any]) -> PeftModel:
    torch.manual_seed(0)
    peft_model = get_peft_model(copy.deepcopy(model), getattr(peft, config)(task_type="CAUSAL_LM", **arguments)).eval()
    train(peft_model)
    return peft_model


def train(peft_model: PeftModel) -> None:
    """Moves every lora_B by values of its own name's seed."""
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if ".lora_B." in name:
                parameter.add_(normal(f"kinds/{name}", parameter.shape, 0.2))


def save(peft_model: PeftModel, folder: Path, **arguments: Any) -> None:
    peft_model.save_pretrained(folder, **arguments)
    (folder / "README.md").unlink(missing_ok=True)
    for file in folder.iterdir():
        file.chmod(0o644)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"traitscope/oracle-{ORACLE.name}"
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def converted(model: torch.nn.Module, out: Path) -> None:
    prompts = json.loads(Path("test/fixtures/oracles/llama/prompts.json").read_text("utf-8"))["prompts"]
    golden = {}
    for init in CONVERTED:
        torch.manual_seed(0)
        config = peft.LoraConfig(task_type="CAUSAL_LM", **LORA, init_lora_weights=init)
        peft_model = get_peft_model(copy.deepcopy(model), config).eval()
        with tempfile.TemporaryDirectory() as initial:
            # Saved as plain LoRA, so that loading it does not initialise it again.
            peft_model.peft_config["default"].init_lora_weights = True
            peft_model.save_pretrained(initial)
            peft_model.peft_config["default"].init_lora_weights = init
            train(peft_model)
            golden[f"{init}-converted"] = last_states(peft_model, [prompt["ids"] for prompt in prompts]).contiguous()
            save(peft_model, out / f"{init}-converted", path_initial_model_for_weight_conversion=initial)
    save_file(golden, out / "golden.safetensors")
    (out / "golden.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
