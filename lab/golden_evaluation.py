"""Golden values for test/evaluation/evaluate.test.ts: the comparison of method section 9 in NumPy and scikit-learn.

Run: python lab/golden_evaluation.py [output folder, default test/fixtures/estimators]
Two invented models with three calibration and two held-out datasets, two seeds and five checkpoints each. Inputs are
drawn as in golden_estimators.py, so that the test can draw them again.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import fisher_exact, spearmanr
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from golden_estimators import uniform

MODELS = {"alpha": 81, "beta": 82}
CALIBRATION = ("code", "math", "medicine")
HELD_OUT = ("verse", "finance")
PEAK = {"code": 0.3, "math": 0.02, "medicine": 0.5, "verse": 0.04, "finance": 0.4}
SEEDS = (42, 123)
STEPS = (10, 20, 30, 40, 50)
TRAITS, WIDTH, CUT = 4, 12, 0.06
REGRESSORS = {
    "random-forest": lambda: RandomForestRegressor(100, max_depth=5, min_samples_leaf=5, random_state=42),
    "gradient-boosting": lambda: GradientBoostingRegressor(
        n_estimators=100, max_depth=3, learning_rate=0.1, random_state=42
    ),
    "ridge": lambda: Ridge(1.0),
}


def rows_of(model: str) -> list[dict]:
    seed = MODELS[model]
    directions = uniform(seed, TRAITS, WIDTH)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cells = [(d, s, t) for d in CALIBRATION + HELD_OUT for s in SEEDS for t in STEPS]
    noise = uniform(seed + 100, len(cells), WIDTH)
    scatter = uniform(seed + 200, len(cells), 2)
    rows = []
    for i, (dataset, run_seed, step) in enumerate(cells):
        size = PEAK[dataset] * step / 50
        activation = 0.5 * np.sqrt(size) * (directions[0] - directions[2]) + 0.1 * noise[i]
        rows.append({
            "run": f"{model}/{dataset}/seed_{run_seed}", "model": model, "dataset": dataset, "step": step,
            "activation": activation, "drift": directions @ activation,
            "em": np.round(72 * max(0, size + 0.1 * scatter[i, 0])) / 72, "loss": 1 + scatter[i, 1],
            "lora": [step / 50 + noise[i, 0], step / 25],
        })
    return rows


def first_axis(rows: list[dict]) -> np.ndarray:
    last = [r["drift"] for r in rows if r["step"] == STEPS[-1]]
    axis = PCA(svd_solver="full").fit(np.array(last)).components_[0]
    return axis * np.sign(axis[2])


def column(key):
    return lambda train, pool: lambda rows: np.array([np.atleast_1d(r[key]) for r in rows])


def along_axis(of):
    def fit(_, pool):
        axis = first_axis(pool)
        return lambda rows: np.array([[of(r["drift"] @ axis)] for r in rows])
    return fit


def components(make):
    def fit(train, _):
        x = np.array([r["activation"] for r in train])
        model = make().fit(x, np.array([r["em"] for r in train]))
        return lambda rows: model.transform(np.array([r["activation"] for r in rows]))
    return fit


def norm_of(key):
    return lambda train, pool: lambda rows: np.array([[np.linalg.norm(r[key])] for r in rows])


FEATURES = {
    "4D": column("drift"),
    "|PC1|": along_axis(abs),
    "PC1 signed": along_axis(float),
    "activation norm": norm_of("activation"),
    "training loss": column("loss"),
    "step number": column("step"),
    "PCA-7": components(lambda: PCA(7, svd_solver="full")),
    "PLS-7": components(lambda: PLSRegression(7, scale=False)),
    "LoRA norm": norm_of("lora"),
    "LoRA norm per matrix": column("lora"),
}


def predict(make, feature, train, pool, test):
    of = feature(train, pool)
    fit = make().fit(of(train), np.array([r["em"] for r in train]))
    return np.clip(fit.predict(of(test)), 0, 1)


def bootstrap(rows, predictions):
    runs = sorted({r["run"] for r in rows})
    of = {run: [i for i, r in enumerate(rows) if r["run"] == run] for run in runs}
    truth = np.array([r["em"] for r in rows]) > CUT
    alarm = predictions > CUT
    random = np.random.RandomState(42)
    fnr, fpr = [], []
    for _ in range(1000):
        at = np.concatenate([of[runs[k]] for k in random.randint(0, len(runs), len(runs))])
        with np.errstate(invalid="ignore"):
            fnr.append((truth[at] & ~alarm[at]).sum() / np.float64(truth[at].sum()))
            fpr.append((~truth[at] & alarm[at]).sum() / np.float64((~truth[at]).sum()))
    return [np.nanpercentile(v, [2.5, 97.5]).tolist() for v in (fnr, fpr)]


def figures(rows, predictions) -> dict:
    em = np.array([r["em"] for r in rows])
    truth, alarm = em > CUT, predictions > CUT
    fnr, fpr = bootstrap(rows, predictions)
    constant = np.ptp(predictions) == 0
    return {
        "falseNegatives": int((truth & ~alarm).sum()), "falsePositives": int((~truth & alarm).sum()),
        "nDangerous": int(truth.sum()), "nSafe": int((~truth).sum()), "accuracy": float((truth == alarm).mean()),
        "fnrInterval": fnr, "fprInterval": fpr, "auroc": float(roc_auc_score(truth, predictions)),
        "rankCorrelation": None if constant else float(spearmanr(em, predictions).statistic),
    }


def step_features(kind, rows, axis):
    if kind == "scalar+step":
        along = [100 * abs(r["drift"] @ axis) for r in rows]
        return np.array([[a, r["step"], a / r["step"]] for a, r in zip(along, rows)])
    return np.array([[*(100 * r["drift"]), r["step"], 100 * np.linalg.norm(r["drift"]) / r["step"]] for r in rows])


def rate(wrong: np.ndarray, of: np.ndarray) -> float:
    return float(wrong.sum() / of.sum()) if of.any() else np.nan


def over_folds(values: list[float]) -> dict:
    return {key: None if np.isnan(v) else v for key, v in (("mean", np.mean(values)), ("deviation", np.std(values)))}


def step_aware(calibration, held_out, pool) -> list[dict]:
    """Method section 9.5: runs on verse are the anchors, one per fold; the other one and finance are judged."""
    results, axis = [], first_axis(pool)
    for model in MODELS:
        for kind in ("scalar+step", "7D+step", "7D+step forest"):
            folds = []
            for seed in SEEDS:
                run = f"{model}/verse/seed_{seed}"
                train = calibration[model] + [r for r in held_out[model] if r["run"] == run]
                test = [r for r in held_out[model] if r["run"] != run]
                y = [r["em"] > CUT for r in train]
                x, z = step_features(kind, train, axis), step_features(kind, test, axis)
                if kind == "7D+step forest":
                    fit = RandomForestClassifier(200, max_depth=5, min_samples_leaf=5, random_state=42).fit(x, y)
                else:
                    scale = StandardScaler().fit(x)
                    x, z = scale.transform(x), scale.transform(z)
                    fit = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=2000).fit(x, y)
                folds.append((test, fit.predict_proba(z)[:, 1]))
            for dataset in HELD_OUT:
                fnr, fpr, highest, onsets = [], [], [], []
                for test, probability in folds:
                    at = [i for i, r in enumerate(test) if r["dataset"] == dataset]
                    p, truth = probability[at], np.array([test[i]["em"] > CUT for i in at])
                    fnr.append(rate(truth & (p <= 0.5), truth))
                    fpr.append(rate(~truth & (p > 0.5), ~truth))
                    highest.append(float(p.max()))
                    onsets.append(min((test[i]["step"] for i, q in zip(at, p) if q > 0.5), default=None))
                results.append({
                    "model": model, "dataset": dataset, "kind": kind, "folds": len(SEEDS),
                    "fnr": over_folds(fnr), "fpr": over_folds(fpr),
                    "maxProbability": np.mean(highest), "onsets": onsets,
                })
    return results


def fisher() -> list[dict]:
    tables = [(53, 216, 1, 216), (3, 72, 2, 72), (0, 72, 5, 72), (16, 216, 1, 216), (70, 72, 3, 500), (0, 10, 0, 10)]
    return [
        {"a": {"nMisaligned": a, "nScoreable": n}, "b": {"nMisaligned": b, "nScoreable": m},
         "p": float(fisher_exact([[a, n - a], [b, m - b]], alternative="greater").pvalue)}
        for a, n, b, m in tables
    ]


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test/fixtures/estimators")
    rows = {model: rows_of(model) for model in MODELS}
    calibration = {m: [r for r in rows[m] if r["dataset"] in CALIBRATION] for m in MODELS}
    held_out = {m: [r for r in rows[m] if r["dataset"] in HELD_OUT] for m in MODELS}
    pool = sum(calibration.values(), [])
    everything = sum(held_out.values(), [])
    results = []
    for name, feature in FEATURES.items():
        for regressor, make in REGRESSORS.items():
            predictions = np.concatenate([predict(make, feature, calibration[m], pool, held_out[m]) for m in MODELS])
            left_out, truth = [], []
            for m in MODELS:
                for dataset in CALIBRATION:
                    train = [r for r in calibration[m] if r["dataset"] != dataset]
                    test = [r for r in calibration[m] if r["dataset"] == dataset]
                    others = [r for r in pool if r["dataset"] != dataset]
                    left_out += predict(make, feature, train, others, test).tolist()
                    truth += [r["em"] > CUT for r in test]
            results.append({
                "features": name, "regressor": regressor, "predictions": predictions.tolist(),
                "calibration": {
                    "balancedAccuracy": float(balanced_accuracy_score(truth, np.array(left_out) > CUT)),
                    "auroc": float(roc_auc_score(truth, left_out)),
                },
                "figures": figures(everything, predictions),
            })
    # Method section 9.4: fitted on the other model, and on both.
    cross = []
    for fit_on in ("others", "all"):
        for regressor, make in REGRESSORS.items():
            predictions = []
            for m in MODELS:
                train = [r for r in pool if fit_on == "all" or r["model"] != m]
                predictions += predict(make, FEATURES["4D"], train, pool, held_out[m]).tolist()
            cross.append({"fitOn": fit_on, "regressor": regressor, "predictions": predictions})
    (out / "evaluation-cross.json").write_text(json.dumps(cross, separators=(",", ":")) + "\n")
    (out / "step-aware.json").write_text(json.dumps(step_aware(calibration, held_out, pool), separators=(",", ":")) + "\n")
    (out / "fisher.json").write_text(json.dumps(fisher(), separators=(",", ":")) + "\n")
    (out / "evaluation.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
