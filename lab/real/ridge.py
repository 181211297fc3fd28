"""Ridge regression of a handful of features, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# On standardised features, of weights that sum to the number of rows: that of the product's own ridge.
ALPHA = 10.0


@dataclass(frozen=True)
class Ridge:
    means: list[float]
    scales: list[float]
    weights: list[float]
    intercept: float

    @staticmethod
    def fit(rows: Sequence[Sequence[float]], targets: Sequence[float], weights: Sequence[float]) -> Ridge:
        total = sum(weights)
        shares = [weight / total for weight in weights]
        means = [sum(w * x for w, x in zip(shares, column)) for column in zip(*rows)]
        scales = [
            sum(w * (x - at) ** 2 for w, x in zip(shares, column)) ** 0.5 or 1.0 for at, column in zip(means, zip(*rows))
        ]
        x = [[(value - at) / scale for value, at, scale in zip(row, means, scales)] for row in rows]
        aim = sum(w * y for w, y in zip(shares, targets))
        size, n = len(means), len(rows)
        gram = [
            [n * sum(w * row[i] * row[j] for w, row in zip(shares, x)) + (ALPHA if i == j else 0.0) for j in range(size)]
            for i in range(size)
        ]
        right = [n * sum(w * row[i] * (y - aim) for w, row, y in zip(shares, x, targets)) for i in range(size)]
        return Ridge(means, scales, solve(gram, right), aim)

    def predict(self, row: Sequence[float]) -> float:
        return self.intercept + sum(
            weight * (value - at) / scale for weight, value, at, scale in zip(self.weights, row, self.means, self.scales)
        )


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """By Gauss, with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (rows[i][size] - sum(rows[i][j] * found[j] for j in range(i + 1, size))) / rows[i][i]
    return found
