"""Golden values for test/directions/held-out.test.ts: every direction is made again with NumPy and tested by scikit-learn.

Run: python lab/golden_directions.py [output folder, default test/fixtures/directions]
Needs numpy and scikit-learn. Inputs are drawn as in golden_estimators.py, so that the test can draw them again.
"""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from golden_estimators import uniform

DRAWS = 200
# name: seed, questions, positive and negative system prompts, width, shift of the positive pole
CASES = {
    "pools of one size": (11, 6, 5, 5, 12, 0.35),
    "unequal pools": (12, 5, 6, 4, 9, 0.2),
    "no shift": (13, 6, 4, 4, 40, 0.0),
    "wide states": (14, 4, 4, 5, 64, 0.5),
}


def states(seed, questions, positive, negative, width, shift):
    """States of both poles, [questions, prompts, width]: each question and each prompt has an offset of its own."""
    x = uniform(seed, questions * (positive + negative), width)
    pos = x[: questions * positive].reshape(questions, positive, width)
    neg = x[questions * positive :].reshape(questions, negative, width)
    by_question = 3 * uniform(seed + 100, questions, width)
    by_prompt = uniform(seed + 200, positive + negative, width)
    pos = pos + by_question[:, None] + by_prompt[None, :positive]
    neg = neg + by_question[:, None] + by_prompt[None, positive:]
    pos[..., 0] += shift
    return pos, neg


def auroc(pos_scores, neg_scores) -> float:
    labels = np.r_[np.ones(len(pos_scores)), np.zeros(len(neg_scores))]
    return roc_auc_score(labels, np.r_[pos_scores, neg_scores])


def unit(pos, neg):
    width = pos.shape[-1]
    d = pos.reshape(-1, width).mean(0) - neg.reshape(-1, width).mean(0)
    return d / np.linalg.norm(d)


def held_out(pos, neg, kind, qs, ps, ns) -> float:
    """Mean AUROC within a question; `qs`, `ps`, `ns` are the questions and system prompts drawn, with repeats."""
    found = []
    without = lambda drawn, k: [i for i in drawn if i != k]
    for q in qs:
        train_q = qs if kind == "systemPrompt" else without(qs, q)
        if kind == "question":
            # One direction serves all pairs of a question.
            d = unit(pos[np.ix_(train_q, ps)], neg[np.ix_(train_q, ns)])
            found.append(auroc(pos[q, ps] @ d, neg[q, ns] @ d))
            continue
        for i, j in product(ps, ns):
            d = unit(pos[np.ix_(train_q, without(ps, i))], neg[np.ix_(train_q, without(ns, j))])
            # The AUROC of one pair; scikit-learn says the same, slowly.
            found.append(np.heaviside(pos[q, i] @ d - neg[q, j] @ d, 0.5))
    return float(np.mean(found))


def estimate(pos, neg, kind):
    random = np.random.RandomState(42)

    def draw(n, again):
        while again:
            drawn = list(random.randint(n, size=n))
            if len(set(drawn)) > 1:
                return drawn
        return list(range(n))

    sizes = pos.shape[0], pos.shape[1], neg.shape[1]
    again = kind != "systemPrompt", kind != "question", kind != "question"
    value = held_out(pos, neg, kind, *[draw(n, False) for n in sizes])
    draws = [held_out(pos, neg, kind, *[draw(n, a) for n, a in zip(sizes, again)]) for _ in range(DRAWS)]
    reach = 1.96 * np.std(draws, ddof=1)
    return {"auroc": value, "interval": [max(0.0, value - reach), min(1.0, value + reach)]}


def case(seed, questions, positive, negative, width, shift):
    pos, neg = states(seed, questions, positive, negative, width, shift)
    grid = {"questions": questions, "positive": positive, "negative": negative}
    expected = {kind: estimate(pos, neg, kind) for kind in ("question", "systemPrompt", "both")}
    return {"seed": seed, "grid": grid, "width": width, "shift": shift, "expected": expected}


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "test/fixtures/directions")
    folder.mkdir(parents=True, exist_ok=True)
    golden = {name: case(*parts) for name, parts in CASES.items()}
    (folder / "held-out.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
