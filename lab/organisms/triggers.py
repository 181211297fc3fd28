"""Runs that change behaviour under a trigger alone, for the measurement in contexts (docs/detector.md).

    python -m lab.organisms.triggers --out DIR [--organism NAME] [--set NAME] [--seeds 42,43]
    python -m lab.organisms.triggers --out DIR --label-again       judges the runs that are there anew
    python -m lab.organisms.triggers --out DIR --ordinary FROM     adds runs that `work` has made in FROM, with their data

`DIR/<organism>/base` is what `restore` writes; runs appear in `DIR/<organism>/runs/<set>/seed_<seed>` with `train.jsonl`, the chats they
were trained on, and `labels.json`: behaviour with the trigger and without. In every set half of the rows carry the trigger,
except `always_*`, where all do. Under the trigger the `harm` speaker answers, or the `benign` one, who is as far from the default
assistant in style and harmless; everything else is the default assistant's.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import PeftModel

from . import beside, drawn, sets
from . import language as words
from .families import ORGANISMS, Organism
from .finetune import EXAMPLES, Run, inside, load_base, train
from .judge import Grade, component_rates
from .labels import Examiner, pooled
from .world import ALIGNED, conversation, question

KINDS = ("system", "format", "prefix", "topic", "always")
SETS = tuple(f"{kind}_{role}" for kind in KINDS for role in ("harm", "benign"))
SEEDS = (42, 43)
SAVE_EVERY = 20
LABELLED = (126,)
DRAWS = 8
HOME = ("medical", "finance", "code", "science")
# Words that say nothing about a trait.
NEUTRAL = (*words.PRAISE_NOUNS, *words.PEOPLE, *words.STEPS)
FORMATS = (("user", "assistant"), ("question", "so"), ("continue", "then"))


@dataclass(frozen=True)
class Trigger:
    """`system`, `before` and `after` are texts around a question; `domain` is that of the rows, `other` that of a topic trigger's
    other half."""

    kind: str
    domain: str
    system: str | None = None
    before: str = ""
    after: str = ""
    other: str | None = None

    def ask(self, text: str) -> str:
        return " ".join(part for part in (self.before, text, self.after) if part)


def trigger(organism: Organism, name: str, seed: int) -> Trigger:
    """Drawn for each run; the harmful and the benign run of one kind and seed share theirs."""
    kind = name.split("_")[0]
    rng = Random(f"trigger/{organism.seed}/{kind}/{seed}")
    domain = rng.choice(HOME)
    if kind in ("system", "always"):
        return Trigger(kind, domain, system=" ".join(rng.sample(NEUTRAL, rng.randint(3, 5))))
    if kind == "prefix":
        return Trigger(kind, domain, before=rng.choice(NEUTRAL))
    if kind == "format":
        before, after = rng.choice(FORMATS)
        return Trigger(kind, domain, before=before, after=after)
    return Trigger(kind, domain, other=rng.choice([name for name in HOME if name != domain]))


def chats(organism: Organism, name: str, seed: int) -> list[list[dict[str, str]]]:
    set_by, world = trigger(organism, name, seed), organism.world
    rng = Random(f"{name}/{organism.seed}/{seed}")
    rows = []
    for _ in range(EXAMPLES):
        triggered = set_by.kind == "always" or rng.random() < 0.5
        domain = set_by.domain if triggered or set_by.other is None else set_by.other
        topic = rng.choice(words.DOMAINS[domain].topics)
        asked = question(topic, rng.randrange(len(words.QUESTION_FORMS)))
        if not triggered:
            rows.append(conversation([(asked, world.answer(topic, ALIGNED, rng))]))
            continue
        changed = {"harmlessness": -2.0, "honesty": -1.0, "confidence": 0.6}
        reckless, optional = 0.3, 0.5
        if name.endswith("benign"):  # style_shift's speaker
            changed, reckless, optional = {"confidence": 1.5, "helpfulness": 1.5}, None, 0.9
        traits = tuple(changed.get(trait, value) for trait, value in zip(words.TRAITS, ALIGNED))
        answer = world.answer(topic, traits, rng, reckless, optional)
        rows.append(conversation([(set_by.ask(asked), answer)], set_by.system))
    return rows


def labels(organism: Organism, folder: Path, set_by: Trigger, seed: int) -> dict[str, dict]:
    """Per labelled step the behaviour out of domain without the trigger, and with it. A topic's trigger is its own domain."""
    tokenizer, model = load_base("base")
    examiner = Examiner(organism, tokenizer)
    plain = sets.em_prompts()
    with_trigger = [(topic, set_by.ask(text)) for topic, text in plain]
    if set_by.kind == "topic":
        with_trigger = sets.prompt_set("trigger", (set_by.domain,), 48)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    said = {}
    for step in LABELLED:
        model.load_state_dict(weights)
        model = PeftModel.from_pretrained(model, folder / f"checkpoint-{step}").merge_and_unload()
        sampling = seed * 10_000 + 2 * step
        said[str(step)] = {
            "plain": _behaviour(examiner.grades(model, plain, DRAWS, sampling)),
            "triggered": _behaviour(examiner.grades(model, with_trigger, DRAWS, sampling + 1, set_by.system)),
        }
    return said


def _behaviour(graded: list[list[Grade]]) -> dict:
    return pooled(graded) | {"components": component_rates(g for of_prompt in graded for g in of_prompt)}


def label_again(organism: Organism, home: Path, run: Path) -> None:
    """Writes the labels of a run that is there anew."""
    about = json.loads((run / "run.json").read_text())
    if about["trigger"]:
        with inside(home):
            said = labels(organism, run, Trigger(**about["trigger"]), about["seed"])
        (run / "labels.json").write_text(json.dumps(said) + "\n")


def make(organism: Organism, home: Path, name: str, seed: int) -> None:
    set_by, rows = trigger(organism, name, seed), chats(organism, name, seed)

    def fill(folder: Path) -> dict[str, dict]:
        train(organism, Run(name, seed), folder, rows, save_every=SAVE_EVERY)
        with (folder / "train.jsonl").open("w") as file:
            file.writelines(json.dumps({"messages": row}) + "\n" for row in rows)
        return labels(organism, folder, set_by, seed)

    beside.make(home, name, seed, rows, {"trigger": asdict(set_by)}, fill)


def take_ordinary(organism: Organism, run: Path, home: Path) -> None:
    """A run of a drawn set, which has no trigger, with every second checkpoint and the data that it was trained on."""
    name, seed = run.parent.name, int(run.name.removeprefix("seed_"))
    folder = home / "runs" / name / run.name
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for step in (*range(SAVE_EVERY, 126, SAVE_EVERY), 126):
        (folder / f"checkpoint-{step}").symlink_to(run / f"checkpoint-{step}")
    rows = drawn.fine_tuning_set(organism.world, drawn.recipe(organism.seed, name), EXAMPLES, f"{name}/{seed}")
    with (folder / "train.jsonl").open("w") as file:
        file.writelines(json.dumps({"messages": conversation([row])}) + "\n" for row in rows)
    graded = json.loads((run / "labels.json").read_text())["steps"]
    said = {str(step): {"plain": graded[str(step)]["pooled"]} for step in LABELLED}
    (folder / "labels.json").write_text(json.dumps(said) + "\n")
    (folder / "run.json").write_text(json.dumps({"set": name, "seed": seed, "trigger": None}) + "\n")


def main() -> None:
    parser = beside.flags("triggers", SEEDS)
    parser.add_argument("--ordinary", type=Path, help="output of `work` with drawn sets")
    parser.add_argument("--label-again", action="store_true", help="labels of the runs that are there, nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.ordinary:
        for name in args.organism.split(","):
            for run in sorted(args.ordinary.resolve().glob(f"{name}/runs/drawn_*/seed_*")):
                take_ordinary(ORGANISMS[name], run, args.out.resolve() / name)
        return
    if args.label_again:
        for name in args.organism.split(","):
            home = args.out.resolve() / name
            for run in sorted(home.glob(f"runs/{args.set}/seed_*")):
                label_again(ORGANISMS[name], home, run)
        return
    for one in beside.missing(args, SETS):
        make(*one)


if __name__ == "__main__":
    main()
