"""What is measured on a split, and which way is better.

Tensor axes: N examples, K classes.
"""

from __future__ import annotations

import math

from harness.hookspecs import Metric, Predictions, hookimpl


def accuracy(predictions: Predictions) -> float:
    """Share of the N examples whose largest output is that of their class; nan where an output is nan.

    Of several largest outputs the first counts.

    Raises:
        ValueError: the problem is a regression.
    """
    if predictions.classes is None:
        raise ValueError("accuracy: needs classes, and the problem is a regression; measure 'loss'")
    # The largest of nan and numbers is nan, wherever it stands: a broken network would score like a guess.
    if bool(predictions.outputs.isnan().any()):
        return math.nan
    hits = int((predictions.outputs.argmax(dim=1) == predictions.targets).sum())
    return hits / len(predictions.targets)


def loss(predictions: Predictions) -> float:
    """The problem's loss over the whole split: its mean over the N examples, in the loss's own unit."""
    return float(predictions.loss(predictions.outputs, predictions.targets))


@hookimpl
def harness_metrics() -> list[Metric]:
    """`accuracy`, `loss`."""
    return [
        Metric(
            "accuracy",
            apply=accuracy,
            direction="maximize",
            unit="fraction",
            floor="chance",
            ceiling=1.0,
            task="classification",
        ),
        Metric("loss", apply=loss, direction="minimize"),
    ]
