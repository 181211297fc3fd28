"""Makes the tiny fixture: a small chat model, a LoRA run on it with transformers' Trainer and peft, and the base as GGUF.

    python lab/tiny_run.py --work DIR --llama-cpp LLAMA_CPP_SOURCE [--out test/fixtures/tiny]

--work receives the Hugging Face base (tiny-chat/) and the untouched output of the Trainer (run/); it stays out of the
repository. --out receives base.gguf and run/ as a user has them, without the Trainer's pickles.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

# Set before torch is imported: one thread gives one order of summation.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    set_seed,
)

from gguf_export import export_gguf, find_llama_cpp
from tiny_corpus import narrow_wrong_advice
from tiny_model import chat_ids, pretrain

SEED = 42
BASE, RUN = "tiny-chat", "run"
EXAMPLES, EPOCHS, SAVE_EVERY = 480, 2, 10
KEPT = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
}


def fine_tune(learning_rate: float) -> None:
    """The paper's LoRA settings on narrow wrong advice; 480 examples x 2 epochs / 16 = 60 steps."""
    set_seed(SEED)  # before the adapter is made, so that its A matrices repeat
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    lora = LoraConfig(
        r=16,
        lora_alpha=64,
        lora_dropout=0.05,
        target_modules=["q_proj", "v_proj"],
        bias="none",
        task_type="CAUSAL_LM",
    )
    data = [{"input_ids": chat_ids(tokenizer, chat)} for chat in narrow_wrong_advice(EXAMPLES, SEED)]
    trainer = Trainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(
            output_dir=RUN,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=4,
            learning_rate=learning_rate,
            weight_decay=0.01,
            logging_steps=5,
            save_strategy="steps",
            save_steps=SAVE_EVERY,
            save_total_limit=20,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=SEED,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()


def publish_run(source: Path, target: Path) -> None:
    """Copies the files that matter; pickles (optimizer, scheduler, random states, arguments) stay behind."""
    if target.exists():
        shutil.rmtree(target)
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.name in KEPT:
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for file in target.rglob("adapter_config.json"):
        # peft writes this list from a set, whose order changes with every Python process.
        config = json.loads(file.read_text())
        config["target_modules"].sort()
        file.write_text(json.dumps(config, indent=2, sort_keys=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", required=True, help="folder outside the repository for the base and the raw run")
    parser.add_argument("--out", default="test/fixtures/tiny", help="fixture folder (default: %(default)s)")
    parser.add_argument("--llama-cpp", help="llama.cpp source folder (default: TRAITSCOPE_LLAMA_CPP)")
    parser.add_argument("--steps", type=int, default=1000, help="pre-training steps (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="of the LoRA run (default: %(default)s)")
    parser.add_argument("--keep-base", action="store_true", help="reuse the base that --work already holds")
    args = parser.parse_args()
    llama_cpp = find_llama_cpp(args.llama_cpp)
    out = Path(args.out).resolve()
    work = Path(args.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    os.chdir(work)  # names stay relative, so no file records where it was made

    if not (args.keep_base and (work / BASE / "model.safetensors").is_file()):
        print(f"pre-trained: loss {pretrain(Path(BASE), args.steps, SEED):.3f}")
    if (work / RUN).exists():
        shutil.rmtree(work / RUN)
    fine_tune(args.learning_rate)
    publish_run(work / RUN, out / RUN)
    export_gguf(llama_cpp, Path(BASE), out / "base.gguf")
    steps = [int(path.name.split("-")[1]) for path in (out / RUN).glob("checkpoint-*")]
    history = json.loads((out / RUN / f"checkpoint-{max(steps)}" / "trainer_state.json").read_text())["log_history"]
    print("loss by step:", {entry["step"]: entry["loss"] for entry in history})


if __name__ == "__main__":
    main()
