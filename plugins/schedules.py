"""The learning rate over the steps of a run (or of a phase, where a strategy has several)."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

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


def step(
    optimizer: Optimizer,
    steps: int,
    steps_per_epoch: int,
    *,
    gamma: float = 0.1,
    every: int = 1,
    unit: str = "epochs",
) -> LambdaLR:
    """The learning rate times `gamma` after every so many epochs or steps: gamma^floor(t / every) at time t.

    Args:
        gamma: factor, above 0 and at most 1.
        every: epochs or steps from one drop to the next.
        unit: `epochs` (of ceil(N / batch size) steps) or `steps`, counted from the start of the run, or of the phase.

    Raises:
        ValueError: an option is out of range.
    """
    length = _unit("step", unit, steps_per_epoch)
    _check_gamma("step", gamma)
    _check_times("step", "every", [every])
    return LambdaLR(optimizer, lambda t: gamma ** (t // (every * length)))


def multistep(
    optimizer: Optimizer,
    steps: int,
    steps_per_epoch: int,
    *,
    gamma: float = 0.1,
    milestones: Sequence[int] = (1, 2),
    unit: str = "epochs",
) -> LambdaLR:
    """The learning rate times `gamma` at each milestone: gamma^n at time t, of which n milestones are at most t.

    Args:
        gamma: factor, above 0 and at most 1.
        milestones: epochs or steps after which the rate drops, in rising order.
        unit: `epochs` (of ceil(N / batch size) steps) or `steps`, counted from the start of the run, or of the phase.

    Raises:
        ValueError: an option is out of range.
    """
    length = _unit("multistep", unit, steps_per_epoch)
    _check_gamma("multistep", gamma)
    _check_times("multistep", "milestones", milestones)
    ends = [length * milestone for milestone in milestones]
    return LambdaLR(optimizer, lambda t: gamma ** bisect.bisect_right(ends, t))


def plateau(
    optimizer: Optimizer,
    steps: int,
    steps_per_epoch: int,
    *,
    factor: float = 0.1,
    patience: int = 2,
    threshold: float = 1e-4,
    cooldown: int = 0,
    metric: str = "loss",
) -> ReduceLROnPlateau:
    """The learning rate times `factor` whenever validation stops improving, as torch's ReduceLROnPlateau has it.

    It follows evaluations (after each epoch, or ten times in a budget of steps), not steps.

    Args:
        factor: factor, above 0 and below 1.
        patience: evaluations without improvement that are let pass; the next one lowers the rate.
        threshold: what an improvement must exceed, in the metric's own unit (torch's `threshold_mode="abs"`).
        cooldown: evaluations after a drop that are not counted.
        metric: whose value on validation is followed.

    Raises:
        ValueError: an option is out of range.
    """
    if not 0 < factor < 1:
        raise ValueError(f"plateau: factor must be above 0 and below 1, got {factor}")
    for name, value in (("patience", patience), ("threshold", threshold), ("cooldown", cooldown)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"plateau: {name} must be a finite number of at least 0, got {value}")
    return ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, threshold_mode="abs", cooldown=cooldown
    )


def _unit(schedule: str, unit: str, steps_per_epoch: int) -> int:
    """Steps of a unit of time."""
    lengths = {"epochs": steps_per_epoch, "steps": 1}
    if unit not in lengths:
        raise ValueError(f"{schedule}: unit must be one of {', '.join(lengths)}, got {unit!r}")
    return lengths[unit]


def _check_gamma(schedule: str, gamma: float) -> None:
    if not 0 < gamma <= 1:
        raise ValueError(f"{schedule}: gamma must be above 0 and at most 1, got {gamma}")


def _check_times(schedule: str, option: str, times: Sequence[int]) -> None:
    if any(not isinstance(time, int) or isinstance(time, bool) or time < 1 for time in times):
        raise ValueError(f"{schedule}: {option} must be whole numbers of at least 1, got {times!r}")
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise ValueError(f"{schedule}: {option} must rise, got {times!r}")


@hookimpl
def harness_schedules() -> list[Schedule]:
    """`constant`, `cosine`, `step`, `multistep`, `plateau`."""
    return [
        Schedule("constant", build=constant),
        Schedule("cosine", build=cosine, source="Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5"),
        Schedule("step", build=step, source="torch.optim.lr_scheduler.StepLR"),
        Schedule("multistep", build=multistep, source="torch.optim.lr_scheduler.MultiStepLR"),
        Schedule("plateau", build=plateau, watches="metric", source="torch.optim.lr_scheduler.ReduceLROnPlateau"),
    ]
