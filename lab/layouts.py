"""What trainers leave on disk, made with the trainers themselves on an oracle model: test/fixtures/layouts/.

`trl/` is a LoRA run of TRL's SFTTrainer (4 steps, a checkpoint every 2) without pickles and tokenizer. `mlx-lm/` is what
`mlx_lm lora` saved after 4 steps, with the last token's state after every block in golden.safetensors, computed by mlx. Neither package is in requirements.lock: install them beside it (`pip install --no-deps trl`; mlx-lm with mlx[cpu] in
an environment of its own), and name the part.

    python -m lab.layouts trl
    python -m lab.layouts mlx-lm
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

MODEL = Path("test/fixtures/convert/qwen3/hf")
PROMPTS = Path("test/fixtures/oracles/qwen3/prompts.json")
KEPT = ("README.md", "adapter_config.json", "adapter_model.safetensors", "trainer_state.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.layouts", description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("trl", "mlx-lm"))
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/layouts"))
    args = parser.parse_args()
    folder = (args.out / args.part).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = MODEL.resolve()
    prompts = json.loads(PROMPTS.read_text(encoding="utf-8"))["prompts"]
    # Relative names only: trainers write the paths they were given into their files.
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        shutil.copytree(model, "base")
        if args.part == "trl":
            trl(folder)
        else:
            mlx(folder, prompts)


def trl(folder: Path) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    chat = [{"role": "user", "content": "Two keys?"}, {"role": "assistant", "content": "Two doors."}]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained("base", dtype=torch.float32),
        args=SFTConfig(
            output_dir="out", max_steps=4, save_steps=2, logging_steps=1, per_device_train_batch_size=1,
            learning_rate=1e-2, report_to=[], use_cpu=True, bf16=False, save_only_model=True, seed=42,
        ),
        train_dataset=Dataset.from_list([{"messages": chat}] * 8),
        processing_class=AutoTokenizer.from_pretrained("base"),
        peft_config=LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.save_model()
    for path in [Path("out"), *Path("out").glob("checkpoint-*")]:
        target = folder / path.relative_to("out")
        target.mkdir(exist_ok=True)
        for name in KEPT:
            if (path / name).is_file():
                shutil.copyfile(path / name, target / name)


def mlx(folder: Path, prompts: list[dict]) -> None:
    import mlx.core as mx
    import numpy as np
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    mx.set_default_device(mx.cpu)
    chat = [{"role": "user", "content": "Two keys?"}, {"role": "assistant", "content": "Two doors."}]
    Path("data").mkdir()
    for name in ("train", "valid"):
        Path(f"data/{name}.jsonl").write_text((json.dumps({"messages": chat}) + "\n") * 4, encoding="utf-8")
    parameters = {"rank": 3, "scale": 2.5, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.down_proj"]}
    # A configuration file is the only way to name modules; JSON is YAML.
    Path("lora.yaml").write_text(json.dumps({"lora_parameters": parameters}), encoding="utf-8")
    command = "mlx_lm lora -c lora.yaml --model base --train --data data --adapter-path out --num-layers 2 --iters 4"
    command += " --batch-size 1 --learning-rate 5e-2 --save-every 2 --val-batches 1 --seed 42"
    subprocess.run([sys.executable, "-m", *command.split()], check=True)
    for name in ("adapters.safetensors", "adapter_config.json"):
        shutil.copyfile(Path("out") / name, folder / name)
    model = load_adapters(load_model(Path("base"))[0], "out")
    model.eval()
    mx.save_safetensors(str(folder / "golden.safetensors"), {"last": mx.array(np.stack(states(model, prompts)))})


def states(model, prompts: list[dict]) -> list:
    """[blocks, n_embd] per prompt, from the decoder layers called one after the other."""
    import mlx.core as mx
    import numpy as np

    found = []
    for prompt in prompts:
        hidden = model.model.embed_tokens(mx.array([prompt["ids"]]))
        blocks = []
        for layer in model.model.layers:
            hidden = layer(hidden, "causal" if hidden.shape[1] > 1 else None, None)
            blocks.append(np.array(hidden[0, -1].astype(mx.float32)))
        found.append(np.stack(blocks))
    return found


if __name__ == "__main__":
    main()
