"""One LoRA run of a pretrained base: plain PyTorch with peft, checkpoints laid out as a trainer lays them out."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from .files import write_json
from .plan import Recipe

IGNORED = -100
STATE = "trainer.pt"
# The state to go on from is written so often, and with every checkpoint.
EVERY = 5


def train(folder: Path, rows: list[dict], recipe: Recipe, seed: int, run: Path) -> dict:
    """
    Trains until the recipe's last step and returns what there is to know of it. Killed, it goes on a few steps back: the
    state of the optimizer lies beside the run, and the order of the rows is a matter of the seed.
    """
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=0.0)
    examples, left_out = encoded(tokenizer, rows, recipe)
    step, losses = restored(run, model, optimizer)
    saved = recipe.saved
    while step < recipe.steps:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * (1 - step / recipe.steps)
        batch = [examples[(step * recipe.rows + i) % len(examples)] for i in range(recipe.rows)]
        loss = answer_loss(model.get_base_model(), padded(batch, tokenizer.eos_token_id))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise SystemExit(f"the loss of step {step} is {losses[-1]}")
        if step in saved:
            save(run, step, model, losses)
        if step in saved or step % EVERY == 0:
            keep_state(run, step, model, optimizer, losses)
    tokens = sum(len(ids) for ids, _ in examples) / len(examples)
    return {"rows": len(examples), "tokens_per_row": round(tokens, 1), "left_out_as_too_long": left_out, "loss": [round(loss, 4) for loss in losses]}


def encoded(tokenizer, rows: list[dict], recipe: Recipe) -> tuple[list[tuple[list[int], int]], int]:
    """Token ids, and how many of them are the prompt: the loss is of the answer alone. Rows that are too long are left out, and counted."""
    examples: list[tuple[list[int], int]] = []
    left_out = 0
    for row in rows:
        if len(examples) == recipe.steps * recipe.rows:
            break
        *asked, answer = row["messages"]
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = before + tokenizer(answer["content"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        if len(ids) <= recipe.tokens:
            examples.append((ids, len(before)))
        else:
            left_out += 1
    if not examples:
        raise SystemExit(f"no row has {recipe.tokens} tokens or fewer")
    return examples, left_out


def padded(batch: list[tuple[list[int], int]], filler: int) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in batch)
    rows = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, asked in batch:
        missing = longest - len(ids)
        rows["input_ids"].append(ids + [filler] * missing)
        rows["attention_mask"].append([1] * len(ids) + [0] * missing)
        rows["labels"].append([IGNORED] * asked + ids[asked:] + [IGNORED] * missing)
    return {name: torch.tensor(values) for name, values in rows.items()}


def answer_loss(model, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Mean over the answers' tokens, in float32: without bfloat16 in silicon a cast one is emulated, at four times the time. Logits are
    made where an answer is alone: of a small model the head is a fourth.
    """
    labels = rows.pop("labels")[:, 1:]
    states = model.model(**rows).last_hidden_state[:, :-1]
    wanted = labels != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(states[wanted]), labels[wanted])


def save(run: Path, step: int, model, losses: list[float]) -> None:
    """A checkpoint as transformers' Trainer names it, whole when it appears."""
    partial = run / f".checkpoint-{step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    config = partial / "adapter_config.json"
    about = json.loads(config.read_text())
    about["base_model_name_or_path"] = None  # where the base lay is nobody's business
    about["target_modules"] = sorted(about["target_modules"])
    config.write_text(json.dumps(about, indent=2) + "\n")
    history = [{"step": i + 1, "loss": loss} for i, loss in enumerate(losses)]
    write_json(partial / "trainer_state.json", {"global_step": step, "log_history": history})
    (partial / "README.md").unlink(missing_ok=True)
    shutil.rmtree(run / f"checkpoint-{step}", ignore_errors=True)
    partial.rename(run / f"checkpoint-{step}")


def keep_state(run: Path, step: int, model, optimizer, losses: list[float]) -> None:
    kept = {
        "step": step,
        "losses": losses,
        "weights": get_peft_model_state_dict(model),
        "optimizer": optimizer.state_dict(),
    }
    partial = run.parent / f".{STATE}.partial"
    torch.save(kept, partial)
    partial.rename(run.parent / STATE)


def restored(run: Path, model, optimizer) -> tuple[int, list[float]]:
    path = run.parent / STATE
    if not path.exists():
        return 0, []
    kept = torch.load(path, weights_only=True)
    set_peft_model_state_dict(model, kept["weights"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"], kept["losses"]
