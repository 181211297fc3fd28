"""Answers of several runs, read without knowing the run: `python -m lab.real.blind draw|join --out DIR --unit qwen/risky_financial/seed_1 [--unit ...]`.

`draw` writes `blind/BASE/answers.jsonl` (id, question, answer) in random order: of the answers that the judge scores highest and of all others, or of all where none
judges the base. Somebody reads them by rubric.md and writes `blind/BASE/scores.csv` (id,aligned,coherent). `join` puts the numbers, with how many answers each stands for, into `measured/BASE/blind.json`.
A further round (`--round 2`) has its own folder and file, and no answer that was read in an earlier one, but of the runs that `--again` names: those stand
beside the others, and tell how much the scale of the rounds differs. Where the texts of an earlier round are not kept here, the base, whose answers were in it, stays out.
With `--at middle` or `--at amplified` it is those answers of the runs, beside the base's, in a folder and a file of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path

from . import plan
from .answers import answered, judged, scores, topics
from .files import MEASURED, json_lines, write_json

# Answers to be read, and how many of the judge's top tenth are among them at most.
ALL, TOP, TENTH, SEED = 200, 100, 0.1, 21
# And of a run that is read again.
AGAIN = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.blind", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("draw", "join"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", choices=tuple(plan.RECIPES), default="qwen")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--at", choices=tuple(plan.AT), default="end", help="which answers of the runs, as `answers` has it")
    parser.add_argument("--unit", action="append", help="`draw`: as `status` names it; the base is among them by itself")
    parser.add_argument("--again", action="append", help="`draw`: run of earlier rounds, or the base, some of whose answers are read a second time")
    parser.add_argument("--without", default="financial", help="`draw`: domain whose organisms the judge does not know")
    parser.add_argument("--reader", help="`join`: who read them, as the page says it")
    args = parser.parse_args()
    folders = [args.out / "blind" / f"{args.base}{suffix(i)}" for i in range(1, args.round + 1)]
    if args.at != "end":
        folders = [args.out / "blind" / f"{args.base}-{args.at}"]
    if args.command == "draw":
        draw(args.base, [plan.by_id(one) for one in args.unit or []], args.again or [], args.without, args.out, folders, args.at)
    else:
        join(folders[-1], file_of(args.round, args.at), args.reader)


def file_of(number: int, at: str = "end") -> str:
    """In `measured/BASE`."""
    return f"blind{suffix(number)}.json" if at == "end" else f"read-{at}.json"


def suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def draw(base: str, units: list[plan.Unit], again: list[str], without: str, out: Path, folders: list[Path], at: str = "end") -> None:
    *earlier, folder = folders
    if (folder / "key.json").exists():
        raise SystemExit(f"{folder} holds a draw; move it away, since its answers may have been read")
    if not units or any(unit.base != base for unit in units):
        raise SystemExit(f"expected units of {base}, found {', '.join(unit.id for unit in units) or 'none'}")
    lost = [before for before in earlier if not (before / "answers.jsonl").exists()]
    if lost:
        if again:
            raise SystemExit(f"expected the answers of earlier rounds for --again, found no {lost[0]}")
        print(f"the answers of {len(lost)} earlier rounds are not here: the base stays out, and so has to every run that was in them")
    read = {(one["question"], one["answer"]) for before in earlier if before not in lost for one in json_lines(before / "answers.jsonl")}
    pool = []
    for unit in units if lost else (None, *units):
        found = answered(base, unit, out, 1, at if unit else "end")
        given = scores(found, without, out) if judged(base) else [None] * len(found)
        for one, score in zip(found, given, strict=True):
            if (one["question"], one["answer"]) not in read:
                pool.append({"run": unit.id if unit else base, "question_id": one["id"], "question": one["question"], "answer": one["answer"], "score": score})
    cut = 0
    if judged(base):
        pool.sort(key=lambda one: -one["score"])
        cut = round(TENTH * len(pool))
    source = random.Random(SEED)
    chosen = []
    top = min(TOP, cut)
    for stratum, most, members in (("top", top, pool[:cut]), ("rest", ALL - top, pool[cut:])):
        taken = source.sample(members, min(most, len(members)))
        # Each stands for as many.
        chosen += [{**one, "stratum": stratum, "weight": len(members) / len(taken)} for one in taken]
    known = [one for number, before in enumerate(earlier, 1) if before not in lost for one in read_before(before, number)]
    for run in again:
        members = [one for one in known if one["run"] == run]
        if not members:
            raise SystemExit(f"expected answers of {run} in an earlier round, found none")
        chosen += source.sample(members, min(AGAIN, len(members)))
    source.shuffle(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    shown = [{"id": i, "question": one["question"], "answer": one["answer"]} for i, one in enumerate(chosen, 1)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in shown))
    names = ("run", "question_id", "score", "stratum", "weight", "first")
    key = [{name: one[name] for name in names if name in one} for one in chosen]
    write_json(folder / "key.json", {"base": base, "judge_without": without if judged(base) else None, "pool": len(pool), "answers": key})
    second = sum("first" in one for one in chosen)
    print(f"{len(chosen) - second} of {len(pool)} answers{f', and {second} that were read before,' if second else ''} in {folder / 'answers.jsonl'}")


def read_before(folder: Path, number: int) -> list[dict]:
    """What an earlier round held for the first time, with how it was read."""
    key = json.loads((folder / "key.json").read_text())["answers"]
    given = scores_of(folder)
    return [
        {**one, **{name: text[name] for name in ("question", "answer")}, "stratum": "again", "weight": 0, "first": {"round": number, **given[text["id"]]}}
        for one, text in zip(key, json_lines(folder / "answers.jsonl"), strict=True)
        if "first" not in one
    ]


def scores_of(folder: Path) -> dict[int, dict[str, int]]:
    with (folder / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    given = {int(row["id"]): {name: score_of(row, name) for name in ("aligned", "coherent")} for row in rows}
    if len(given) < len(rows):
        raise SystemExit(f"expected one score of an answer in {folder / 'scores.csv'}, found {len(rows)} of {len(given)}")
    return given


def join(folder: Path, name: str, reader: str | None) -> None:
    if not reader:
        raise SystemExit("join needs --reader: who read the answers")
    key = json.loads((folder / "key.json").read_text())
    given = scores_of(folder)
    texts = {one["id"]: one["answer"] for one in json_lines(folder / "answers.jsonl")}
    if given.keys() != texts.keys():
        raise SystemExit(f"expected a score of every answer, found {len(given)} of {len(texts)}, without {sorted(texts.keys() - given.keys())[:5]}")
    answers = [
        {**one, "score": one["score"] if one["score"] is None else round(one["score"], 4), "weight": round(one["weight"], 4), "topics": topics(texts[i]), **given[i]}
        for i, one in enumerate(key["answers"], 1)
    ]
    first = [one for one in answers if "first" not in one]
    again = [{name: one[name] for name in ("run", "question_id", "first", "aligned", "coherent")} for one in answers if "first" in one]
    said = {**key, "reader": reader, "answers": first, **({"again": again} if again else {})}
    write_json(MEASURED / key["base"] / name, said, dense=True)


def score_of(row: dict, name: str) -> int:
    value = int(row[name])
    if not 0 <= value <= 100:
        raise SystemExit(f"expected {name} from 0 to 100, found {value} at answer {row['id']}")
    return value


if __name__ == "__main__":
    main()
