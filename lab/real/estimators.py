"""Which estimator of a trait direction holds up on new wordings, and whether more wordings would help.

    node lab/real/states.mjs BASE.gguf 10,15,20 STATES && python -m lab.real.estimators STATES NAME

Of every choice of one system prompt per pole, and every fifth of the questions: a direction is made of the rest and orders what was left out,
within a question. Writes NAME into lab/real/directions.json, which docs/real-models.md is made of.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np

from .files import write_json

FILE = Path(__file__).with_name("directions.json")
FOLDS = 5
DRAWS = 100
# What is whitened is shrunk by so much of its mean eigenvalue times the width.
SHRINK = 0.01
# Penalty of logistic regression on states scaled to a mean inner product of 1, and the steps that it is given.
PENALTY = 0.1
NEWTON_STEPS = 15


def mean_difference(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    return positive.mean((0, 1)) - negative.mean((0, 1))


def whitened(residuals: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """(residuals' covariance + shrinkage)^-1 difference, by the smaller of the two matrices."""
    rows, width = residuals.shape
    shrink = SHRINK * (residuals**2).sum() / rows
    inner = residuals @ residuals.T / rows
    return difference - residuals.T @ np.linalg.solve(inner + shrink * np.eye(rows), residuals @ difference) / rows


def whitened_by_wording(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Against what distinguishes system prompts of one pole."""
    poles = [pole.mean(0) - pole.mean((0, 1)) for pole in (positive, negative)]
    return whitened(np.concatenate(poles), mean_difference(positive, negative))


def whitened_within_question(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Against what is left within a question and pole: linear discriminant analysis of paired questions."""
    width = positive.shape[-1]
    rest = [(pole - pole.mean(1, keepdims=True)).reshape(-1, width) for pole in (positive, negative)]
    return whitened(np.concatenate(rest), mean_difference(positive, negative))


def sign_of_questions(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Mean of the questions' own differences, each scaled to unit length."""
    each = positive.mean(1) - negative.mean(1)
    return (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(0)


def principal(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """First principal direction of the pairs' differences, towards the positive pole."""
    pairs = (positive - negative).reshape(-1, positive.shape[-1])
    values, vectors = np.linalg.eigh(pairs @ pairs.T)
    direction = pairs.T @ vectors[:, -1]
    return direction * np.sign(direction @ mean_difference(positive, negative))


def logistic(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Weights of an L2-penalised logistic regression that tells the wordings' mean states apart, in its dual form."""
    rows = np.concatenate([positive.mean(0), negative.mean(0)])
    side = np.repeat([1.0, -1.0], [positive.shape[1], negative.shape[1]])
    rows = rows - rows.mean(0)
    inner = rows @ rows.T
    inner /= np.trace(inner) / len(rows)
    dual = np.zeros(len(rows))
    for _ in range(NEWTON_STEPS):
        score = inner @ dual
        wrong = 1 / (1 + np.exp(side * score))
        weight = np.maximum(wrong * (1 - wrong), 1e-6)
        dual = np.linalg.solve(inner + PENALTY * np.diag(1 / weight), score + side * wrong / weight)
    return rows.T @ dual


def wording_residuals(traits: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What distinguishes system prompts of one pole, of all poles of some traits."""
    return np.concatenate([pole.mean(0) - pole.mean((0, 1)) for trait in traits for pole in trait])


def whitened_by_others(others: list[tuple[np.ndarray, np.ndarray]]):
    """Against what distinguishes the other traits' system prompts: `directions --method whitened` (lib/directions/whitening.ts)."""
    residuals = wording_residuals(others)
    inner = residuals @ residuals.T
    inverse = np.linalg.inv(inner + SHRINK * np.trace(inner) * np.eye(len(inner)))

    def estimate(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
        difference = mean_difference(positive, negative)
        return difference - residuals.T @ (inverse @ (residuals @ difference))

    return estimate


ESTIMATORS = {
    "mean difference": mean_difference,
    "mean of unit differences per question": sign_of_questions,
    "principal direction of paired differences": principal,
    "whitened by wording": whitened_by_wording,
    "whitened within question": whitened_within_question,
    "logistic regression of the wordings' means": logistic,
}
BY_OTHERS = "whitened by the other traits' wordings"


def held_out(estimate, positive: np.ndarray, negative: np.ndarray, paired: bool = False) -> float:
    """AUROC within a question over all choices of what is left out.

    Where wordings come in pairs of one form, both pairs are left out: without i of one pole and j of the other a direction would hold form j less
    form i, and be the worse for it.
    """
    questions, wordings = positive.shape[:2]
    parts = np.array_split(np.arange(questions), min(FOLDS, questions))
    right = []
    for i in range(wordings):
        for j in range(wordings):
            for out in parts:
                kept = np.setdiff1d(np.arange(questions), out)
                above, below = ([i, j], [i, j]) if paired else (i, j)
                direction = estimate(np.delete(positive[kept], above, 1), np.delete(negative[kept], below, 1))
                right.append(((positive[out, i] - negative[out, j]) @ direction > 0).mean())
    return float(np.mean(right))


def curve(positive: np.ndarray, negative: np.ndarray) -> list[float]:
    """The same of 1, 2, ... wordings a pole, drawn at random; questions are not left out, they make no difference."""
    draw = random.Random(1)
    wordings = positive.shape[1]
    a, b = positive.mean(0), negative.mean(0)
    values = []
    for k in range(1, wordings):
        right = []
        for _ in range(DRAWS):
            i, j = draw.randrange(wordings), draw.randrange(wordings)
            some = lambda out: draw.sample([w for w in range(wordings) if w != out], k)  # noqa: E731
            direction = a[some(i)].mean(0) - b[some(j)].mean(0)
            right.append(((positive[:, i] - negative[:, j]) @ direction > 0).mean())
        values.append(float(np.mean(right)))
    return values


def made_by(kind: str, poles: list[tuple[np.ndarray, np.ndarray]], trait: int):
    """The estimator of that name for a trait."""
    return ESTIMATORS[kind] if kind in ESTIMATORS else whitened_by_others(poles[:trait] + poles[trait + 1 :])


def main() -> None:
    stem, name = sys.argv[1:3]
    about = json.loads(Path(f"{stem}.json").read_text())
    shape = (len(about["traits"]), 2, about["questions"], -1, len(about["layers"]), about["nEmbd"])
    states = np.fromfile(f"{stem}.f32", dtype=np.float32).reshape(shape).astype(np.float64)
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    # Estimators that were tried on these states before are kept.
    before = known[name]["layers"] if name in known and known[name]["about"] == about else {}
    found = {"about": about, "wordings": states.shape[3], "layers": {}}
    for l, layer in enumerate(about["layers"]):
        poles = [(states[t, 0, :, :, l], states[t, 1, :, :, l]) for t in range(len(about["traits"]))]
        auroc = dict(before.get(str(layer), {}).get("auroc", {}))
        for kind in [*ESTIMATORS, BY_OTHERS]:
            if kind not in auroc:
                auroc[kind] = [round(held_out(made_by(kind, poles, t), *pole), 3) for t, pole in enumerate(poles)]
        curves = np.mean([curve(*pole) for pole in poles], axis=0)
        found["layers"][layer] = {**before.get(str(layer), {}), "auroc": auroc, "curve": [round(float(value), 3) for value in curves]}
        print(layer, json.dumps(found["layers"][layer]), flush=True)
    write_json(FILE, {**known, name: found})


if __name__ == "__main__":
    main()
