"""Time the paper's way of measuring a checkpoint, with transformers and peft on the weights of a GGUF.

Per checkpoint: load the base again, put the adapter on it, and run every prompt by itself through the whole model with
all hidden states kept; or with the base kept and the adapter alone swapped. The figures go into docs/performance.md.

    python -m lab.bench_reference --gguf random-1b-F16.gguf --input DIR --layer 8 --gguf-py LLAMA_CPP/gguf-py
        [--dtype float32|bfloat16|float16] [--limit 20] [--batch 16] [--threads 2] [--states states.json]

With `--batch` prompts of like length run together, padded to the longest, and of the head only what a row needs is computed: the best
that one gets there without another program. DIR holds the prompts and the adapter that `node benchmarks/reference-input.mjs` writes.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from lab.gguf_tensors import BLOCK_TENSORS, unpermuted


def export_base(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write a Llama or Qwen 2 GGUF as a Hugging Face folder, which is what the reference loads a base from."""
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(gguf)
    architecture = reader.fields["general.architecture"].contents()
    model_class, config_class = {
        "llama": (LlamaForCausalLM, LlamaConfig),
        "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    }[architecture]
    prefix = f"{architecture}."
    number = {key.removeprefix(prefix): field.contents() for key, field in reader.fields.items() if key.startswith(prefix)}
    weights = {t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type))).to(dtype) for t in reader.tensors}
    heads = number["attention.head_count"]
    config = config_class(
        vocab_size=len(weights["token_embd.weight"]),
        hidden_size=number["embedding_length"],
        intermediate_size=number["feed_forward_length"],
        num_hidden_layers=number["block_count"],
        num_attention_heads=heads,
        num_key_value_heads=number["attention.head_count_kv"],
        head_dim=number.get("attention.key_length", number["embedding_length"] // heads),
        rms_norm_eps=number["attention.layer_norm_rms_epsilon"],
        max_position_embeddings=number["context_length"],
        rope_parameters={"rope_type": "default", "rope_theta": number["rope.freq_base"]},
        tie_word_embeddings="output.weight" not in weights,
        dtype=dtype,
    )
    state = {"model.embed_tokens.weight": weights["token_embd.weight"], "model.norm.weight": weights["output_norm.weight"]}
    if "output.weight" in weights:
        state["lm_head.weight"] = weights["output.weight"]
    # llama.cpp rotates neighbouring rows of a Llama; those of a Qwen 2 are as Hugging Face has them.
    permuted = {"attn_q": heads, "attn_k": number["attention.head_count_kv"]} if architecture == "llama" else {}
    for block in range(config.num_hidden_layers):
        for ours, theirs in BLOCK_TENSORS.items():
            for kind in ("weight", "bias"):
                tensor = weights.get(f"blk.{block}.{ours}.{kind}")
                if tensor is not None:
                    name = f"model.layers.{block}.{theirs}.{kind}"
                    state[name] = unpermuted(tensor, permuted[ours]) if ours in permuted else tensor
    model = model_class(config).to(dtype)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.save_pretrained(folder)


class Clock:
    """Seconds since the last call: of the wall and of all threads."""

    def __init__(self) -> None:
        self.lap()

    def lap(self) -> np.ndarray:
        now = np.array([time.perf_counter(), time.process_time()])
        passed = now - getattr(self, "then", now)
        self.then = now
        return passed


def batches_of(prompts: list[list[int]], size: int, limit: int) -> tuple[list[list[int]], float, int]:
    """Batches of prompts to run, their share of all tokens that are computed, and how many those are, padding included."""
    if size == 1:
        # Evenly spread, as the prompts are ordered by category.
        chosen = [[int(i)] for i in np.linspace(0, len(prompts) - 1, min(limit, len(prompts))).round()]
        everything = [[i] for i in range(len(prompts))]
    else:
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        everything = [by_length[i : i + size] for i in range(0, len(by_length), size)]
        count = min(len(everything), -(-limit // size))
        # From the middles of equal parts, so that neither the shortest nor the longest stand for all.
        chosen = [everything[int((part + 0.5) * len(everything) / count)] for part in range(count)]
    padded = lambda some: sum(len(batch) * max(len(prompts[i]) for i in batch) for batch in some)  # noqa: E731
    return chosen, padded(chosen) / padded(everything), padded(everything)


def run(model, prompts: list[list[int]], batch: list[int], layer: int) -> np.ndarray:
    """States [n, n_embd] of the last token of each."""
    longest = max(len(prompts[i]) for i in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, i in enumerate(batch):
        ids[row, : len(prompts[i])] = torch.tensor(prompts[i])
        mask[row, : len(prompts[i])] = 1
    padding = {"attention_mask": mask, "logits_to_keep": 1} if len(batch) > 1 else {}
    out = model(input_ids=ids, output_hidden_states=True, **padding)
    return out.hidden_states[layer + 1][torch.arange(len(batch)), mask.sum(1) - 1].float().numpy()


def measure(base: Path, adapter: Path, prompts: list[list[int]], batches: list[list[int]], layer: int, dtype: torch.dtype):
    """Seconds (wall, CPU) to load, to put the adapter on and to run the batches, and their states [n, n_embd]."""
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    loading = clock.lap()
    model = PeftModel.from_pretrained(model, adapter).eval()
    attaching = clock.lap()
    states = []
    with torch.no_grad():
        run(model, prompts, [0], layer)  # warm-up
        clock.lap()
        for batch in batches:
            states.append(run(model, prompts, batch, layer))
        running = clock.lap()
    return loading, attaching, running, np.concatenate(states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True, help="folder with prompts.json and adapter/")
    parser.add_argument("--layer", type=int, required=True, help="0-based block whose output is read")
    parser.add_argument("--gguf-py", type=Path, required=True, help="gguf-py of the llama.cpp source")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--limit", type=int, default=20, help="prompts to run; the pass is extrapolated by tokens")
    parser.add_argument("--batch", type=int, default=1, help="prompts at a time, padded")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--states", type=Path, help="keep the states of the prompts that were run, as JSON by prompt")
    parser.add_argument("--folder", type=Path, help="where the base as a Hugging Face folder goes; default beside the GGUF")
    args = parser.parse_args()
    sys.path.insert(0, str(args.gguf_py))
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)

    base = (args.folder or args.gguf.parent) / f"{args.gguf.stem}.{args.dtype}.hf"
    if not base.exists():
        export_base(args.gguf, base, dtype)
    prompts = json.loads((args.input / "prompts.json").read_text())
    batches, share, total = batches_of(prompts, args.batch, args.limit)
    load, attach, running, states = measure(base, args.input / "adapter", prompts, batches, args.layer, dtype)
    if args.states:
        chosen = [index for batch in batches for index in batch]
        args.states.write_text(json.dumps({str(index): row.tolist() for index, row in zip(chosen, states)}))
    report = {
        "dtype": args.dtype,
        "threads": args.threads,
        "prompts": len(prompts),
        "tokens": total,
        "share": share,
        "load_seconds": load[0],
        "adapter_seconds": attach[0],
        "pass_seconds": running[0] / share,
        "checkpoint_seconds": load[0] + attach[0] + running[0] / share,
        "load_cpu_seconds": load[1],
        "adapter_cpu_seconds": attach[1],
        "pass_cpu_seconds": running[1] / share,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
