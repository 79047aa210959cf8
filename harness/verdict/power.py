"""What n replicates can find, and how many a margin needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from scipy import stats
from scipy.optimize import brentq

POWER = 0.8
# Above this n the t distributions are normal to four digits.
LARGE_N = 2000


def detectable(sd: float, n: int, *, alpha: float = 0.05, paired: bool = True, folds: int | None = None) -> float:
    """The true difference that a two-sided t test at `alpha` finds in 4 of 5 cases; nan below n = 2.

    Args:
        sd: of the n paired differences; unpaired, of the values within a group of n.
        folds: of the cross-validation that paired differences come from.
    """
    if n < 2 or math.isnan(sd):
        return math.nan
    factor = (1 if paired else 2) / n + (0.0 if folds is None else 1 / (folds - 1))
    return _noncentrality(n - 1 if paired else 2 * n - 2, alpha) * sd * math.sqrt(factor)


@lru_cache(maxsize=4096)
def _noncentrality(df: int, alpha: float) -> float:
    critical = float(stats.t.isf(alpha / 2, df))

    def excess(nc: float) -> float:
        found = float(stats.nct.sf(critical, df, nc))
        # scipy gives nan where the distribution lies far above the critical value.
        return (1.0 if math.isnan(found) else found) - POWER

    high = critical + 2.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-10))


def sd_factors(n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Between which multiples of the seen sd the true one lies (chi-square, normal values)."""
    df, tail = n - 1, (1 - level) / 2
    return math.sqrt(df / float(stats.chi2.isf(tail, df))), math.sqrt(df / float(stats.chi2.ppf(tail, df)))


@dataclass(frozen=True)
class More:
    """Replicates still to be run before the margin is detectable, by the sd seen and by the ends of its interval."""

    about: int
    lo: int
    hi: int


def more_replicates(sd: float, n: int, *, margin: float, alpha: float = 0.05, paired: bool = True) -> More:
    """How many replicates besides n make the margin detectable. The difference seen so far plays no part in it."""
    if not (n >= 2 and sd >= 0 and margin > 0):
        raise ValueError(f"more_replicates: n >= 2, sd >= 0 and margin > 0 are needed, got {n}, {sd} and {margin}")
    low, high = sd_factors(n if paired else 2 * n - 1)
    about, lo, hi = (
        max(0, replicates_for(factor * sd, margin=margin, alpha=alpha, paired=paired) - n)
        for factor in (1.0, low, high)
    )
    return More(about, lo, hi)


def replicates_for(sd: float, *, margin: float, alpha: float = 0.05, paired: bool = True) -> int:
    """The smallest number of replicates (at least 3) whose detectable difference is at most the margin."""

    def enough(n: int) -> bool:
        return detectable(sd, n, alpha=alpha, paired=paired) <= margin

    if not enough(LARGE_N):
        quantiles = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(POWER))
        return max(LARGE_N + 1, math.ceil((1 if paired else 2) * (quantiles * sd / margin) ** 2))
    low, high = 2, LARGE_N
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
