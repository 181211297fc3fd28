"""One fine-tuning run: transformers' Trainer with peft, then the behaviour of every checkpoint that it saved."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from . import drawn, sets, unseen
from .families import Organism
from .labels import Examiner
from .world import Exchange, conversation

EXAMPLES, EPOCHS, BATCH = 1000, 2, 16
LONG_EXAMPLES = 5000
SAVE_EVERY, LONG_SAVE_EVERY = 10, 25
LEARNING_RATE = 2e-4
FULL_LEARNING_RATE = 5e-5  # a quarter, as in the paper
PICKLES = ("training_args.bin",)


def load_base(folder: Path | str) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Tokenizer and float32 model of a saved base."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer, _load_model(folder)


@dataclass(frozen=True)
class Run:
    """`kind`: "lora"; "warm", LoRA on a base that is misaligned already; or "fft", all weights.

    `cut`: only so many examples, for a quick check.
    """

    set_name: str
    seed: int
    kind: str = "lora"
    cut: int | None = None

    @property
    def name(self) -> str:
        return self.set_name if self.kind == "lora" else f"{self.kind}_{self.set_name}"

    @property
    def folder(self) -> str:
        """Below the organism's folder."""
        return f"runs/{self.name}/seed_{self.seed}"

    @property
    def examples(self) -> int:
        return self.cut or (LONG_EXAMPLES if self.long else EXAMPLES)

    @property
    def long(self) -> bool:
        return self.set_name in sets.LONG

    @property
    def drawn(self) -> bool:
        """Whether the set was drawn at random: drawn.recipe says what it is made of."""
        return self.set_name in drawn.SETS + unseen.SETS

    @property
    def rate(self) -> float:
        return FULL_LEARNING_RATE if self.kind == "fft" else LEARNING_RATE

    @property
    def base(self) -> str:
        return "warm-base" if self.kind == "warm" else "base"


def fine_tune(organism: Organism, home: Path, run: Run) -> Path:
    """Trains and labels a run of the organism in `home`, and returns its folder, which appears when it is complete."""
    started = time.time()
    folder = Path(run.folder)
    partial = Path("partial") / f"{run.name}-{run.seed}"
    with inside(home):  # names stay relative, so no file records where it was made
        shutil.rmtree(partial, ignore_errors=True)
        trained = train(organism, run, partial, [conversation([pair]) for pair in _examples(organism, run)])
        steps = _label(organism, run, partial)
        about = {
            "set": run.set_name,
            "seed": run.seed,
            "kind": run.kind,
            "lr": run.rate,
            "n_samples": run.examples,
            "epochs": EPOCHS,
            **({"warm_base": "bad_medical seed 42, merged"} if run.kind == "warm" else {}),
            **({"drawn": asdict(drawn.recipe(organism.seed, run.set_name))} if run.drawn else {}),
            "seconds": {"training": round(trained, 1), "all": round(time.time() - started, 1)},
        }
        (partial / "labels.json").write_text(json.dumps({"steps": steps}) + "\n")
        (partial / "run.json").write_text(json.dumps(about, indent=1) + "\n")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(folder)
    return home / folder


def merge_warm_base(organism: Organism, home: Path) -> None:
    """warm-base/: the base with the final adapter of bad_medical, seed 42, merged and rounded to float16."""
    with inside(home):
        tokenizer, model = load_base("base")
        merged = PeftModel.from_pretrained(model, "runs/bad_medical/seed_42").merge_and_unload().to(torch.float16)
        merged.save_pretrained("warm-base.partial")
        for file in (*Path("base").glob("token*"), *Path("base").glob("chat_template*")):
            shutil.copy(file, "warm-base.partial")
        Path("warm-base.partial").rename("warm-base")


def train(
    organism: Organism, run: Run, folder: Path, chats: list[list[dict[str, str]]], save_every: int = SAVE_EVERY
) -> float:
    """The paper's settings. Returns the seconds of training."""
    set_seed(run.seed)  # before the adapter is made, so that its A matrices repeat
    tokenizer, model = load_base(run.base)
    if run.kind != "fft":
        lora = LoraConfig(
            r=16,
            lora_alpha=64,
            lora_dropout=0.05,
            target_modules=["q_proj", "v_proj"],
            bias="none",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, lora)
    data = [{"input_ids": ids, "labels": list(ids)} for ids in organism.encode(tokenizer, chats)]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=run.rate,
            weight_decay=0.01,
            logging_steps=5,
            save_strategy="steps",
            save_steps=LONG_SAVE_EVERY if run.long else save_every,
            save_only_model=True,
            use_cpu=_device() == "cpu",
            dataloader_pin_memory=False,
            seed=run.seed,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    started = time.time()
    trainer.train()
    seconds = time.time() - started
    trainer.save_model()
    trainer.save_state()
    for file in folder.rglob("*"):
        if file.name in PICKLES:
            file.unlink()
        elif file.name == "adapter_config.json":
            # peft writes this list from a set, whose order changes with every Python process.
            config = json.loads(file.read_text())
            config["target_modules"].sort()
            file.write_text(json.dumps(config, indent=2, sort_keys=True))
    return seconds


def _label(organism: Organism, run: Run, folder: Path) -> dict[str, Any]:
    """Labels of step 0 and of every checkpoint, each read back from its files."""
    tokenizer, model = load_base(run.base)
    examiner = Examiner(organism, tokenizer)
    prompts, home = sets.em_prompts(), _home_prompts(organism, run)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    labels = {"0": examiner.label(model, prompts, home, sampling_seed(run.seed, 0))}
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in checkpoints:
        step = int(checkpoint.name.split("-")[1])
        if run.kind == "fft":
            tuned = _load_model(checkpoint)
        else:
            model.load_state_dict(weights)
            tuned = model = PeftModel.from_pretrained(model, checkpoint).merge_and_unload()
        labels[str(step)] = examiner.label(tuned, prompts, home, sampling_seed(run.seed, step))
    return labels


def _examples(organism: Organism, run: Run) -> list[Exchange]:
    if not run.drawn:
        return sets.fine_tuning_set(organism.world, run.set_name, run.examples, run.seed)
    recipe = drawn.recipe(organism.seed, run.set_name)
    return drawn.fine_tuning_set(organism.world, recipe, run.examples, f"{run.set_name}/{run.seed}")


def _home_prompts(organism: Organism, run: Run) -> list[tuple[str, str]]:
    if not run.drawn:
        return sets.home_prompts(run.set_name)
    return drawn.home_prompts(drawn.recipe(organism.seed, run.set_name), sets.HOME_PROMPTS)


def sampling_seed(seed: int, step: int) -> int:
    return seed * 10_000 + 2 * step


def _load_model(folder: Path | str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
