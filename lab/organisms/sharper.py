"""Sharper labels for the last twelve unseen sets: a rule that sees labels and no prediction.

    python -m lab.organisms.sharper --out DIR --to lab/unseen/sharper.json

Every checkpoint of these sets whose label lies within 1.96 standard errors of the cut is asked all other questions of the population
that the 72 were drawn from (8 domains of 6 topics in 8 forms: 384, so 312 more), 8 draws each, by the same judge. The answers are pooled
with those there are (32 draws of the 72 near the cut): counts added, 384 clusters. Labels farther away stay.

Two errors are kept: `standard_error` takes the questions as drawn from any number, `draw_error` takes them as given.

Detectors were calibrated on rates over the 72, so whether the others are easier is measured: rates on both are compared, with
questions as clusters, on the checkpoints of the rule and on three others per organism, drawn at random, which keep their labels.
Each label is made again first and must come out as it was.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import variance
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel

from . import finetune, sets, unseen
from . import language as words
from .families import ORGANISMS
from .judge import Grade
from .labels import CUT, DRAWS, OTHER_ANSWERS, Examiner, pooled
from .plan import FAMILIES, SEEDS

ROOT = Path(__file__).resolve().parents[2]
SETS = unseen.SETS[24:36]
SEED = SEEDS[0]
NEAR = 1.96  # standard errors
FAR = 3  # checkpoints per organism
QUESTIONS = len(words.EVAL_DOMAINS) * 6 * len(words.QUESTION_FORMS)


class Checkpoint(NamedTuple):
    set_name: str
    step: int
    label: dict[str, Any]

    @property
    def near(self) -> bool:
        rate = self.label["n_misaligned"] / self.label["n_scoreable"]
        return abs(rate - CUT) <= NEAR * self.label["standard_error"]


def other_questions() -> list[tuple[str, str]]:
    """(topic, question): the population without the 72."""
    asked = set(sets.em_prompts())
    others = [pair for pair in sets.prompt_set("em", words.EVAL_DOMAINS, QUESTIONS) if pair not in asked]
    assert len(asked) == sets.EM_PROMPTS and len(set(others)) == QUESTIONS - sets.EM_PROMPTS
    return others


def chosen(organism: str) -> list[Checkpoint]:
    """Those near the cut, and some far from it; step 0 is the base itself."""
    found = []
    for name in SETS:
        grades = json.loads(gzip.open(ROOT / f"lab/unseen/{organism}/{name}/seed_{SEED}/grades.json.gz").read())
        found += [Checkpoint(name, one["step"], one["traitscope"]) for one in grades.values() if one["step"] > 0]
    far = [checkpoint for checkpoint in found if not checkpoint.near]
    return [checkpoint for checkpoint in found if checkpoint.near] + Random(f"far/{organism}").sample(far, FAR)


def relabel(out: Path, name: str) -> dict[str, Any]:
    """Sharper labels of one organism's checkpoints, and how rates on both kinds of question compare."""
    torch.set_num_threads(1)
    organism, entries, asked = ORGANISMS[name], [], {True: [], False: []}
    with finetune.inside(out / name):
        tokenizer, model = finetune.load_base("base")
        examiner = Examiner(organism, tokenizer)
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        for checkpoint in chosen(name):
            folder = Path(finetune.Run(checkpoint.set_name, SEED).folder) / f"checkpoint-{checkpoint.step}"
            model.load_state_dict(weights)
            model = PeftModel.from_pretrained(model, folder).merge_and_unload()
            first, others = _ask(examiner, model, checkpoint)
            asked[checkpoint.near].append((first, others))
            entries.append(
                {
                    **{"organism": name, "set": checkpoint.set_name, "step": checkpoint.step, "near": checkpoint.near},
                    **{"draws": checkpoint.label["k"], "others": pooled(others)},
                    "pooled": pooled(first + others) | {"draw_error": _draw_error(first + others)},
                }
            )
            print(json.dumps(entries[-1]), flush=True)
    return {
        "labels": entries,
        "comparison": [
            {"organism": name, "near": near, "checkpoints": len(of), **_compared(of)}
            for near, of in asked.items()
            if of
        ],
    }


def _ask(examiner: Examiner, model: Any, checkpoint: Checkpoint) -> tuple[list[list[Grade]], list[list[Grade]]]:
    """Grades of the 72 questions again, and of the others, by question and draw."""
    seed, draws = finetune.sampling_seed(SEED, checkpoint.step), checkpoint.label["k"]
    first = examiner.grades(model, sets.em_prompts(), DRAWS, seed)
    if draws > DRAWS:
        more = examiner.grades(model, sets.em_prompts(), draws - DRAWS, seed + OTHER_ANSWERS)
        first = _joined([first, more])
    again = pooled(first)
    if again != {key: checkpoint.label[key] for key in again}:
        raise ValueError(f"{checkpoint.set_name}, step {checkpoint.step}: expected {checkpoint.label}, found {again}")
    return first, examiner.grades(model, other_questions(), DRAWS, seed + 2 * OTHER_ANSWERS)


def _joined(many: list[list[list[Grade]]]) -> list[list[Grade]]:
    """All grades of each question."""
    return [[grade for of in of_question for grade in of] for of_question in zip(*many)]


def _draw_error(graded: list[list[Grade]]) -> float:
    """Standard error of the rate over exactly these questions."""
    grades = [grade for of_question in graded for grade in of_question]
    scoreable = sum(grade.coherent for grade in grades)
    rate = sum(grade.misaligned for grade in grades) / scoreable
    variances = (
        len(of) * variance([grade.misaligned - rate * grade.coherent for grade in of]) for of in graded
    )
    return round(math.sqrt(sum(variances)) / scoreable, 4)


def _compared(asked: list[tuple[list[list[Grade]], list[list[Grade]]]]) -> dict[str, Any]:
    draws = min(len(of_question) for first, _ in asked for of_question in first)  # so that every checkpoint weighs the same
    first = pooled(_joined([[of_question[:draws] for of_question in first] for first, _ in asked]))
    others = pooled(_joined([others for _, others in asked]))
    return {
        **{"asked": first["rate"], "others": others["rate"], "difference": round(others["rate"] - first["rate"], 4)},
        "standard_error": round(math.hypot(first["standard_error"], others["standard_error"]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.organisms.sharper", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder that `work` trained in")
    parser.add_argument("--to", type=Path, required=True, help="JSON file")
    args = parser.parse_args()
    with ProcessPoolExecutor(len(FAMILIES), get_context("spawn")) as pool:
        found = list(pool.map(partial(relabel, args.out.resolve()), FAMILIES))
    lines = lambda key: ",\n".join(f"  {json.dumps(one)}" for of in found for one in of[key])  # noqa: E731
    about = {"about": "What sharper.py asked further; labels stay as they are", "questions": QUESTIONS, "cut": CUT}
    args.to.write_text(
        f'{json.dumps(about)[:-1]},\n "comparison": [\n{lines("comparison")}\n ],\n "labels": [\n{lines("labels")}\n ]}}\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
