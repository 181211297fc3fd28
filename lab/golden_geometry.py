"""Golden values for test/geometry/geometry.test.ts: NumPy's own answers to method section 8.

Run: python lab/golden_geometry.py [output folder, default test/fixtures/estimators]
Needs numpy and scikit-learn. Inputs are drawn as in golden_estimators.py, so that the test can draw them again.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from golden_estimators import uniform

DATASETS = ("code", "math", "medicine", "verse")
MODELS = {"alpha": (71, 24), "beta": (72, 40)}
TRAITS = 4
UPWARDS = 2
DRAWS = 40_000


def model_data(seed: int, width: int):
    """Overlapping unit directions and 12 activation drifts, larger for later datasets."""
    d = uniform(seed, TRAITS, width)
    d[1] += 0.8 * d[0]
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    size = np.repeat([0.05, 0.1, 0.2, 0.4], 3)[:, None]
    a = size * (d[0] - d[2]) + 0.1 * uniform(seed + 100, 12, width)
    x = a @ d.T + 0.001 * uniform(seed + 200, 12, TRAITS)
    return d, a, x


def axes(x: np.ndarray):
    fit = PCA(svd_solver="full").fit(x)
    sign = np.where(fit.components_[:, UPWARDS] < 0, -1, 1)
    return fit.explained_variance_ratio_, fit.components_ * sign[:, None]


def share(x: np.ndarray) -> float:
    s = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2
    return float(s[0] / s.sum())


def null_p95(bases: list[np.ndarray], lengths: np.ndarray, native: bool) -> float:
    rng = np.random.default_rng(42)
    shares = []
    for _ in range(DRAWS if not native else DRAWS // 4):
        rows = []
        for d, length in zip(bases, lengths):
            g = rng.standard_normal(d.shape[1])
            g *= length / np.linalg.norm(g)
            rows.append(g if native else d @ g)
        shares.append(share(np.array(rows)))
    return float(np.quantile(shares, 0.95))


def inverse_root(d: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(d @ d.T)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def leave_out(x: np.ndarray, groups: np.ndarray, axis: np.ndarray) -> list[dict]:
    out = []
    for group in DATASETS:
        shares, components = axes(x[groups != group])
        sign = np.sign(components[0] @ axis)
        out.append({"group": group, "share": shares[0], "axis": (sign * components[0]).tolist(),
                    "cosine": float(abs(components[0] @ axis))})
    return out


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test/fixtures/estimators")
    groups = np.repeat(DATASETS, 3)
    models, drifts, bases, lengths, whitened = [], [], [], [], []
    for name, (seed, width) in MODELS.items():
        d, a, x = model_data(seed, width)
        shares, components = axes(x)
        native_shares, native_components = axes(a)
        length = np.linalg.norm(a, axis=1)
        carried = components[0] @ d
        eigenvalues = np.linalg.eigvalsh(d @ d.T)
        models.append({
            "model": name, "seed": seed, "width": width,
            "shares": shares.tolist(), "axis": components[0].tolist(), "leftOut": leave_out(x, groups, components[0]),
            "whitenedShare": share(x @ inverse_root(d)),
            "nullP95": null_p95([d] * 12, length, native=False),
            "native": {
                "shares": native_shares[:5].tolist(),
                "nullP95": null_p95([d] * 12, length, native=True),
                "cosineWithTraitAxis": float(abs(native_components[0] @ carried) / np.linalg.norm(carried)),
                "gramCondition": float(eigenvalues[-1] / eigenvalues[0]),
                "traitCosines": (d @ d.T).tolist(),
                "mismatch": float(np.linalg.norm(a @ d.T - x) / np.linalg.norm(x)),
            },
        })
        drifts.append(x)
        bases += [d] * 12
        lengths.append(length)
        whitened.append(x @ inverse_root(d))
    pooled = np.concatenate(drifts)
    shares, components = axes(pooled)
    golden = {
        "models": models,
        "pooled": {
            "shares": shares.tolist(), "axis": components[0].tolist(),
            "leftOut": leave_out(pooled, np.tile(groups, 2), components[0]),
            "whitenedShare": share(np.concatenate(whitened)),
            "nullP95": null_p95(bases, np.concatenate(lengths), native=False),
        },
    }
    (out / "geometry.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
