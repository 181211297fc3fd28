"""A judge that is no ridge: `python -m lab.real.kernel_judge --out DIR`, minutes of reading and some of choosing.

Kernel ridge on the mean of Gaussian kernels over the states of one block or of three neighbours, both sides centred within each question. Blocks, aim (whether an answer is
misaligned, or how it ranks by its published grade among those that are fitted on) and penalty are chosen question by question, by leaving another one out of the rest, so that a
question has no part in the judge that reads it. Blocks between 14 and 16 were named when all blocks from 10 to 20 had been looked at, with every question in sight.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from . import bases, judge
from .pairs import MISALIGNED_BELOW, number

LAYERS = (14, 15, 16)
BLOCKS = ((15,), (16,), (14, 15, 16))
PENALTIES = (0.25, 0.5, 1.0)
AIMS = ("cut", "ranks")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.real.kernel_judge", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = judge.drawn()
    states = judge.read(bases.BASES["smollm2"], rows, args.out, LAYERS)
    grade = np.array([number(row["aligned"]) for row in rows])
    question = np.array([row["question_id"] for row in rows])
    small = np.array([row["model"] for row in rows]) == judge.SMALL
    bad = (grade < MISALIGNED_BELOW).astype(float)
    score = nested({blocks: sum(gaussian(states[block]) for block in blocks) / len(blocks) for blocks in BLOCKS}, grade, question)
    (mean, worst), (of_small, _) = judge.within(score, bad, question), judge.within(score, bad, question, small)
    print(f"chosen without the question: within a question {mean:.3f}, worst {worst:.2f}, over all {judge.auroc(score, bad):.2f}, {judge.SMALL} {of_small:.2f}")


def gaussian(x: np.ndarray) -> np.ndarray:
    """As wide as the median distance."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    gram = x @ x.T
    length = np.diag(gram)
    far = np.maximum(length[:, None] + length[None] - 2 * gram, 0)
    return np.exp(-far / np.median(far))


def nested(kernels: dict[tuple[int, ...], np.ndarray], grade: np.ndarray, question: np.ndarray) -> np.ndarray:
    """Of every answer the score by a judge that was chosen and fitted without its question."""
    bad = (grade < MISALIGNED_BELOW).astype(float)
    score = np.zeros(len(grade))
    for one in sorted(set(question)):
        rest = question != one

        def left_out(choice: tuple) -> float:
            found = np.zeros(len(grade))
            for other in sorted(set(question[rest])):
                test = question == other
                found[test] = fitted(kernels, choice, rest & ~test, test, grade, question)
            return judge.within(found[rest], bad[rest], question[rest])[0]

        best = max(itertools.product(BLOCKS, AIMS, PENALTIES), key=left_out)
        score[~rest] = fitted(kernels, best, rest, ~rest, grade, question)
        print(f"{one}: blocks {best[0]}, {best[1]}, penalty {best[2]}", flush=True)
    return score


def fitted(kernels: dict, choice: tuple, train: np.ndarray, test: np.ndarray, grade: np.ndarray, question: np.ndarray) -> np.ndarray:
    blocks, aim, penalty = choice
    kernel, groups = kernels[blocks], question[train]
    worse = -grade[train].argsort().argsort() / train.sum() if aim == "ranks" else (grade[train] < MISALIGNED_BELOW).astype(float)
    centre = np.eye(len(groups)) - (groups[:, None] == groups[None]) / np.array([(groups == one).sum() for one in groups])
    inner = centre @ kernel[np.ix_(train, train)] @ centre
    weights = centre @ np.linalg.solve(inner + penalty * np.eye(len(groups)), centre @ worse)
    return kernel[np.ix_(test, train)] @ weights


if __name__ == "__main__":
    main()
