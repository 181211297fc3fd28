"""What `traitscope watch` costs the trainer beside it: a real transformers Trainer, alone and beside a watch, in turns.

    npm run build:ts && python lab/train_beside.py [--rounds 3] [--steps 16] [--watch "--nice 19"]...
    python lab/train_beside.py --train HF_FOLDER --watched RUN --watching "-m BASE.gguf -d DIRECTIONS"    a pretrained base on both sides

One LoRA training on all cores, by default of a small model with random weights, which do not change what a step costs. Beside it one watch per
variant measures a run without an end, by default a packed one of the organisms; all of them are stopped (SIGSTOP) but in the blocks of steps that
are theirs, and between two such blocks the trainer has one alone; the first step of each block is left out. Printed per variant:

- `step time`: (CPU time of trainer and watch) / (CPU time of the trainer) over the variant's steps: how much longer a step takes on
  cores that the two have for themselves and the trainer fills. Other guests of the machine do not change it.
- `trainer's CPU`: what CPU time its steps take, as a ratio to the blocks alone: shared caches and memory.
- `measured`: the ratio of elapsed times to the neighbouring block alone, median over the rounds. Other guests do change it.
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
# A thread that waits for another takes no CPU time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

ROOT = Path(__file__).resolve().parent.parent
CLI = ROOT / "dist/bin/traitscope.js"
BASE = ROOT / "organisms/models/gemma2/base.gguf"
BUNDLE = ROOT / "organisms/bundles/gemma2"
RUN = ROOT / "organisms/checkpoints/gemma2/risky_financial/seed_42"
VOCABULARY = 8192
WEIGHTS = "adapter_model.safetensors"


def make_model(args: argparse.Namespace):
    set_seed(1)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    if args.train:
        return get_peft_model(AutoModelForCausalLM.from_pretrained(args.train, dtype=torch.float32), lora)
    shape = dict(hidden_size=args.hidden, intermediate_size=4 * args.hidden, num_hidden_layers=args.layers, vocab_size=VOCABULARY)
    return get_peft_model(LlamaForCausalLM(LlamaConfig(num_attention_heads=8, **shape)), lora)


def write_backlog(watched: Path, run: Path, count: int) -> None:
    """Checkpoints of other weights each, so that none is taken for another."""
    sources = sorted(watched.glob("checkpoint-*"))
    for step in range(1, count + 1):
        source, folder = sources[step % len(sources)], run / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        tensors = load_file(source / WEIGHTS)
        save_file({name: tensor * (1 + step / 4096) for name, tensor in tensors.items()}, folder / WEIGHTS)
        shutil.copy(source / "adapter_config.json", folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))


class Watch:
    """A watch that has begun to measure, and is stopped."""

    def __init__(self, flags: str, watching: str, run: Path, work: Path):
        self.flags = flags or "(no flag)"
        command = ["node", str(CLI), "watch", *shlex.split(watching), "--no-state", "--jsonl", "-q"]
        command += ["--cache-dir", str(work / "cache"), *shlex.split(flags), str(run)]
        # Into a file: a pipe that nobody reads would hold the watch up.
        told = work / f"events-{len(list(work.iterdir()))}.jsonl"
        with told.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out)
        while '"type":"checkpoint"' not in told.read_text():
            if self.process.poll() is not None:
                raise SystemExit(f"the watch with {self.flags} ended before its first checkpoint")
            time.sleep(0.2)
        self.process.send_signal(signal.SIGSTOP)

    def cpu(self) -> float:
        """Seconds, of all threads, those that have ended too; in hundredths."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        beside = self.current.cpu() - self.begun[2] if self.current else 0.0
        if (state.global_step - 1) % self.steps > 0:
            self.rows.append({"block": self.at - 1, "wall": wall, "cpu": cpu, "beside": beside})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--backlog", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1, help="of a step")
    parser.add_argument("--watch", action="append", help="flags of a variant; repeatable")
    parser.add_argument("--train", type=Path, help="folder of a pretrained model to train")
    parser.add_argument("--watched", type=Path, default=RUN, help="run whose checkpoints are measured")
    parser.add_argument("--watching", default=f"-m {BASE} --bundle {BUNDLE}", help="flags of every watch")
    args = parser.parse_args()
    variants = args.watch or ["", "--threads 1", "--nice 19", "--nice 19 --threads 1"]
    work = Path(tempfile.mkdtemp(prefix="traitscope-beside-"))
    watches = []
    try:
        write_backlog(args.watched, work / "run", args.backlog)
        watches = [Watch(flags, args.watching, work / "run", work) for flags in variants]
        blocks = Blocks(watches, args.rounds, args.steps)
        ids = torch.randint(0, VOCABULARY, (args.tokens,)).tolist()
        trainer = Trainer(
            model=make_model(args),
            args=TrainingArguments(
                output_dir=str(work / "out"),
                max_steps=len(blocks.plan) * args.steps,
                per_device_train_batch_size=args.rows,
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
    total = lambda block, key: sum(row[key] for row in blocks.rows if row["block"] == block)
    for index, watch in enumerate(watches):
        mine = range(2 * index + 1, len(blocks.plan), 2 * len(watches))
        trainer, beside = (sum(total(block, key) for block in mine) for key in ("cpu", "beside"))
        alone = sum(total(block - 1, "cpu") for block in mine)
        walls = [total(block, "wall") / total(block - 1, "wall") for block in mine]
        figures = {
            "watch": watch.flags,
            "step time": round((trainer + beside) / trainer, 2),
            "trainer's CPU": round(trainer / alone, 2),
            "measured": round(statistics.median(walls), 2),
            "of rounds": [round(ratio, 2) for ratio in sorted(walls)],
            "CPU seconds": [round(trainer, 1), round(beside, 1)],
        }
        print(json.dumps(figures))
    print(json.dumps({"cores": os.cpu_count(), "priority of the trainer": os.nice(0)}))


if __name__ == "__main__":
    main()
