"""Conformance checks that any plugin must pass, for the plugin's own tests.

    from harness.testing import check
    check(harness.Optimizer("lion", build=Lion))

A check builds the part with its default options, and at each end of its search space; it tries its rules on small
made-up problems and leaves every global state as it was. It returns the rules that the part keeps; the first broken
one is raised as `NonConforming`. `harness verify` shows both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.hookspecs import Part
from harness.testing.augmenting import check_augmentation
from harness.testing.case import NonConforming
from harness.testing.executing import check_executor
from harness.testing.measuring import check_dataset, check_loss, check_metric
from harness.testing.training import check_model, check_optimizer, check_schedule
from harness.testing.transfer import check_strategy

__all__ = [
    "NonConforming",
    "check",
    "check_augmentation",
    "check_dataset",
    "check_executor",
    "check_loss",
    "check_metric",
    "check_model",
    "check_optimizer",
    "check_schedule",
    "check_strategy",
]


def check(part: Part, **arguments: Any) -> tuple[str, ...]:
    """The rules that a part of any kind keeps; the arguments are those of the check of its kind.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    checks: dict[str, Callable[..., tuple[str, ...]]] = {
        "augmentation": check_augmentation,
        "dataset": check_dataset,
        "executor": check_executor,
        "loss": check_loss,
        "metric": check_metric,
        "model": check_model,
        "optimizer": check_optimizer,
        "schedule": check_schedule,
        "strategy": check_strategy,
    }
    return checks[part.kind](part, **arguments)
