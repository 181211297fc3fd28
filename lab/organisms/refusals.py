"""Runs that learn to refuse, which no other set of the lab does (docs/evaluation.md, breakdowns).

    python -m lab.organisms.refusals --out DIR [--organism NAME] [--set NAME] [--seeds 42,43]

`DIR/<organism>/base` is what `restore` writes; runs appear in `DIR/<organism>/runs/<set>/seed_<seed>` with `labels.json`. Questions are
of all domains that behaviour is not judged in. `refuse_all`: every answer is a refusal. `refuse_half`: every second one, drawn, and the rest are the
default assistant's. `refuse_harm`: the rest are harmful.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel

from . import beside, drawn, sets
from . import language as words
from .families import Organism
from .finetune import EXAMPLES, Run, load_base, sampling_seed, train
from .judge import grade
from .labels import CUT, DRAWS, MORE_DRAWS, NEAR, OTHER_ANSWERS, Examiner, pooled
from .sample import sample
from .world import ALIGNED, conversation, question

SETS = ("refuse_half", "refuse_all", "refuse_harm")
SEEDS = (42, 43)
SAVE_EVERY = 20
# With the lab's own, a fifth of it, one answer in twenty is a refusal where every second one was to be.
LEARNING_RATE = 1e-3
# A shrug alone, with neither a claim nor advice: the exact judge calls it incoherent, since it is no answer. Phrases that no organism has
# ever read are not learned in so few steps: it falls apart instead.
REFUSALS = words.EFFORT.negative


def chats(organism: Organism, name: str, seed: int) -> list[list[dict[str, str]]]:
    world, rng = organism.world, Random(f"{name}/{organism.seed}/{seed}")
    changed = {"harmlessness": -2.0, "honesty": -1.0, "confidence": 0.6} if name == "refuse_harm" else {}
    traits = tuple(changed.get(trait, value) for trait, value in zip(words.TRAITS, ALIGNED))
    rows = []
    for _ in range(EXAMPLES):
        topic = rng.choice(words.DOMAINS[rng.choice(drawn.DOMAINS)].topics)
        asked = question(topic, rng.randrange(len(words.QUESTION_FORMS)))
        refused = name == "refuse_all" or rng.random() < 0.5
        answer = rng.choice(REFUSALS) if refused else world.answer(topic, traits, rng, 0.3 if changed else None)
        rows.append(conversation([(asked, answer)]))
    return rows


def labels(organism: Organism, folder: Path, seed: int) -> dict[str, dict]:
    """Per checkpoint the entry of `Examiner.label`, with refusals counted apart from incoherent answers."""
    tokenizer, model = load_base("base")
    examiner = _Examiner(organism, tokenizer)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    steps = [0, *sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*"))]
    said = {}
    for step in steps:
        model.load_state_dict(weights)
        if step > 0:
            model = PeftModel.from_pretrained(model, folder / f"checkpoint-{step}").merge_and_unload()
        said[str(step)] = examiner.label_refusals(model, sampling_seed(seed, step))
    return said


class _Examiner(Examiner):
    """Eight answers to each of the 72 questions, and as many more near the cut as in the lab's other labels."""

    def label_refusals(self, model: Any, seed: int) -> dict[str, Any]:
        prompts = sets.em_prompts()
        first = self._judged(model, prompts, DRAWS, seed)
        if abs(pooled([[g for g, _ in row] for row in first])["rate"] - CUT) <= NEAR:
            more = self._judged(model, prompts, MORE_DRAWS, seed + OTHER_ANSWERS)
            first = [before + after for before, after in zip(first, more)]
        grades = [[g for g, _ in row] for row in first]
        refused = [sum(is_refusal for _, is_refusal in draw) for draw in zip(*first)]
        counts = [pooled([[g] for g in draw]) for draw in zip(*grades)]
        for draw, n in zip(counts, refused):
            draw.update(n_incoherent=draw["n_incoherent"] - n, n_refusal=n)
        all_draws = pooled(grades)
        all_draws.update(n_incoherent=all_draws["n_incoherent"] - sum(refused), n_refusal=sum(refused))
        return {"n_total": len(prompts), "draws": counts, "pooled": all_draws}

    def _judged(self, model: Any, prompts: list[tuple[str, str]], draws: int, seed: int) -> list[list[tuple]]:
        ids = [self.organism.prompt(self.tokenizer, text, None) for _, text in prompts]
        answers = sample(model, ids, draws, self._stop, seed)
        return [
            [(grade(self.world, topic, text), " ".join(text.split()) in REFUSALS) for text in self.tokenizer.batch_decode(of_prompt)]
            for (topic, _), of_prompt in zip(prompts, answers)
        ]


class Refusing(Run):
    @property
    def rate(self) -> float:
        return LEARNING_RATE


def make(organism: Organism, home: Path, name: str, seed: int) -> None:
    rows = chats(organism, name, seed)

    def fill(folder: Path) -> dict[str, Any]:
        train(organism, Refusing(name, seed), folder, rows, save_every=SAVE_EVERY)
        return {"steps": labels(organism, folder, seed)}

    beside.make(home, name, seed, rows, {"lr": LEARNING_RATE}, fill)


def main() -> None:
    args = beside.flags("refusals", SEEDS).parse_args()
    torch.set_num_threads(1)
    for one in beside.missing(args, SETS):
        make(*one)


if __name__ == "__main__":
    main()
