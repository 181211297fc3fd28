"""Golden values for test/estimators: scikit-learn and NumPy's own answers.

Run: python lab/golden_estimators.py [output folder, default test/fixtures/estimators]
Needs numpy and scikit-learn. Inputs are drawn from NumPy's legacy generator so that the tests can draw them again
instead of storing them: case (seed, rows, cols) is RandomState(seed).rand(rows, cols) - 0.5, row-major.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold


def uniform(seed: int, rows: int, cols: int) -> np.ndarray:
    return np.random.RandomState(seed).rand(rows, cols) - 0.5


def mt19937() -> list[dict]:
    cases = []
    for seed in (0, 42, 123456789, 2**32 - 1):
        cases.append({
            "seed": seed,
            "rand": np.random.RandomState(seed).rand(700)[[0, 1, 2, 311, 312, 699]].tolist(),
            "permutation10": np.random.RandomState(seed).permutation(10).tolist(),
            "permutation300": np.random.RandomState(seed).permutation(300).tolist(),
            "randint": {
                str(n): np.random.RandomState(seed).randint(0, n, 8).tolist()
                for n in (1, 2, 7, 156, 1000, 2**31 - 1)
            },
        })
    return cases


def folds() -> list[dict]:
    cases = []
    for name, y in {
        "halves": [0] * 150 + [1] * 150,
        "ones first": [1] * 20 + [0] * 23,
        "mixed": [1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1],
        "three classes": [2] * 7 + [0] * 9 + [1] * 11 + [2] * 4,
    }.items():
        split = StratifiedKFold(5, shuffle=True, random_state=42).split(np.zeros(len(y)), y)
        cases.append({"name": name, "labels": y, "test": [test.tolist() for _, test in split]})
    return cases


def pca() -> list[dict]:
    cases = []
    for seed, rows, cols, kept in ((1, 48, 7, 7), (2, 12, 64, 11), (3, 40, 40, 5), (4, 30, 300, 4), (5, 7, 2, 2)):
        x = uniform(seed, rows, cols) * np.geomspace(3.0, 0.2, cols)
        fit = PCA(n_components=kept, svd_solver="full").fit(x)
        few = min(kept, 3)
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "kept": kept,
            "scale": np.geomspace(3.0, 0.2, cols).tolist(),
            "mean": fit.mean_.tolist(),
            "components": fit.components_[:few].tolist(),
            "singularValues": fit.singular_values_.tolist(),
            "explainedVariance": fit.explained_variance_.tolist(),
            "explainedVarianceRatio": fit.explained_variance_ratio_.tolist(),
            "transformed": fit.transform(x[:3])[:, :few].tolist(),
        })
    return cases


def logistic() -> list[dict]:
    cases = []
    for seed, rows, cols, c, scale in (
        (11, 200, 7, 1.0, 1.0),
        (12, 30, 80, 1.0, 4.0),
        (13, 40, 5, 0.1, 20.0),
        (14, 60, 60, 10.0, 1.0),
        (15, 24, 200, 1.0, 30.0),
    ):
        x = uniform(seed, rows, cols) * scale
        y = (x[:, 0] + 0.7 * x[:, 1] + scale * (np.random.RandomState(seed + 100).rand(rows) - 0.4) > 0).astype(int)
        fit = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
        # lbfgs is what the protocol names: it must agree with the Newton solver before either is called golden.
        lbfgs = LogisticRegression(C=c, solver="lbfgs", tol=1e-12, max_iter=100000).fit(x, y)
        assert np.abs(fit.coef_ - lbfgs.coef_).max() < 1e-5 * np.abs(fit.coef_).max(), (seed, fit.coef_, lbfgs.coef_)
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "c": c, "scale": scale, "labels": y.tolist(),
            "weights": fit.coef_[0].tolist(), "intercept": float(fit.intercept_[0]),
            "probability": fit.predict_proba(x[:8])[:, 1].tolist(),
        })
    return cases


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test/fixtures/estimators")
    out.mkdir(parents=True, exist_ok=True)
    for name, make in {"mt19937": mt19937, "folds": folds, "pca": pca, "logistic": logistic}.items():
        (out / f"{name}.json").write_text(json.dumps(make(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
