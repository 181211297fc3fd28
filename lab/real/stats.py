"""The statistics of claims.md, in plain Python: the page is made without an environment."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


FLIPPED_ONE_BY_ONE, GRID = 16, 1 << 22


def sign_flip(values: Sequence[float]) -> float:
    """Share of all flips of signs whose mean is at least as large, one-sided: of more than 16 values on a grid of a four millionth of their sizes' sum."""
    if len(values) <= FLIPPED_ONE_BY_ONE:
        seen = sum(values) - 1e-12
        flips = itertools.product((1, -1), repeat=len(values))
        return sum(sum(sign * value for sign, value in zip(flip, values)) >= seen for flip in flips) / 2 ** len(values)
    unit = sum(map(abs, values)) / GRID or 1.0
    sizes = [round(abs(value) / unit) for value in values]
    # Digit s of this number: how many choices of the values with a plus have the sum s.
    digit, counts = len(values) + 1, 1
    for size in sizes:
        counts += counts << digit * size
    seen_plus = sum(size for size, value in zip(sizes, values) if value > 0)
    # The remainder by base - 1 is the sum of the digits.
    return (counts >> digit * seen_plus) % ((1 << digit) - 1) / 2 ** len(values)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of pairs in which the positive one is larger; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in positive for b in negative)
    return wins / (len(positive) * len(negative))


def either_way(value: float) -> float:
    """Of an AUROC whose direction nobody named."""
    return max(value, 1 - value)


def ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for at in order[start:end]:
            found[at] = (start + 1 + end) / 2
        start = end
    return found


def correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's; None where one of them does not vary."""
    at, bt = mean(a), mean(b)
    both = sum((x - at) * (y - bt) for x, y in zip(a, b))
    own = sum((x - at) ** 2 for x in a) * sum((y - bt) ** 2 for y in b)
    return both / own**0.5 if own > 0 else None


def partial_rank_correlation(a: Sequence[float], b: Sequence[float], out: Sequence[float]) -> float | None:
    """Of the ranks of `a` and `b`, those of `out` partialled out of both; None where nothing is left that varies."""
    ra, rb, ro = ranks(a), ranks(b), ranks(out)
    ab, ao, bo = correlation(ra, rb), correlation(ra, ro), correlation(rb, ro)
    if ab is None:
        return None
    # Where `out` does not vary, there is nothing to take out.
    ao, bo = ao or 0.0, bo or 0.0
    left = (1 - ao * ao) * (1 - bo * bo)
    return (ab - ao * bo) / left**0.5 if left > 1e-12 else None


def resampled(
    clusters: dict[Hashable, list[Item]], figure: Callable[[list[Item]], float | None], draws: int = 10_000, seed: int = 1
) -> tuple[tuple[float, float] | None, int]:
    """2.5 and 97.5 % quantiles of a figure over draws of clusters with replacement, and how many draws gave none."""
    draw = random.Random(seed)
    names = sorted(clusters, key=str)
    known: dict[tuple, float | None] = {}
    found = []
    for _ in range(draws):
        # The same clusters in another order are the same figure.
        names_drawn = tuple(sorted(draw.choices(names, k=len(names)), key=str))
        if names_drawn not in known:
            known[names_drawn] = figure([item for name in names_drawn for item in clusters[name]])
        found.append(known[names_drawn])
    given = sorted(value for value in found if value is not None)
    if not given:
        return None, draws
    return (quantile(given, 0.025), quantile(given, 0.975)), draws - len(given)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ascending values, interpolated between neighbours."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
