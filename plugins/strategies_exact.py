"""Ways to fine-tune that take no steps."""

from __future__ import annotations

from harness.hookspecs import Float, Phase, Strategy, hookimpl
from harness.strategies import Transfer


def linear_probe_exact(t: Transfer) -> list[Phase]:
    """The head alone, at the optimum of its loss on the features as they are, with `l2` on its squared weights.

    No rate and no number of steps limits such a probe, so it is not matched in steps with the other strategies.
    """
    return [Phase(lambda p: 1.0 if p.head else None)]


def penalty(t: Transfer) -> float:
    """Strength of the penalty: half of `l2` times the squared weights, beside the summed loss of the examples.

    Raises:
        ValueError: `l2` is no number of at least 0.
    """
    l2 = t.options.l2
    if isinstance(l2, bool) or not isinstance(l2, int | float) or not 0 <= l2 < float("inf"):
        raise ValueError(f"linear_probe_exact: l2 must be a number of at least 0, got {l2!r}")
    return float(l2)


@hookimpl
def harness_strategies() -> list[Strategy]:
    """`linear_probe_exact`."""
    return [
        Strategy(
            "linear_probe_exact",
            phases=linear_probe_exact,
            exact=penalty,
            defaults={"l2": 1.0},
            space={"l2": Float(1e-3, 1e3, log=True)},
            source="Kornblith, Shlens, Le 2019 (arXiv:1805.08974): logistic regression by L-BFGS on features",
        )
    ]
