"""Adapters and models that peft and transformers save in forms that other loaders stumble over: test/fixtures/quirks/.

All are on an oracle model; `golden.safetensors` has the last token's state after every block over the oracle's prompts.

    velora/           LoRA with VeLoRA's buffers beside it
    compiled-whole/   LoRA on a base that torch.compile wraps; the same per block in compiled-blocks/
    state-dict/       a PEFT model's own state_dict, as save_file writes it
    vision/           "all-linear" on the multi-modal Gemma 3 around the oracle gemma3; B of the vision part is zero
    resized/          LoRA on a base whose vocabulary has one more row; resized-base/ is that base, as the remedy makes it
    bnb4bit/          a whole model that was saved quantised by bitsandbytes

The remedies that traitscope's messages name for them are carried out here and checked against the golden states.
bitsandbytes is not in requirements.lock: install it beside it.

    python -m lab.quirks
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.config import VeloraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    SiglipVisionConfig,
)
from transformers.utils import logging

from .convert_fixtures import oracle_model
from .oracles.golden import last_states, relative_change
from .oracles.models import ORACLES, normal

LORA = {"task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}
TENSORS = "adapter_model.safetensors"
SAME = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.quirks", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/quirks"))
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    golden: dict[str, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        llama, tokenizer = oracle("llama", work)
        golden["velora"] = velora(llama, args.out / "velora")
        golden["compiled"] = compiled(llama, args.out)
        state_dict(llama, args.out / "state-dict", golden["compiled"])
        golden["resized"] = resized(llama, tokenizer, args.out, work)
        quantised(llama, args.out, work)
        golden["vision"] = vision(oracle("gemma3", work)[0], args.out / "vision")
    save_file({name: states.contiguous() for name, states in golden.items()}, args.out / "golden.safetensors")
    for file in args.out.rglob("*"):
        if file.is_file():
            file.chmod(0o644)


def oracle(name: str, work: Path) -> tuple[Any, Any]:
    return oracle_model(next(one for one in ORACLES if one.name == name), work / name)


def prompts(name: str = "llama") -> list[list[int]]:
    path = Path("test/fixtures/oracles") / name / "prompts.json"
    return [prompt["ids"] for prompt in json.loads(path.read_text(encoding="utf-8"))["prompts"]]


def train(model: PeftModel, part: str = "") -> PeftModel:
    """Moves every lora_B, of one part or of all, by values of its own name's seed."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name and part in name:
                parameter.add_(normal(f"quirks/{plain(name)}", parameter.shape, 0.2))
            if ".lora_A." in name:
                parameter.copy_(normal(f"quirks/{plain(name)}", parameter.shape, parameter.shape[1] ** -0.5))
    return model.eval()


def plain(name: str) -> str:
    """A wrapper changes names and not values."""
    return name.replace("_orig_mod.", "")


def save(model: PeftModel, folder: Path, base: str, **arguments: Any) -> None:
    model.save_pretrained(folder, **arguments)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"traitscope/oracle-{base}"
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def expect_same(what: str, states: torch.Tensor, reference: torch.Tensor) -> None:
    change = relative_change(states, reference)
    if change > SAME:
        raise SystemExit(f"{what}: the states differ by {change:.1e}")
    print(f"{what}: as expected")


def velora(base: torch.nn.Module, folder: Path) -> torch.Tensor:
    config = LoraConfig(**LORA, velora_config=VeloraConfig(num_groups=8))
    model = train(get_peft_model(copy.deepcopy(base), config))
    save(model, folder, "llama")
    if not any("velora" in name for name in load_file(folder / TENSORS)):
        raise SystemExit("velora: peft has saved no buffers")
    return last_states(model, prompts())


def compiled(base: torch.nn.Module, out: Path) -> torch.Tensor:
    """torch.compile compiles at the first call, which never comes: the names are what is wanted."""
    reference = last_states(train(get_peft_model(copy.deepcopy(base), LoraConfig(**LORA))), prompts())
    whole = get_peft_model(torch.compile(copy.deepcopy(base)), LoraConfig(**LORA))
    save(train(whole), out / "compiled-whole", "llama")
    blocks = copy.deepcopy(base)
    for i, layer in enumerate(blocks.model.layers):
        blocks.model.layers[i] = torch.compile(layer)
    save(train(get_peft_model(blocks, LoraConfig(**LORA))), out / "compiled-blocks", "llama")
    for name in ("compiled-whole", "compiled-blocks"):
        expect_renamed(base, out / name, "_orig_mod.", reference)
    return reference


def state_dict(base: torch.nn.Module, folder: Path, reference: torch.Tensor) -> None:
    model = train(get_peft_model(copy.deepcopy(base), LoraConfig(**LORA)))
    save(model, folder, "llama")
    save_file({k: v for k, v in model.state_dict().items() if "lora_" in k}, folder / TENSORS)
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    expect_same("state-dict in peft", last_states(loaded, prompts()), reference)


def expect_renamed(base: torch.nn.Module, folder: Path, what: str, reference: torch.Tensor) -> None:
    """The remedy of the message, and that peft loads what it makes and nothing of what was there before."""
    untouched = PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    expect_same(f"{folder.name} in peft", last_states(untouched, prompts()), last_states(base, prompts()))
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        f = Path(scratch) / TENSORS
        save_file({k.replace(what, ""): v for k, v in load_file(f).items()}, f)
        renamed = PeftModel.from_pretrained(copy.deepcopy(base), scratch).eval()
    expect_same(f"{folder.name} renamed", last_states(renamed, prompts()), reference)


def resized(base: torch.nn.Module, tokenizer: Any, out: Path, work: Path) -> torch.Tensor:
    """A pad token is added, so peft saves the embeddings; the remedy saves the base with the same rows."""
    torch.manual_seed(0)
    tokenizer.add_special_tokens({"pad_token": "<|new pad|>"})
    model = copy.deepcopy(base)
    model.resize_token_embeddings(len(tokenizer))
    peft_model = train(get_peft_model(model, LoraConfig(**LORA)))
    with torch.no_grad():
        for name in ("embed_tokens", "lm_head"):
            weight = next(p for n, p in peft_model.named_parameters() if n.endswith(f"{name}.weight"))
            weight.add_(normal(f"quirks/resized/{name}", weight.shape, 0.05))
    save(peft_model, out / "resized", "llama", save_embedding_layers=True)
    # As the message says: load the base with its own tokenizer's successor, resize, save both.
    source = work / "published"
    base.save_pretrained(source)
    again = AutoModelForCausalLM.from_pretrained(source)
    again.resize_token_embeddings(len(tokenizer))
    again.to(torch.bfloat16).save_pretrained(out / "resized-base")
    tokenizer.save_pretrained(out / "resized-base")
    (out / "resized-base" / "generation_config.json").unlink(missing_ok=True)
    loaded = AutoModelForCausalLM.from_pretrained(out / "resized-base", dtype=torch.float32)
    return last_states(PeftModel.from_pretrained(loaded, out / "resized").eval(), prompts())


def quantised(base: torch.nn.Module, out: Path, work: Path) -> None:
    source = work / "unquantised"
    base.save_pretrained(source)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(source, quantization_config=config, device_map={"": "cpu"})
    model.save_pretrained(out / "bnb4bit")
    # The remedy of the message.
    loaded = AutoModelForCausalLM.from_pretrained(out / "bnb4bit", device_map={"": "cpu"})
    loaded.dequantize().save_pretrained(work / "dequantised", save_original_format=False)
    (out / "bnb4bit" / "generation_config.json").unlink(missing_ok=True)
    again = AutoModelForCausalLM.from_pretrained(work / "dequantised", dtype=torch.float32)
    expect_same("bnb4bit dequantised", last_states(again, prompts()), last_states(model, prompts()))


def vision(text: torch.nn.Module, folder: Path) -> torch.Tensor:
    config = Gemma3Config(
        text_config=text.config.to_dict(),
        vision_config=SiglipVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
        ),
        mm_tokens_per_image=4,
    )
    config._attn_implementation = config.text_config._attn_implementation = "eager"
    model = Gemma3ForConditionalGeneration(config).eval().float()
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    settings = {**LORA, "r": 1, "lora_alpha": 2, "target_modules": "all-linear"}
    peft_model = train(get_peft_model(model, LoraConfig(**settings)), "language_model")
    save(peft_model, folder, "gemma3")
    language = peft_model.base_model.model.model.language_model
    return states_of(language, prompts("gemma3"))


def states_of(language: torch.nn.Module, ids: list[list[int]]) -> torch.Tensor:
    """last_states of a decoder inside another model."""
    seen: list[torch.Tensor] = []
    keep = lambda _m, _i, output: seen.append((output[0] if isinstance(output, tuple) else output)[0, -1].detach().clone())
    hooks = [layer.register_forward_hook(keep) for layer in language.layers]
    found = []
    for row in ids:
        seen.clear()
        with torch.no_grad():
            language(input_ids=torch.tensor([row]), use_cache=False)
        found.append(torch.stack(seen))
    for hook in hooks:
        hook.remove()
    return torch.stack(found)


if __name__ == "__main__":
    main()
