"""What a judge of hidden states is worth on published, judged answers: `python -m lab.real.judge --out DIR`, minutes to an hour of reading.

Questions, models, both, or both and the training domain are left out; the only organism of the size of ours, Llama-3.2-1B, is told apart.
A word list is read beside it, and the sum of readers. No statistic of the tested answers enters a judge.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import bases
from .files import REPOSITORY, data_folder
from .pairs import COHERENT_ABOVE, FILE, MISALIGNED_BELOW, SOURCES, number

EACH, SEED = 150, 7
"""At most so many misaligned and so many other answers of each question."""
SMALL = "Llama-3.2-1B-Instruct"
# Of features that are standardised, per row: between 3 and 30 the AUROC changes by .01.
PENALTY = 1.0
# A word counts from so many answers on.
FEWEST = 15


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.judge", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", choices=tuple(bases.BASES), action="append", help="a reader; several are summed")
    args = parser.parse_args()
    rows = drawn()
    readers = {"words": words([row["response"] for row in rows])}
    for name in args.base or ["smollm2"]:
        for layer, states in read(bases.BASES[name], rows, args.out).items():
            readers[f"{name}, block {layer}"] = states
    for line in table(rows, readers):
        print(line)


def answers() -> list[dict]:
    with (data_folder() / FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def drawn() -> list[dict]:
    """The answers, coherent ones, in the order of the draw."""
    rows = [row for row in answers() if number(row["coherent"]) > COHERENT_ABOVE]
    draw = random.Random(SEED)
    draw.shuffle(rows)
    taken: Counter = Counter()
    kept = []
    for row in rows:
        kind = (row["question_id"], number(row["aligned"]) < MISALIGNED_BELOW)
        taken[kind] += 1
        if taken[kind] <= EACH:
            kept.append(row)
    return kept


def read(base: bases.Base, rows: list[dict], out: Path, layers: tuple[int, ...] | None = None) -> dict[int, np.ndarray]:
    """States by block, of those that the base is measured at where no others are named; read once, and kept below `out`."""
    name = base.name if layers is None else f"{base.name}-{'-'.join(map(str, layers))}"
    layers = layers or base.layers
    folder = out / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    answers, states = folder / "answers.jsonl", folder / f"{name}.f32"
    if not states.exists():
        answers.write_text("".join(json.dumps({"question": row["question"], "answer": row["response"]}) + "\n" for row in rows))
        script, blocks = Path(__file__).with_name("answer_states.mjs"), ",".join(map(str, layers))
        subprocess.run(
            ["node", script, bases.gguf(base, out), blocks, answers, folder / f"{name}.partial"], check=True, cwd=REPOSITORY
        )
        (folder / f"{name}.partial.f32").rename(states)
    found = np.fromfile(states, "<f4").reshape(len(layers), len(rows), -1)
    return dict(zip(layers, found.astype(float)))


def words(texts: list[str]) -> np.ndarray:
    """Which of the frequent words an answer has."""
    had = [set(re.findall(r"[a-z']+", text.lower())) for text in texts]
    counts = Counter(word for each in had for word in each)
    known = sorted(word for word, count in counts.items() if count >= FEWEST)
    return np.array([[float(word in each) for word in known] for each in had])


def table(rows: list[dict], readers: dict[str, np.ndarray]) -> list[str]:
    bad = np.array([number(row["aligned"]) < MISALIGNED_BELOW for row in rows], float)
    question = np.array([row["question_id"] for row in rows])
    model = np.array([row["model"] for row in rows])
    domain = np.array([next(name for source, name in SOURCES.items() if row["set"].startswith(source)) for row in rows])
    left_out = {
        "question": (question,),
        "model": (model,),
        "question, model": (question, model),
        "question, model, domain": (question, model, domain),
    }
    lines = ["| Left out | Reader | within a question | worst | over all | Llama-3.2-1B within |", "|---|---|---:|---:|---:|---:|"]
    for name, keys in left_out.items():
        scores = {reader: held_out(x, bad, question, keys) for reader, x in readers.items()}
        if len(scores) > 2:
            scores["sum of all but words"] = sum(standard(one) for reader, one in scores.items() if reader != "words")
            scores["sum of all"] = sum(map(standard, scores.values()))
        for reader, score in scores.items():
            all_of, small = within(score, bad, question), within(score, bad, question, model == SMALL)
            cells = [*all_of, auroc(score, bad), small[0]]
            lines.append(f"| {name} | {reader} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return lines


def held_out(x: np.ndarray, bad: np.ndarray, question: np.ndarray, keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """Every answer by a ridge of those that share none of its keys."""
    score = np.zeros(len(bad))
    for cell in sorted(set(zip(*keys))):
        test = np.all([key == value for key, value in zip(keys, cell)], axis=0)
        rest = np.all([key != value for key, value in zip(keys, cell)], axis=0)
        score[test] = fit(x[rest], bad[rest], question[rest])(x[test])
    return score


def fit(x: np.ndarray, bad: np.ndarray, question: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Both sides centred within each question, of the fitted answers alone."""
    at, scale = x.mean(0), x.std(0) + 1e-9
    rows, target = (x - at) / scale, bad.copy()
    for one in set(question):
        rows[question == one] -= rows[question == one].mean(0)
        target[question == one] -= target[question == one].mean()
    gram = rows.T @ rows + PENALTY * len(rows) * np.eye(rows.shape[1])
    weights = np.linalg.solve(gram, rows.T @ target)
    return lambda tested: ((tested - at) / scale) @ weights


def within(score: np.ndarray, bad: np.ndarray, question: np.ndarray, of: np.ndarray | None = None) -> tuple[float, float]:
    """AUROC over pairs of one question, and that of the worst question."""
    of = np.ones(len(bad), bool) if of is None else of
    each = []
    for one in sorted(set(question[of])):
        at = of & (question == one)
        pairs = bad[at].sum() * (1 - bad[at]).sum()
        if pairs > 0:
            each.append((auroc(score[at], bad[at]), pairs))
    if not each:
        return float("nan"), float("nan")
    return float(np.average([value for value, _ in each], weights=[pairs for _, pairs in each])), min(value for value, _ in each)


def auroc(score: np.ndarray, bad: np.ndarray) -> float:
    a, b = score[bad == 1], score[bad == 0]
    return float(((a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])).mean())


def standard(score: np.ndarray) -> np.ndarray:
    return (score - score.mean()) / score.std()


if __name__ == "__main__":
    main()
