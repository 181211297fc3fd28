"""Golden values for test/estimators: scikit-learn and NumPy's own answers.

Run: python lab/golden_estimators.py [output folder, default test/fixtures/estimators]
Needs numpy and scikit-learn. Inputs are drawn from NumPy's legacy generator so that the tests can draw them again
instead of storing them: case (seed, rows, cols) is RandomState(seed).rand(rows, cols) - 0.5, row-major.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler


def uniform(seed: int, rows: int, cols: int) -> np.ndarray:
    return np.random.RandomState(seed).rand(rows, cols) - 0.5


def mt19937() -> list[dict]:
    cases = []
    for seed in (0, 42, 123456789, 2**32 - 1):
        cases.append({
            "seed": seed,
            "rand": np.random.RandomState(seed).rand(700)[[0, 1, 2, 311, 312, 699]].tolist(),
            "randn": np.random.RandomState(seed).randn(7).tolist(),
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


def noisy_rate(x: np.ndarray, seed: int, quantum: int | None) -> np.ndarray:
    """A target like an EM rate: zero for half of the rows, rising with two columns, rounded to 1 / quantum."""
    noise = np.random.RandomState(seed + 100).rand(len(x))
    y = np.maximum(0, x[:, 0] + 0.5 * x[:, -1] + 0.3 * noise - 0.1)
    return y if quantum is None else np.round(y * quantum) / quantum


TREE_CASES = (
    # name, seed, rows, cols, quantum of the target, columns that are constant, hyperparameters
    ("calibration", 21, 624, 7, 72, [], {}),
    ("one model", 22, 156, 7, 72, [], {}),
    ("one column", 23, 156, 1, None, [], {}),
    ("constant columns", 24, 90, 6, 20, [1, 4], {}),
    ("few rows", 25, 12, 3, None, [], {}),
    ("wide", 26, 60, 84, None, [], {}),
    ("deep", 27, 150, 5, None, [], {"max_depth": 12, "min_samples_leaf": 1, "n_estimators": 30}),
)


def tree_data(seed: int, rows: int, cols: int, quantum: int | None, constant: list[int]):
    x = uniform(seed, rows, cols)
    x[:, constant] = 0.25
    return x, noisy_rate(x, seed, quantum)


def trees(make, label) -> list[dict]:
    cases = []
    for name, seed, rows, cols, quantum, constant, options in TREE_CASES:
        x, y = tree_data(seed, rows, cols, quantum, constant)
        y = label(y)
        cases.append({
            "name": name, "seed": seed, "rows": rows, "cols": cols, "constant": constant, "options": options,
            "y": y.tolist(),
            "predictions": make(x, y, options, uniform(seed + 1000, 40, cols)).tolist(),
        })
    return cases


def forest() -> list[dict]:
    def make(x, y, options, fresh):
        options = {"n_estimators": 100, "max_depth": 5, "min_samples_leaf": 5, "random_state": 42} | options
        return RandomForestRegressor(**options).fit(x, y).predict(fresh)

    return trees(make, lambda y: y)


def boosting() -> list[dict]:
    def make(x, y, options, fresh):
        options = {"n_estimators": 100, "max_depth": 3, "learning_rate": 0.1, "random_state": 42} | options
        return GradientBoostingRegressor(**options).fit(x, y).predict(fresh)

    return trees(make, lambda y: y)


def forest_classifier() -> list[dict]:
    def make(x, y, options, fresh):
        options = {"n_estimators": 200, "max_depth": 5, "min_samples_leaf": 5, "random_state": 42} | options
        return RandomForestClassifier(**options).fit(x, y).predict_proba(fresh)[:, 1]

    return trees(make, lambda y: (y > np.median(y)).astype(int))


def ridge() -> list[dict]:
    cases = []
    for seed, rows, cols, alpha, weighted in (
        (31, 156, 7, 1.0, False), (32, 30, 256, 1.0, False), (33, 40, 40, 0.1, True), (34, 12, 1, 5.0, True),
    ):
        x = uniform(seed, rows, cols)
        y = noisy_rate(x, seed, 72)
        weights = np.round(np.random.RandomState(seed + 200).rand(rows) * 8) / 4 if weighted else None
        fit = Ridge(alpha=alpha).fit(x, y, sample_weight=weights)
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "alpha": alpha, "y": y.tolist(),
            "sampleWeights": None if weights is None else weights.tolist(),
            "weights": fit.coef_.tolist(), "intercept": float(fit.intercept_),
            "predictions": fit.predict(uniform(seed + 1000, 10, cols)).tolist(),
        })
    return cases


def standardizer() -> list[dict]:
    cases = []
    for seed, rows, cols, scale, offset in ((41, 156, 3, 100.0, 5.0), (42, 5, 4, 1e-3, 1.0), (43, 9, 2, 0.0, 0.1)):
        x = uniform(seed, rows, cols) * scale + offset
        fit = StandardScaler().fit(x)
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "scale": scale, "offset": offset,
            "mean": fit.mean_.tolist(), "scales": fit.scale_.tolist(), "transformed": fit.transform(x[:2]).tolist(),
        })
    return cases


def isotonic() -> list[dict]:
    cases = []
    for seed, rows, quantum, weighted in ((51, 60, None, False), (52, 80, 10, True), (53, 1, None, False), (54, 40, 1, False)):
        draw = np.random.RandomState(seed).rand(rows, 2) - 0.5
        x = draw[:, 0] if quantum is None else np.round(draw[:, 0] * quantum) / quantum
        y = np.round((draw[:, 0] + draw[:, 1]) * 72) / 72
        weights = np.random.RandomState(seed + 200).randint(0, 4, rows).astype(float) if weighted else None
        fit = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=weights)
        fresh = np.linspace(-0.7, 0.7, 29)
        cases.append({
            "x": x.tolist(), "y": y.tolist(), "sampleWeights": None if weights is None else weights.tolist(),
            "knots": fit.X_thresholds_.tolist(), "values": fit.y_thresholds_.tolist(),
            "fresh": fresh.tolist(), "predictions": fit.predict(fresh).tolist(),
        })
    return cases


def pls() -> list[dict]:
    cases = []
    for seed, rows, cols, kept in ((61, 156, 64, 7), (62, 40, 300, 7), (63, 30, 4, 4), (64, 20, 3, 1)):
        x = uniform(seed, rows, cols) * np.geomspace(1.0, 0.2, cols)
        y = noisy_rate(x, seed, 72)
        fit = PLSRegression(n_components=kept, scale=False).fit(x, y)
        fresh = uniform(seed + 1000, 10, cols)
        cases.append({
            "seed": seed, "rows": rows, "cols": cols, "kept": kept, "scale": np.geomspace(1.0, 0.2, cols).tolist(),
            "y": y.tolist(), "scores": fit.transform(fresh).tolist(), "predictions": fit.predict(fresh).ravel().tolist(),
        })
    return cases


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test/fixtures/estimators")
    out.mkdir(parents=True, exist_ok=True)
    for name, make in {
        "mt19937": mt19937,
        "folds": folds,
        "pca": pca,
        "logistic": logistic,
        "forest": forest,
        "boosting": boosting,
        "forest-classifier": forest_classifier,
        "ridge": ridge,
        "standardizer": standardizer,
        "isotonic": isotonic,
        "pls": pls,
    }.items():
        (out / f"{name}.json").write_text(json.dumps(make(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
