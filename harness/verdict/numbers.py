"""Pure functions from float arrays to numbers; nan where a number does not exist.

`d` is a vector of paired differences (n,), `a` and `b` are two vectors of values. Formulas: Student's t throughout,
because at n = 3 to 10 a bootstrap interval of a mean covers too little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

NAN = math.nan
EXACT_UP_TO = 16
DRAWS = 100_000
# Differences this small against the values themselves are rounding, not spread.
ROUNDING = 1e-12


def differences(a: Floats, b: Floats, *, sign: int = 1) -> Floats:
    """`sign * (a - b)`, with what is only rounding error set to 0."""
    d = sign * (a - b)
    d[np.abs(d) <= ROUNDING * np.maximum(np.abs(a), np.abs(b))] = 0.0
    return np.asarray(d, dtype=np.float64)


def means_by(x: Floats, groups: Sequence[int]) -> Floats:
    """The mean of the values (n,) of each group, in the order of the groups' numbers."""
    of = np.asarray(groups)
    return np.array([np.mean(x[of == group]) for group in sorted(set(groups))], dtype=np.float64)


@dataclass(frozen=True)
class Estimate:
    """A mean (or a difference of two means) with what a t interval and a t test of it need."""

    mean: float
    sd: float
    """Of the n values (ddof 1); for two groups the root of the mean of both variances."""
    se: float
    df: float

    def interval(self, alpha: float = 0.05) -> tuple[float, float]:
        """The two-sided t interval that misses the true mean with probability `alpha`."""
        if math.isnan(self.se):
            return NAN, NAN
        half = float(stats.t.isf(alpha / 2, self.df)) * self.se
        return self.mean - half, self.mean + half

    def p(self) -> float:
        """Two-sided p of the t test that the true mean is 0; nan without spread."""
        if not self.se > 0:
            return NAN
        return min(1.0, 2 * float(stats.t.sf(abs(self.mean) / self.se, self.df)))

    def p_tost(self, margin: float) -> float:
        """The larger p of the two one-sided tests against -margin and +margin; nan without spread.

        Below alpha / 2 exactly where the interval at 1 - alpha lies inside (-margin, margin).
        """
        if not self.se > 0:
            return NAN
        return float(
            max(
                stats.t.sf((self.mean + margin) / self.se, self.df), stats.t.sf((margin - self.mean) / self.se, self.df)
            )
        )


def mean_of(x: Floats, *, folds: int | None = None) -> Estimate:
    """The mean of n values; with n = 1 it has no spread, with n = 0 it does not exist.

    Args:
        folds: of a cross-validation that the values come from. Training sets of folds overlap, so the variance of the
            mean is sd^2 (1/n + 1/(folds - 1)): Nadeau and Bengio 2003, Machine Learning 52, equation 9, where
            1/(folds - 1) is the ratio of tested to trained examples.
    """
    n = len(x)
    if n == 0:
        return Estimate(NAN, NAN, NAN, NAN)
    mean = float(np.mean(x))
    if n == 1:
        return Estimate(mean, NAN, NAN, NAN)
    sd = _sd(x)
    return Estimate(mean, sd, standard_error(sd, n, folds), n - 1)


def standard_error(sd: float, n: int, folds: int | None) -> float:
    """Of the mean of n values with that sd; larger where the values come from folds."""
    return sd / math.sqrt(n) if folds is None else sd * math.sqrt(1 / n + 1 / (folds - 1))


def welch(a: Floats, b: Floats) -> Estimate:
    """The difference of the means of two independent groups (Welch 1947, degrees of freedom by Satterthwaite)."""
    if min(len(a), len(b)) == 0:
        return Estimate(NAN, NAN, NAN, NAN)
    mean = float(np.mean(a) - np.mean(b))
    if min(len(a), len(b)) == 1:
        return Estimate(mean, NAN, NAN, NAN)
    va, vb = _sd(a) ** 2, _sd(b) ** 2
    pa, pb = va / len(a), vb / len(b)
    if pa + pb == 0:
        return Estimate(mean, 0.0, 0.0, len(a) + len(b) - 2)
    df = (pa + pb) ** 2 / (pa**2 / (len(a) - 1) + pb**2 / (len(b) - 1))
    return Estimate(mean, math.sqrt((va + vb) / 2), math.sqrt(pa + pb), df)


def _sd(x: Floats) -> float:
    sd = float(np.std(x, ddof=1))
    return 0.0 if sd <= ROUNDING * float(np.max(np.abs(x))) else sd


def sign_flip_floor(n: int) -> float:
    """The smallest p that n paired differences can reach by flipping signs."""
    return 2.0 ** (1 - n) if n > 0 else 1.0


def sign_flip(d: Floats, *, seed: int) -> float:
    """Two-sided p of the mean by flipping signs: exact to n = 16, above it with 100,000 draws seeded by `seed`."""
    n = len(d)
    if n == 0:
        return NAN
    seen = abs(float(np.sum(d))) - ROUNDING * float(np.sum(np.abs(d)))
    if n <= EXACT_UP_TO:
        # A pattern and its opposite give the same size, so the first sign stays.
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1)) & 1
        sums = d[0] + (1 - 2 * bits) @ d[1:]
        return float(np.mean(np.abs(sums) >= seen))
    generator, hits = np.random.default_rng(seed), 0
    for _ in range(10):
        signs = generator.integers(0, 2, size=(DRAWS // 10, n), dtype=np.int8) * 2.0 - 1
        hits += int(np.count_nonzero(np.abs(signs @ d) >= seen))
    return (1 + hits) / (1 + DRAWS)


@dataclass(frozen=True)
class Wins:
    """How many of the replicates that are no ties were won, and the exact 95 % interval of that share."""

    k: int
    n: int
    lo: float
    hi: float


def wins(d: Floats) -> Wins:
    """Wins among the differences that are not 0 (Clopper and Pearson 1934); [0, 1] when all are ties."""
    k, n = int(np.count_nonzero(d > 0)), int(np.count_nonzero(d))
    if n == 0:
        return Wins(0, 0, 0.0, 1.0)
    interval = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    return Wins(k, n, float(interval.low), float(interval.high))


def wilson(k: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of k in n (Wilson 1927); [0, 1] when n = 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(k, n).proportion_ci(level, "wilson")
    return float(interval.low), float(interval.high)


def p_superior(a: Floats, b: Floats) -> float:
    """Share of all pairs of one run of each in which a is above b, ties half. A number only: it has no interval."""
    if min(len(a), len(b)) == 0:
        return NAN
    d = differences(a[:, None], b[None, :])
    return float(np.mean((d > 0) + 0.5 * (d == 0)))


def holm(p: Floats) -> Floats:
    """Adjusted p in the order given (Holm 1979); a missing one counts as 1, so the family keeps its size."""
    filled = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(filled, kind="stable")
    steps = filled[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return np.asarray(np.where(np.isnan(p), NAN, adjusted), dtype=np.float64)
