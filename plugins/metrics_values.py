"""What is measured of a regression.

Means are taken in double precision, over all N examples and all values of an example alike.

Tensor axes: N examples, K values of an example.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from harness.hookspecs import Metric, NotApplicable, Predictions, hookimpl


def mse(predictions: Predictions) -> float:
    """Mean squared error, in the square of the target's unit."""
    return float(functional.mse_loss(*_values(predictions)))


def mae(predictions: Predictions) -> float:
    """Mean absolute error, in the target's unit."""
    return float(functional.l1_loss(*_values(predictions)))


def r2(predictions: Predictions) -> float:
    """Coefficient of determination: 1 for right values, 0 for the mean of the split, below 0 for worse.

    1 - sum (y - f)^2 / sum (y - mean y)^2 (Draper and Smith 1998, equation 1.3.3); the mean of it where an example has
    several values.

    Raises:
        NotApplicable: the targets are all equal.
    """
    # Torchmetrics' own takes squared residuals that add up to less than 1e-4 for none: 1 for any small enough unit.
    found, due = (values.reshape(len(predictions.targets), -1) for values in _values(predictions))
    spread = (due - due.mean(dim=0)).square().sum(dim=0)
    if bool((spread == 0).any()):
        raise NotApplicable(f"the targets of the {len(due)} examples of the split are all equal")
    return float((1 - (due - found).square().sum(dim=0) / spread).mean())


def _values(predictions: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets, both in the shape of the targets and in double precision.

    Raises:
        NotApplicable: the problem is a classification.
        ValueError: an output for each value of a target is due.
    """
    outputs, targets = predictions.outputs, predictions.targets
    if predictions.classes is not None:
        raise NotApplicable("it is measured over values, and the problem has classes")
    if outputs.numel() != targets.numel():
        raise ValueError(f"outputs {tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}")
    return outputs.reshape(targets.shape).double(), targets.double()


@hookimpl
def harness_metrics() -> list[Metric]:
    """`mse`, `mae`, `r2`: a failed run counts as the mean of the split, where that is a number for every data set."""
    return [
        Metric("mse", apply=mse, direction="minimize", task="regression"),
        Metric("mae", apply=mae, direction="minimize", task="regression"),
        Metric("r2", apply=r2, direction="maximize", floor=0.0, ceiling=1.0, task="regression", source=_R2),
    ]


_R2 = "Draper and Smith 1998, Applied Regression Analysis, section 1.3"
