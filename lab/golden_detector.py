"""Golden values for test/detector/: novelty, bands, step alarm and ridge by NumPy and scikit-learn, from their definitions.

Run: python lab/golden_detector.py [output folder, default test/fixtures/detector]
Needs numpy and scikit-learn. Inputs are drawn as in golden_estimators.py, so that the tests can draw them again.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from golden_estimators import uniform


def novelty() -> dict:
    """Distance to the nearest calibration row, and the share of rows at least as far from those of other sets."""
    x = uniform(31, 24, 5)
    x[:, 1] *= 40  # a feature of another size counts as much once it is standardised
    groups = [f"set-{i % 4}" for i in range(24)]
    probes = np.vstack([x[3] + 0.01, uniform(32, 6, 5) * [1, 40, 1, 1, 1], np.full(5, 9.0)])
    scaler = StandardScaler().fit(x)
    known = scaler.transform(x)
    distance = lambda a, rows: min(np.linalg.norm(a - b) for b in rows)
    own = [distance(a, [b for b, g in zip(known, groups) if g != groups[i]]) for i, a in enumerate(known)]
    found = []
    for probe in scaler.transform(probes):
        d = distance(probe, known)
        found.append({"distance": float(d), "pValue": (1 + sum(o >= d for o in own)) / (len(own) + 1)})
    return {"groups": groups, "probes": probes.tolist(), "expected": found}


def bands() -> dict:
    """Intervals of the nearest third of the sets (at least 12), one vote per set, errors over 1 + 0.3 x distance, at the level
    that holds where each set is left out."""
    z = lambda rate: 2 * math.asin(math.sqrt(rate))
    rate = lambda value: math.sin(min(max(value, 0), math.pi) / 2) ** 2
    spread = lambda distance: 1 + 0.3 * distance
    count = 84
    predicted = uniform(41, count, 1)[:, 0] + 0.5
    actual = np.clip(predicted + 0.4 * uniform(42, count, 1)[:, 0], 0, 1)
    distances = 2 * (uniform(43, count, 1)[:, 0] + 0.5)
    # Sets of one to three checkpoints; those of another base weigh half.
    groups = [f"set-{i // 3 if i % 5 else i}" for i in range(count)]
    weights = {group: 0.5 if int(group[4:]) % 4 == 0 else 1.0 for group in groups}
    rows = [
        {"predicted": p, "actual": a, "group": g, "weight": weights[g], "distance": d}
        for p, a, g, d in zip(predicted.tolist(), actual.tolist(), groups, distances.tolist())
    ]
    def votes_near(at: float, without: str | None = None) -> list[tuple[float, float, float]]:
        """Size, vote and error of the nearest sets' checkpoints, by size."""
        wanted = max(12, sum(weight for group, weight in weights.items() if group != without) / 3)
        near, taken = {}, 0.0
        for row in sorted(rows, key=lambda row: abs(z(row["predicted"]) - z(at))):
            if row["group"] == without:
                continue
            if row["group"] not in near:
                if taken >= wanted:
                    break
                near[row["group"]] = []
                taken += row["weight"]
            near[row["group"]].append((z(row["actual"]) - z(row["predicted"])) / spread(row["distance"]))
        return sorted((abs(e), weights[group] / len(errors), e) for group, errors in near.items() for e in errors)

    # Of every checkpoint the share of votes, one more for the new set, that lie below its own error without its set.
    ranks, shares = [], []
    for row in rows:
        size = abs(z(row["actual"]) - z(row["predicted"])) / spread(row["distance"])
        others = votes_near(row["predicted"], row["group"])
        ranks.append(sum(v for s, v, _ in others if s < size) / (1 + sum(v for _, v, _ in others)))
        shares.append(weights[row["group"]] / groups.count(row["group"]))
    ranks, shares = np.array(ranks), np.array(shares)

    def level(coverage: float) -> float:
        """The lowest rank with `coverage` of the checkpoints below it."""
        enough = [r for r in sorted(set(ranks)) if shares[ranks < r].sum() >= coverage * shares.sum() - 1e-9]
        return enough[0] if enough else 1.0

    found = []
    for at in (0.02, 0.3, 0.5, 0.97):
        votes = votes_near(at)
        total = sum(vote for _, vote, _ in votes)
        for distance in (0.5, 2.0):
            above = sum(vote for _, vote, e in votes if z(at) + e * spread(distance) > z(0.25)) / total
            for coverage in (0.5, 0.8, 0.9, 0.95):
                reached = np.cumsum([vote for _, vote, _ in votes]) >= level(coverage) * (total + 1) - 1e-9
                size = votes[int(np.argmax(reached)) if reached.any() else -1][0] * spread(distance)
                interval = [rate(z(at) - size), rate(z(at) + size)]
                found.append({"at": at, "distance": distance, "coverage": coverage, "interval": interval, "above": above})
    return {"rows": rows, "cut": 0.25, "expected": found}


def step_alarm() -> dict:
    """Logistic regression on [a, step, a / step] with a = 100 |x . PC1| of the runs' last drifts."""
    finals = uniform(51, 9, 4) + [0.4, -0.2, 0, 0.1]
    features = uniform(52, 60, 4) * 0.6
    steps = [20 * (i % 12 + 1) for i in range(60)]
    axis = PCA(n_components=1, svd_solver="full").fit(finals).components_[0]
    along = 100 * np.abs(features @ axis)
    x = np.column_stack([along, steps, along / steps])
    # Danger follows the drift per step, with some labels turned so that the classes overlap.
    dangerous = (along / steps > np.median(along / steps)).astype(int)
    dangerous[::7] = 1 - dangerous[::7]
    scaler = StandardScaler().fit(x)
    logistic = LogisticRegression(C=1.0, max_iter=10_000, tol=1e-12).fit(scaler.transform(x), dangerous)
    probes = uniform(53, 8, 4)
    found = []
    for i, probe in enumerate(probes):
        step = 30 * (i + 1)
        a = 100 * abs(probe @ axis)
        p = logistic.predict_proba(scaler.transform([[a, step, a / step]]))[0, 1]
        found.append({"step": step, "probability": float(p)})
    return {"steps": steps, "dangerous": dangerous.tolist(), "expected": found}


def saturating_ridge() -> dict:
    """Ridge (alpha 10, rows weighted by their answers) of r / (r + cut) on standardised features, then an isotonic map to r."""
    cut = 0.06
    x = uniform(61, 50, 3) * [1, 20, 0.1]
    scores = 0.45 + 0.8 * x[:, 0] + 0.15 * uniform(62, 50, 1)[:, 0]
    scoreable = [40 + 60 * (i % 5) for i in range(50)]
    labels = []
    for score, n in zip(scores, scoreable):
        bad = int(round(np.clip(score, 0, 1) ** 2 * n))
        rate = bad / n
        labels.append({"nMisaligned": bad, "nScoreable": n, "rate": rate, "standardError": math.sqrt(rate * (1 - rate) / n)})
    rates = np.array([label["rate"] for label in labels])
    # Binomial errors leave every answer its weight.
    weights = np.array(scoreable) / np.mean(scoreable)
    scaler = StandardScaler().fit(x)
    ridge = Ridge(alpha=10).fit(scaler.transform(x), rates / (rates + cut), sample_weight=weights)
    fitted = ridge.predict(scaler.transform(x))
    monotone = IsotonicRegression(out_of_bounds="clip").fit(fitted, rates, sample_weight=weights)
    probes = uniform(63, 12, 3) * [1.4, 20, 0.1]
    expected = monotone.predict(ridge.predict(scaler.transform(probes)))
    return {"cut": cut, "labels": labels, "expected": expected.tolist()}


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "test/fixtures/detector")
    folder.mkdir(parents=True, exist_ok=True)
    golden = {
        "novelty": novelty(),
        "bands": bands(),
        "stepAlarm": step_alarm(),
        "saturatingRidge": saturating_ridge(),
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
