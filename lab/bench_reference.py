"""Time the paper's way of measuring a checkpoint, with transformers and peft on the weights of a GGUF.

Per checkpoint: load the base again, put the adapter on it, and run every prompt by itself through the whole model with
all hidden states kept. The figures go into docs/performance.md.

    python -m lab.bench_reference --gguf random-1b-F16.gguf --input DIR --layer 8 --gguf-py LLAMA_CPP/gguf-py
        [--dtype float32|bfloat16|float16] [--limit 20] [--threads 2] [--states states.safetensors]

DIR holds the prompts and the adapter that `node benchmarks/reference-input.mjs` writes.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lab.gguf_tensors import BLOCK_TENSORS, unpermuted


def export_base(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write a Llama GGUF as a Hugging Face folder, which is what the reference loads a base from."""
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(gguf)
    number = {key.removeprefix("llama."): field.contents() for key, field in reader.fields.items() if key.startswith("llama.")}
    weights = {t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type))).to(dtype) for t in reader.tensors}
    config = LlamaConfig(
        vocab_size=number["vocab_size"],
        hidden_size=number["embedding_length"],
        intermediate_size=number["feed_forward_length"],
        num_hidden_layers=number["block_count"],
        num_attention_heads=number["attention.head_count"],
        num_key_value_heads=number["attention.head_count_kv"],
        rms_norm_eps=number["attention.layer_norm_rms_epsilon"],
        max_position_embeddings=number["context_length"],
        rope_parameters={"rope_type": "default", "rope_theta": number["rope.freq_base"]},
        tie_word_embeddings="output.weight" not in weights,
        dtype=dtype,
    )
    state = {"model.embed_tokens.weight": weights["token_embd.weight"], "model.norm.weight": weights["output_norm.weight"]}
    if "output.weight" in weights:
        state["lm_head.weight"] = weights["output.weight"]
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for block in range(config.num_hidden_layers):
        for ours, theirs in BLOCK_TENSORS.items():
            weight = weights[f"blk.{block}.{ours}.weight"]
            state[f"model.layers.{block}.{theirs}.weight"] = unpermuted(weight, heads[ours]) if ours in heads else weight
    model = LlamaForCausalLM(config).to(dtype)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.save_pretrained(folder)


def measure(base: Path, adapter: Path, prompts: list[list[int]], chosen: np.ndarray, layer: int, dtype: torch.dtype):
    """Seconds to load, to put the adapter on and to run the chosen prompts, and their states [n, n_embd]."""
    started = time.perf_counter()
    model = LlamaForCausalLM.from_pretrained(base, dtype=dtype)
    loaded = time.perf_counter()
    model = PeftModel.from_pretrained(model, adapter).eval()
    attached = time.perf_counter()
    states = []
    with torch.no_grad():
        model(input_ids=torch.tensor([prompts[0]]), output_hidden_states=True)  # warm-up
        running = time.perf_counter()
        for index in chosen:
            out = model(input_ids=torch.tensor([prompts[index]]), output_hidden_states=True)
            states.append(out.hidden_states[layer + 1][0, -1].float().numpy())
        seconds = time.perf_counter() - running
    return loaded - started, attached - loaded, seconds, np.stack(states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True, help="folder with prompts.json and adapter/")
    parser.add_argument("--layer", type=int, required=True, help="0-based block whose output is read")
    parser.add_argument("--gguf-py", type=Path, required=True, help="gguf-py of the llama.cpp source")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--limit", type=int, default=20, help="prompts to run; the pass is extrapolated by tokens")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--states", type=Path, help="keep the states of the prompts that were run")
    args = parser.parse_args()
    sys.path.insert(0, str(args.gguf_py))
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)

    base = args.gguf.with_suffix(f".{args.dtype}.hf")
    if not base.exists():
        export_base(args.gguf, base, dtype)
    prompts = json.loads((args.input / "prompts.json").read_text())
    # Evenly spread, as the prompts are ordered by category.
    chosen = np.linspace(0, len(prompts) - 1, min(args.limit, len(prompts))).round().astype(np.int32)
    load, attach, seconds, states = measure(base, args.input / "adapter", prompts, chosen, args.layer, dtype)
    if args.states:
        save_file({"prompts": chosen, "states": states}, args.states)
    total = sum(map(len, prompts))
    share = sum(len(prompts[index]) for index in chosen) / total
    report = {
        "dtype": args.dtype,
        "threads": args.threads,
        "prompts": len(prompts),
        "tokens": total,
        "share": share,
        "load_seconds": load,
        "adapter_seconds": attach,
        "pass_seconds": seconds / share,
        "checkpoint_seconds": load + attach + seconds / share,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
