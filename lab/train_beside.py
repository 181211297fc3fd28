"""What `traitscope watch` costs the trainer beside it: a real transformers Trainer, alone and beside a watch, in turns.

    npm run build:ts && python lab/train_beside.py [--rounds 4] [--steps 16] [--watch "--nice 19"]...

One LoRA training on all cores of a small model with random weights, which do not change what a step costs. Beside it one watch per
variant measures a packed run of the organisms without an end; all of them are stopped (SIGSTOP) but in the blocks of steps that
are theirs, and between two such blocks the trainer has one alone. What is compared are neighbours in time, so that a machine
with other guests changes little; the first step of each block is left out. Printed per variant, as medians over the rounds:
how much longer a step takes, what CPU time a step takes of the trainer itself, and how many cores the watch had.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

ROOT = Path(__file__).resolve().parent.parent
CLI = ROOT / "dist/bin/traitscope.js"
BASE = ROOT / "organisms/models/gemma2/base.gguf"
BUNDLE = ROOT / "organisms/bundles/gemma2"
RUN = ROOT / "organisms/checkpoints/gemma2/risky_financial/seed_42"
VOCABULARY = 8192
WEIGHTS = "adapter_model.safetensors"
TICKS = os.sysconf("SC_CLK_TCK")


def make_model(hidden: int, layers: int):
    set_seed(1)
    shape = dict(hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers, vocab_size=VOCABULARY)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return get_peft_model(LlamaForCausalLM(LlamaConfig(num_attention_heads=8, **shape)), lora)


def write_backlog(run: Path, count: int) -> None:
    """Checkpoints of other weights each, so that none is taken for another."""
    sources = sorted(RUN.glob("checkpoint-*"))
    for step in range(1, count + 1):
        source, folder = sources[step % len(sources)], run / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        tensors = load_file(source / WEIGHTS)
        save_file({name: tensor * (1 + step / 4096) for name, tensor in tensors.items()}, folder / WEIGHTS)
        shutil.copy(source / "adapter_config.json", folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))


class Watch:
    """A watch that has begun to measure, and is stopped."""

    def __init__(self, flags: str, run: Path, work: Path):
        self.flags = flags or "(no flag)"
        command = ["node", str(CLI), "watch", "-m", str(BASE), "--bundle", str(BUNDLE), "--no-state", "--jsonl", "-q"]
        command += ["--cache-dir", str(work / "cache"), *shlex.split(flags), str(run)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if json.loads(line)["type"] == "checkpoint":
                break
        else:
            raise SystemExit(f"the watch with {self.flags} ended before its first checkpoint")
        self.process.send_signal(signal.SIGSTOP)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Blocks(TrainerCallback):
    """Lets the watches run by turns, and notes what each step took."""

    def __init__(self, watches, rounds: int, steps: int):
        self.plan = [one for _ in range(rounds) for watch in watches for one in (None, watch)]
        self.steps, self.rows, self.at, self.current = steps, [], 0, None

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step % self.steps == 0 and self.at < len(self.plan):
            if self.current:
                self.current.process.send_signal(signal.SIGSTOP)
            self.current = self.plan[self.at]
            if self.current:
                self.current.process.send_signal(signal.SIGCONT)
            self.at += 1
        self.begun = (time.perf_counter(), time.process_time(), self.current.cpu() if self.current else 0.0)

    def on_step_end(self, args, state, control, **kwargs):
        wall, cpu = time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]
        beside = (self.current.cpu() - self.begun[2]) / wall if self.current else 0.0
        if (state.global_step - 1) % self.steps > 0:
            self.rows.append({"block": self.at - 1, "wall": wall, "cpu": cpu, "beside": beside})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--backlog", type=int, default=200)
    parser.add_argument("--watch", action="append", help="flags of a variant; repeatable")
    args = parser.parse_args()
    variants = args.watch or ["", "--threads 1", "--nice 19", "--nice 19 --threads 1"]
    work = Path(tempfile.mkdtemp(prefix="traitscope-beside-"))
    watches = []
    try:
        write_backlog(work / "run", args.backlog)
        watches = [Watch(flags, work / "run", work) for flags in variants]
        blocks = Blocks(watches, args.rounds, args.steps)
        ids = torch.randint(0, VOCABULARY, (args.tokens,)).tolist()
        trainer = Trainer(
            model=make_model(args.hidden, args.layers),
            args=TrainingArguments(
                output_dir=str(work / "out"),
                max_steps=len(blocks.plan) * args.steps,
                per_device_train_batch_size=1,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=[{"input_ids": ids, "labels": ids}] * 16,
            callbacks=[blocks],
        )
        trainer.train()
    finally:
        for watch in watches:
            watch.process.kill()
        shutil.rmtree(work)
    mean = lambda block, key: statistics.mean(row[key] for row in blocks.rows if row["block"] == block)
    for index, watch in enumerate(watches):
        pairs = [(block - 1, block) for block in range(2 * index + 1, len(blocks.plan), 2 * len(watches))]
        ratios = {key: [mean(beside, key) / mean(alone, key) for alone, beside in pairs] for key in ("wall", "cpu")}
        print(
            json.dumps(
                {
                    "watch": watch.flags,
                    "step time": round(statistics.median(ratios["wall"]), 2),
                    "of rounds": [round(ratio, 2) for ratio in sorted(ratios["wall"])],
                    "trainer's CPU": round(statistics.median(ratios["cpu"]), 2),
                    "watch's cores": round(statistics.median([mean(beside, "beside") for _, beside in pairs]), 2),
                }
            )
        )
    alone = [mean(block, "wall") for block in range(0, len(blocks.plan), 2)]
    print(json.dumps({"cores": os.cpu_count(), "seconds of a step alone": round(statistics.median(alone), 2)}))


if __name__ == "__main__":
    main()
