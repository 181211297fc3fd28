"""Time the paper's way of measuring a checkpoint, with transformers and peft on the weights of a GGUF.

Per checkpoint: load the base again, put the adapter on it, and run every prompt by itself through the whole model with
all hidden states kept; or with the base kept and the adapter alone swapped. The figures go into docs/performance.md.

    python -m lab.bench_reference --gguf random-1b-F16.gguf --input DIR --layer 8 --gguf-py LLAMA_CPP/gguf-py
        [--dtype float32|bfloat16|float16] [--limit 20] [--threads 2] [--states states.safetensors]

DIR holds the prompts and the adapter that `node benchmarks/reference-input.mjs` writes.
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


def measure(base: Path, adapter: Path, prompts: list[list[int]], chosen: np.ndarray, layer: int, dtype: torch.dtype):
    """Seconds (wall, CPU) to load, to put the adapter on and to run the chosen prompts, and their states [n, n_embd]."""
    clock = Clock()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    loading = clock.lap()
    model = PeftModel.from_pretrained(model, adapter).eval()
    attaching = clock.lap()
    states = []
    with torch.no_grad():
        model(input_ids=torch.tensor([prompts[0]]), output_hidden_states=True)  # warm-up
        clock.lap()
        for index in chosen:
            out = model(input_ids=torch.tensor([prompts[index]]), output_hidden_states=True)
            states.append(out.hidden_states[layer + 1][0, -1].float().numpy())
        running = clock.lap()
    return loading, attaching, running, np.stack(states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True, help="folder with prompts.json and adapter/")
    parser.add_argument("--layer", type=int, required=True, help="0-based block whose output is read")
    parser.add_argument("--gguf-py", type=Path, required=True, help="gguf-py of the llama.cpp source")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--limit", type=int, default=20, help="prompts to run; the pass is extrapolated by tokens")
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
    # Evenly spread, as the prompts are ordered by category.
    chosen = np.linspace(0, len(prompts) - 1, min(args.limit, len(prompts))).round().astype(np.int32)
    load, attach, running, states = measure(base, args.input / "adapter", prompts, chosen, args.layer, dtype)
    if args.states:
        args.states.write_text(json.dumps({str(index): row.tolist() for index, row in zip(chosen, states)}))
    total = sum(map(len, prompts))
    share = sum(len(prompts[index]) for index in chosen) / total
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
