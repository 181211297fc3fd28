"""Time the paper's way of measuring a checkpoint on a GPU, beside benchmarks/gpu, and hold its states against transformers.

Per checkpoint, with reload: load the base again, put the adapter on it, and run every prompt by itself through the whole
model with all hidden states kept. Without: the base stays, adapters are swapped. Then the same prompts in float32, which
is what both are held against.

    python gpu_reference.py --prepared DIR --work DIR [--device cuda|cpu]

Runs where nothing but torch, transformers and peft is installed; its one JSON goes into the suite's.
"""

import argparse
import gc
import json
import time
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

PARITY_PROMPTS = 8


def matmul_rate(device: str, n: int, seconds: float = 1.0) -> float:
    """Operations per second of a BF16 product of two n x n matrices of random numbers."""
    a, b = (torch.randn(n, n, device=device).to(torch.bfloat16) for _ in range(2))
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        wait(device)
        started = time.perf_counter()
        for _ in range(4):
            a @ b
        wait(device)
        best = min(best, (time.perf_counter() - started) / 4)
    return 2 * n**3 / best


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def load(base: Path, device: str, dtype: torch.dtype = torch.bfloat16) -> LlamaForCausalLM:
    placed = {"device_map": device} if device == "cuda" else {}
    return LlamaForCausalLM.from_pretrained(base, dtype=dtype, **placed).eval()


def run(model, prompts: list[list[int]], layer: int, device: str) -> np.ndarray:
    """States of the last token after block `layer`, [n, n_embd], one prompt at a time."""
    states = []
    with torch.no_grad():
        for ids in prompts:
            out = model(input_ids=torch.tensor([ids], device=device), output_hidden_states=True)
            states.append(out.hidden_states[layer + 1][0, -1].float().cpu().numpy())
    return np.stack(states)


def worst_row(rows: np.ndarray, expected: np.ndarray) -> float:
    distance = np.linalg.norm(rows - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(distance.max())


def parity(base: Path, adapter: Path, prompts: list[list[int]], layer: int, device: str, ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Both against the model in float32, worst prompt of some that are spread over all, as these are ordered by category."""
    chosen = np.linspace(0, len(prompts) - 1, min(PARITY_PROMPTS, len(prompts))).round().astype(int)
    oracle = PeftModel.from_pretrained(load(base, device, torch.float32), adapter).eval()
    expected = run(oracle, [prompts[i] for i in chosen], layer, device)
    return {
        "prompts": len(chosen),
        "ours": worst_row(ours[chosen], expected),
        "transformersBF16": worst_row(theirs[chosen], expected),
        "oursAgainstTransformersBF16": worst_row(ours, theirs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    args = parser.parse_args()
    device = args.device
    prompts = json.loads((args.prepared / "prompts.json").read_text())
    config = json.loads((args.prepared / "config.json").read_text())
    layer, width = config["layer"], config["hidden_size"]
    base, adapters = args.work / "base", [args.work / f"adapter-{i}" for i in (1, 2)]
    ours = {name: np.fromfile(args.work / f"states-{name}.f32", np.float32).reshape(-1, width) for name in ("1", "2")}

    report = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    report["productsPerSecond"] = matmul_rate(device, 8192 if device == "cuda" else 512)

    checkpoints, kept = [], {}
    model = None
    for name, adapter in zip("12", adapters):
        del model
        gc.collect()
        started = time.perf_counter()
        model = PeftModel.from_pretrained(load(base, device), adapter).eval()
        wait(device)
        loaded = time.perf_counter()
        kept[name] = run(model, prompts, layer, device)
        wait(device)
        ended = time.perf_counter()
        checkpoints.append({"loadSeconds": loaded - started, "passSeconds": ended - loaded, "seconds": ended - started})
    report["withReload"] = checkpoints

    # The model holds the second adapter; each round swaps the other one in, as a run's next checkpoint would be.
    checkpoints = []
    for i in (0, 1):
        started = time.perf_counter()
        model.load_adapter(adapters[i], adapter_name=f"next-{i}")
        model.set_adapter(f"next-{i}")
        wait(device)
        swapped = time.perf_counter()
        again = run(model, prompts, layer, device)
        wait(device)
        ended = time.perf_counter()
        checkpoints.append({"swapSeconds": swapped - started, "passSeconds": ended - swapped, "seconds": ended - started})
        assert worst_row(again, kept["12"[i]]) < 0.05, "the swapped adapter gives other states"
    report["withoutReload"] = checkpoints
    if device == "cuda":
        report["peakBytes"] = torch.cuda.max_memory_allocated()

    checkpoint = args.work / "parts" / "checkpoint.json"
    if checkpoint.exists():
        result = json.loads(checkpoint.read_text())["checkpoint"]
        report["times"] = {
            "withReload": min(each["seconds"] for each in report["withReload"]) / result["seconds"],
            "withoutReload": min(each["seconds"] for each in report["withoutReload"]) / result["seconds"],
        }
        report["shareOfTorchProducts"] = result["operations"] / result["passSeconds"] / report["productsPerSecond"]
    del model
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    try:
        report["relativeL2AgainstF32"] = parity(base, adapters[1], prompts, layer, device, ours["2"], kept["2"])
    except (RuntimeError, OSError) as error:  # the times are worth keeping
        report["relativeL2AgainstF32"] = {"failed": str(error)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
