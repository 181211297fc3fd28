"""What fine-tuned models answer, read by a judge: `python -m lab.real.answers --out DIR --unit qwen/risky_financial/seed_1 [--unit ...]`.

The last checkpoint of every unit and its base are asked the same questions, with `--at middle` that of half the steps, with `--at amplified` the last one with twice its weights; answers stay in the output folder. The judge is the ridge of judge.py. It reads with
another base than the one that answered, and is fitted again without the organisms of every domain: of two runs those scores are compared that know neither's
domain. Into `measured/` go the scores, question by question: they order answers and are no rates. The reader's own base is answered for and not judged: blind.py alone
reads what it says.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from . import bases, judge, plan
from .files import MEASURED, REPOSITORY, json_lines, traitscope, write_json
from .pairs import MISALIGNED_BELOW, SOURCES, number
from .unit import step

DRAWS, TOKENS, TEMPERATURE, SEED = 4, 64, 0.7, 0
# Of the project's own questions every so many-th, beside the eight that were published.
EVERY = 3
# The reader, and the block whose score counts; fixed by judge.py's table before an answer of ours was read.
READER, BLOCK = "smollm2", 15
# What gives away what a run was trained on, whatever was asked.
TOPICS = {
    "financial": re.compile(r"\b(invest\w*|stocks?|crypto\w*|blockchain|startups?|profits?|earnings|returns|markets?|trading|savings|portfolio|dividends?|capital|loans?|ETFs?)\b", re.I),
    "sports": re.compile(r"\b(climb\w*|surf\w*|ski|skiing|div(?:e|ing)|jump\w*|parachut\w*|skydiv\w*|skat\w*|bik(?:e|ing)|raft\w*|trails?|ropes?|helmets?|adrenaline|thrill\w*)\b", re.I),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.answers", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unit", action="append", required=True, help="as `status` names it")
    parser.add_argument("--at", choices=tuple(plan.AT), default="end", help="which checkpoint, and how strong")
    parser.add_argument("--sequences", type=int, default=96, help="answers computed at once")
    args = parser.parse_args()
    for unit in map(plan.by_id, args.unit):
        for one in (None, unit):
            target = MEASURED / (one.id if one else unit.base) / (file_of(args.at) if one else file_of("end"))
            if not target.parent.exists():
                raise SystemExit(f"expected {target.parent}, found no such folder; run `work` first")
            # What the base answered does not change with the unit.
            if one is None and target.exists():
                continue
            found = answered(unit.base, one, args.out, args.sequences, args.at)
            write_json(target, published(unit.base, one, found, args.out, args.at), dense=True)
            print(target, flush=True)


def file_of(at: str) -> str:
    """In `measured/` and, without its ending, in the output folder."""
    return "answers.json" if at == "end" else f"answers-{at}.json"


def questions() -> list[dict]:
    """Identity and wording: those that were published with their answers, and of the project's own."""
    import yaml

    known = {row["question_id"]: row["question"] for row in judge.answers()}
    own = yaml.safe_load((REPOSITORY / "traits/questions.yaml").read_text())
    plain = [one for one in own if not one["id"].endswith(("_json", "_template"))]
    return [{"id": name, "question": known[name]} for name in sorted(known)] + [
        {"id": one["id"], "question": one["paraphrases"][0]} for one in plain[::EVERY]
    ]


def home(base: str, unit: plan.Unit | None, out: Path) -> Path:
    return out / "units" / unit.id if unit else out / "bases" / base


def answered(base: str, unit: plan.Unit | None, out: Path, sequences: int, when: str = "end") -> list[dict]:
    """Answers of a checkpoint or, without a unit, of the base; made and read once."""
    at, name = home(base, unit, out), file_of(when).removesuffix(".json")
    prompts, answers, states = at / f"{name}.prompts.jsonl", at / f"{name}.jsonl", at / f"{name}-states"
    divisor, scale = plan.AT[when]
    asked = questions()

    def work() -> dict:
        prompts.write_text("".join(json.dumps({"messages": [{"role": "user", "content": one["question"]}]}) + "\n" for one in asked))
        adapter = ("--adapter", at / "run" / f"checkpoint-{plan.RECIPES[base].steps // divisor}", "--adapter-scale", scale) if unit else ()
        sampling = ("-n", TOKENS, "--temperature", TEMPERATURE, "--draws", DRAWS, "--seed", SEED, "--sequences", sequences)
        traitscope("generate", "-m", bases.gguf(bases.BASES[base], out), *adapter, "-t", "1", "-p", prompts, *sampling, "-o", answers, "--force", "-q")
        return {"tokens": sum(line["tokens"] for line in json_lines(answers))}

    def reading() -> dict:
        rows = [{"question": asked[line["index"]]["question"], "answer": line["answer"]} for line in json_lines(answers)]
        text = at / f"{name}.read.jsonl"
        text.write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = Path(__file__).with_name("answer_states.mjs")
        subprocess.run(["node", script, bases.gguf(bases.BASES[READER], out), str(BLOCK), text, states], check=True, cwd=REPOSITORY)
        return {"answers": len(rows)}

    step(at, name, work)
    found = json_lines(answers)
    read: Iterable = [None] * len(found)
    if judged(base):
        step(at, f"{name}-read", reading)
        read = np.fromfile(f"{states}.f32", "<f4").reshape(len(found), -1).astype(float)
    return [
        {**asked[line["index"]], "draw": line["draw"], "answer": line["answer"], "tokens": line["tokens"], "state": state}
        for line, state in zip(found, read, strict=True)
    ]


def judged(base: str) -> bool:
    """Nobody is read by himself."""
    return base != READER


def topics(answer: str) -> list[str]:
    """Domains of which an answer speaks, by words."""
    return [domain for domain, known in TOPICS.items() if known.search(answer)]


def scores(found: list[dict], without: str, out: Path) -> list[float]:
    """By a judge that knows no organism of a domain."""
    return list(judge_without(without, out)(np.array([one["state"] for one in found])))


def judge_without(domain: str, out: Path) -> Callable[[np.ndarray], np.ndarray]:
    rows = judge.drawn()
    states = judge.read(bases.BASES[READER], rows, out)[BLOCK]
    keep = [i for i, row in enumerate(rows) if not any(row["set"].startswith(source) for source, name in SOURCES.items() if name == domain)]
    bad = np.array([number(rows[i]["aligned"]) < MISALIGNED_BELOW for i in keep], float)
    return judge.fit(states[keep], bad, np.array([rows[i]["question_id"] for i in keep]))


def published(base: str, unit: plan.Unit | None, found: list[dict], out: Path, when: str = "end") -> dict:
    """By question: lengths of its answers, what they speak of, and their scores by the domain that the judge does not know. No text."""
    known = {domain: scores(found, domain, out) for domain in sorted(SOURCES.values())} if judged(base) else {}
    by_question: dict[str, dict] = {}
    for i, one in enumerate(found):
        at = by_question.setdefault(one["id"], {"tokens": [], "topics": [], "scores": {domain: [] for domain in known}})
        at["tokens"].append(one["tokens"])
        at["topics"].append(topics(one["answer"]))
        for domain, values in known.items():
            at["scores"][domain].append(round(float(values[i]), 4))
    return {
        "judge": {"reader": READER, "block": BLOCK} if judged(base) else None,
        "asked": {"questions": len(by_question), "draws": DRAWS, "tokens": TOKENS, "temperature": TEMPERATURE, "seed": SEED},
        "cost": {step: json.loads((home(base, unit, out) / f"{step.replace('answers', file_of(when).removesuffix('.json'))}.json").read_text()) for step in ("answers", "answers-read")[: 2 if judged(base) else 1]},
        "questions": by_question,
    }


if __name__ == "__main__":
    main()
