"""Golden values of the whole measurement: the reference protocol in float32 with transformers and peft.

    python lab/golden_trajectory.py --base DIR/tiny-chat [--run test/fixtures/tiny/run] [--pack test/fixtures/tiny/pack.yaml]
        [--layers 1,2,3] [--out test/fixtures/tiny/golden]

Protocol: block outputs by forward hooks (layer l is the residual stream after block l, hidden_states[l + 1] before any
final norm), state of the last input token, chat template with generation prompt, one prompt at a time without padding,
question-major extraction prompts, unit mean-difference directions, evaluation prompts in file order without a system
prompt, projection = mean over prompts, normalised by the mean of the step-0 norms. States are float32; means,
directions, projections and norms are accumulated in float64.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import peft
import torch
import transformers
import yaml
from peft import PeftModel
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TRAITS = ["honesty", "sycophancy", "harmlessness", "power_seeking", "helpfulness", "confidence", "corrigibility"]
POLES = ("positive", "negative")

Message = dict[str, str]
Tokens = list[int]


def extraction_prompts(pack: dict, trait: str, pole: str) -> list[list[Message]]:
    """Question-major: the outer loop is over questions, the inner one over the pole's system prompts."""
    return [
        [{"role": "system", "content": system}, {"role": "user", "content": question}]
        for question in pack["questions"]
        for system in pack["traits"][trait][f"{pole}_system_prompts"]
    ]


def evaluation_prompts(pack: dict) -> list[list[Message]]:
    return [
        [{"role": "user", "content": prompt}] for prompts in pack["eval_prompts"].values() for prompt in prompts
    ]


def token_ids(tokenizer, prompts: list[list[Message]]) -> list[Tokens]:
    return [
        tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        for messages in prompts
    ]


@contextmanager
def captured_blocks(blocks: torch.nn.ModuleList, layers: list[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Within the context every forward pass leaves the outputs of `layers` in the mapping."""
    seen: dict[int, torch.Tensor] = {}

    def keep(layer: int):
        def hook(_module, _inputs, output):
            seen[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [blocks[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def last_token_states(model, blocks, prompts: list[Tokens], layers: list[int]) -> dict[int, np.ndarray]:
    """Per layer a float32 array of shape (prompts, hidden)."""
    rows: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
    with captured_blocks(blocks, layers) as seen:
        for ids in prompts:
            model(input_ids=torch.tensor([ids]), use_cache=False)
            for layer in layers:
                rows[layer].append(seen[layer][0, -1].numpy().copy())
    return {layer: np.stack(states) for layer, states in rows.items()}


def unit_mean_difference(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    difference = positive.mean(axis=0, dtype=np.float64) - negative.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(difference)
    if not np.isfinite(norm) or norm == 0:
        raise ValueError("a direction is zero or not finite")
    return difference / norm


def open_base(folder: str):
    # Eager attention: plain matrix products, no fused kernel whose rounding depends on the machine.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def checkpoint_steps(run: Path) -> list[int]:
    return sorted(int(folder.name.split("-")[1]) for folder in run.glob("checkpoint-*"))


def write_json(path: Path, value: object, indent: int | None = None) -> None:
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    fixture = "test/fixtures/tiny"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", required=True, help="Hugging Face folder of the base model")
    parser.add_argument("--run", default=f"{fixture}/run", help="run folder (default: %(default)s)")
    parser.add_argument("--pack", default=f"{fixture}/pack.yaml", help="trait pack (default: %(default)s)")
    parser.add_argument("--layers", default="1,2,3", help="0-based block outputs (default: %(default)s)")
    parser.add_argument("--out", default=f"{fixture}/golden", help="folder to write (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    layers = [int(layer) for layer in args.layers.split(",")]
    run, out, pack_bytes = Path(args.run), Path(args.out), Path(args.pack).read_bytes()
    pack = yaml.safe_load(pack_bytes)
    tokenizer = AutoTokenizer.from_pretrained(args.base)

    extraction = {
        trait: {pole: token_ids(tokenizer, extraction_prompts(pack, trait, pole)) for pole in POLES}
        for trait in TRAITS
    }
    evaluation = token_ids(tokenizer, evaluation_prompts(pack))

    base = open_base(args.base)
    directions: dict[int, dict[str, np.ndarray]] = {layer: {} for layer in layers}
    for trait in TRAITS:
        poles = {pole: last_token_states(base, base.model.layers, extraction[trait][pole], layers) for pole in POLES}
        for layer in layers:
            directions[layer][trait] = unit_mean_difference(poles["positive"][layer], poles["negative"][layer])

    states: dict[int | str, dict[int, np.ndarray]] = {0: last_token_states(base, base.model.layers, evaluation, layers)}
    adapters = {step: run / f"checkpoint-{step}" for step in checkpoint_steps(run)} | {"final": run}
    for step, adapter in adapters.items():
        model = PeftModel.from_pretrained(open_base(args.base), adapter).eval()
        states[step] = last_token_states(model, model.get_base_model().model.layers, evaluation, layers)

    norm = {
        layer: float(np.linalg.norm(states[0][layer].astype(np.float64), axis=1).mean()) for layer in layers
    }
    trajectory = []
    for step, by_layer in states.items():
        raw = {
            layer: {
                trait: float((by_layer[layer].astype(np.float64) @ direction).mean())
                for trait, direction in directions[layer].items()
            }
            for layer in layers
        }
        normalized = {layer: {trait: value / norm[layer] for trait, value in raw[layer].items()} for layer in layers}
        trajectory.append({"step": step, "projections": raw, "projections_normalized": normalized})

    out.mkdir(parents=True, exist_ok=True)
    write_json(
        out / "trajectory.json",
        {
            "versions": {"torch": torch.__version__.split("+")[0]}
            | {module.__name__: module.__version__ for module in (transformers, peft, np)},
            "pack_sha256": hashlib.sha256(pack_bytes).hexdigest(),
            "layers": layers,
            "trait_order": TRAITS,
            "step0_activation_norm": norm,
            "trajectory": trajectory,
        },
        indent=1,
    )
    write_json(
        out / "tokens.json",
        {
            "rendered": [
                tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                for messages in evaluation_prompts(pack)
            ],
            "evaluation": evaluation,
            "extraction": extraction,
        },
    )
    save_file(
        {f"layer_{layer}.{trait}": d.astype(np.float32) for layer in layers for trait, d in directions[layer].items()},
        out / "directions.safetensors",
    )
    last = max(step for step in states if step != "final")
    save_file(
        {f"step_{step}.layer_{layer}": states[step][layer] for step in (0, last) for layer in layers},
        out / "states.safetensors",
    )
    for layer in layers:
        drifts = {
            entry["step"]: np.array(list(entry["projections_normalized"][layer].values())) for entry in trajectory
        }
        sizes = {step: round(float(np.linalg.norm(drift - drifts[0])), 4) for step, drift in drifts.items()}
        print(f"layer {layer}: step-0 norm {norm[layer]:.3f}, length of the drift by step {sizes}")


if __name__ == "__main__":
    main()
