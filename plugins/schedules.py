"""The learning rate over the steps of a run (or of a phase, where a strategy has several)."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from harness.hookspecs import Schedule, hookimpl


def constant(optimizer: Optimizer, steps: int, steps_per_epoch: int) -> None:
    """The learning rate as it is, at every step."""


def cosine(
    optimizer: Optimizer, steps: int, steps_per_epoch: int, *, warmup: float = 0.0, final: float = 0.0
) -> LambdaLR:
    """Half a cosine from the learning rate down to `final` times it, after a linear warm-up.

    With S steps, of which W = floor(warmup S + 0.5) warm up, the multiplier at step t = 0, ..., S - 1 is

        (t + 1) / (W + 1)                                                for t < W
        final + (1 - final) (1 + cos(pi (t - W) / (S - W))) / 2          from W on

    so the first step is never idle, step W has the full rate, and `final` is reached right after the last step. Without
    warm-up this is Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5, over one period.

    Args:
        warmup: share of the steps, 0 to 1.
        final: share of the learning rate, 0 to 1.

    Raises:
        ValueError: a share is outside 0 to 1.
    """
    for name, share in (("warmup", warmup), ("final", final)):
        if not 0 <= share <= 1:
            raise ValueError(f"cosine: {name} must be a share from 0 to 1, got {share}")
    rise = math.floor(warmup * steps + 0.5)

    def multiplier(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        done = (step - rise) / max(steps - rise, 1)
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2

    return LambdaLR(optimizer, multiplier)


@hookimpl
def harness_schedules() -> list[Schedule]:
    """`constant`, `cosine`."""
    return [
        Schedule("constant", build=constant),
        Schedule("cosine", build=cosine, source="Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5"),
    ]
