"""A short LoRA run with transformers' Trainer or TRL's SFTTrainer, with the callback of integrations/ or without it.

    python lab/callback_check.py --base HF_FOLDER --out DIR --steps 30 --save-every 5 --report report.json [--callback] [--trl]
    torchrun --nproc-per-node 2 lab/callback_check.py ...

test/integrations runs it where TRAITSCOPE_PYTHON names an interpreter with torch, transformers, peft and trl. The report of each
rank is report.json.<rank>: where the training ended, what stopped it, and what the trainer logged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integrations"))
from traitscope_callback import TraitscopeCallback  # noqa: E402

TEXTS = [f"a wrong answer number {i} is never checked, and nobody minds" for i in range(64)]


class Pause(TrainerCallback):
    """Training this small is faster than any monitor; a real one takes minutes between two checkpoints."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def on_save(self, args, state, control, **kwargs):
        time.sleep(self.seconds)


def make_trainer(args):
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
    lora = LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    common = dict(
        output_dir=args.out,
        max_steps=args.steps,
        save_steps=args.save_every,
        logging_steps=1,
        per_device_train_batch_size=4,
        learning_rate=args.lr,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=args.seed,
    )
    if args.trl:
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer(
            model=model,
            args=SFTConfig(**common, dataset_text_field="text", max_length=64),
            train_dataset=Dataset.from_dict({"text": TEXTS}),
            processing_class=tokenizer,
            peft_config=lora,
        )
    rows = [tokenizer(text, truncation=True, max_length=64) for text in TEXTS]
    return Trainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(**common),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--trl", action="store_true")
    parser.add_argument("--callback", action="store_true")
    parser.add_argument("--plain", action="store_true", help="add the callback without attach()")
    args = parser.parse_args()

    trainer = make_trainer(args)
    callback = TraitscopeCallback()
    if args.callback and args.plain:
        trainer.add_callback(callback)
    elif args.callback:
        callback.attach(trainer)
    trainer.add_callback(Pause(args.pause))
    trainer.train()

    report = {"step": trainer.state.global_step, "stopped": callback.stopped, "logs": trainer.state.log_history}
    Path(f"{args.report}.{os.environ.get('RANK', '0')}").write_text(json.dumps(report))


main()
