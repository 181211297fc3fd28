"""Adapters of every kind that peft can make on the oracle llama, for the test that each is read or refused by name.

`test/fixtures/peft/<kind>/` holds what save_pretrained wrote. Weights are as initialised, with B moved away from zero where
there is one. CorDA and LoRA-GA are initialised from runs over the oracle's prompts. `golden.safetensors` has the last token's
state after every block for the converted PiSSA, OLoRA, CorDA and LoRA-GA adapters, which are plain LoRA on the original base.
LoftQ is missing: peft makes it with bitsandbytes on a GPU only.

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
from peft import LoraGAConfig, PeftModel, get_peft_model, preprocess_loraga
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda
from safetensors.torch import save_file
from transformers.utils import logging

from .convert_fixtures import oracle_model
from .oracles.golden import last_states
from .oracles.models import ORACLES, normal

ORACLE = next(oracle for oracle in ORACLES if oracle.name == "llama")
TARGETS = {"target_modules": ["q_proj", "v_proj"]}
LORA = {"r": 2, "lora_alpha": 4, **TARGETS}
PROMPTS = Path("test/fixtures/oracles/llama/prompts.json")

# Folder, name of peft's configuration class, its arguments.
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gaussian", "LoraConfig", {**LORA, "init_lora_weights": "gaussian"}),
    ("orthogonal", "LoraConfig", {**LORA, "init_lora_weights": "orthogonal"}),
    ("pissa", "LoraConfig", {**LORA, "init_lora_weights": "pissa"}),
    ("pissa-niter", "LoraConfig", {**LORA, "init_lora_weights": "pissa_niter_4"}),
    ("olora", "LoraConfig", {**LORA, "init_lora_weights": "olora"}),
    ("corda", "LoraConfig", {**LORA, "init_lora_weights": "corda", "corda_config": CordaConfig()}),
    ("lora-ga", "LoraConfig", {**LORA, "init_lora_weights": "lora_ga", "lora_ga_config": LoraGAConfig()}),
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
CONVERTED = ("pissa", "olora", "corda", "lora-ga")


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
    peft_model = initialise(model, config, arguments)
    train(peft_model)
    return peft_model


def initialise(model: torch.nn.Module, config: str, arguments: dict[str, Any]) -> PeftModel:
    torch.manual_seed(0)
    base = copy.deepcopy(model)
    configuration = getattr(peft, config)(task_type="CAUSAL_LM", **copy.deepcopy(arguments))
    init = arguments.get("init_lora_weights")
    if init == "corda":
        preprocess_corda(base, configuration, run_model=lambda: run(base))
    elif init == "lora_ga":
        preprocess_loraga(base, configuration, train_step=lambda: run(base, backward=True))
    return get_peft_model(base, configuration).eval()


def prompt_ids() -> list[list[int]]:
    return [prompt["ids"] for prompt in json.loads(PROMPTS.read_text(encoding="utf-8"))["prompts"]]


def run(model: torch.nn.Module, backward: bool = False) -> None:
    for row in prompt_ids():
        ids = torch.tensor([row])
        loss = model(input_ids=ids, labels=ids).loss
        if backward:
            loss.backward()


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
    golden = {}
    for kind, config, arguments in KINDS:
        if kind not in CONVERTED:
            continue
        peft_model = initialise(model, config, arguments)
        with tempfile.TemporaryDirectory() as initial:
            # Saved as plain LoRA, so that loading it does not initialise it again.
            peft_model.peft_config["default"].init_lora_weights = True
            peft_model.save_pretrained(initial)
            peft_model.peft_config["default"].init_lora_weights = arguments["init_lora_weights"]
            train(peft_model)
            golden[f"{kind}-converted"] = last_states(peft_model, prompt_ids()).contiguous()
            save(peft_model, out / f"{kind}-converted", path_initial_model_for_weight_conversion=initial)
    save_file(golden, out / "golden.safetensors")
    (out / "golden.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
