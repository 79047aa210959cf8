"""What is measured of a classification besides accuracy.

Counts, ranks and bins are torchmetrics' own; it is told classes, ranks and probabilities, never outputs, since it takes
outputs that happen to lie between 0 and 1 for probabilities.

Tensor axes: N examples, K classes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_stat_scores,
)

from harness.details import log_odds
from harness.hookspecs import Metric, NotApplicable, Predictions, hookimpl

_BELOW_ONE = 1 - 2.0**-24
"""The largest float32 below 1: torchmetrics puts a confidence of just 1 into a bin of its own."""


def balanced_accuracy(predictions: Predictions) -> float:
    """Mean over the classes of the share of their examples that is found (Brodersen et al. 2010); nan for nan outputs.

    Raises:
        NotApplicable: a class has no example.
    """
    return recall(predictions)


def recall(predictions: Predictions) -> float:
    """Mean over the classes of the share of their examples that is found; nan where an output is nan.

    Raises:
        NotApplicable: a class has no example.
    """
    right, _, missed = _counts(predictions)
    return float((right / (right + missed)).mean())


def precision(predictions: Predictions) -> float:
    """Mean over the classes of the share of right ones among the examples that are taken for it; nan for nan outputs.

    A class that nothing is taken for has 0.

    Raises:
        NotApplicable: a class has no example.
    """
    right, wrong, _ = _counts(predictions)
    return float((right / (right + wrong).clamp(min=1)).mean())


def f1(predictions: Predictions) -> float:
    """Mean over the classes of F1, the harmonic mean of precision and recall; nan where an output is nan.

    van Rijsbergen 1979, chapter 7; Opitz and Burst 2019 (arXiv:1911.03347), equation 1: the mean of the classes' F1,
    not the F1 of mean precision and mean recall.

    Raises:
        NotApplicable: a class has no example.
    """
    right, wrong, missed = _counts(predictions)
    return float((2 * right / (2 * right + wrong + missed)).mean())


def _counts(predictions: Predictions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By class (K,): examples taken for it rightly and wrongly, and examples of it that were taken for another.

    Raises:
        NotApplicable: a class has no example.
    """
    classes = _classes(predictions)
    _need_every_class(predictions.targets, classes)
    taken = predictions.outputs.argmax(dim=1)
    with _plain_counting():
        scores = multiclass_stat_scores(taken, predictions.targets, classes, average="none")
    right, wrong, _, missed, _ = scores.double().unbind(dim=1)
    broken = bool(predictions.outputs.isnan().any())
    return (right * math.nan if broken else right), wrong, missed


def roc_auc(predictions: Predictions) -> float:
    """Mean over the classes of the area under the ROC curve of each against all others; nan where an output is nan.

    The area is the chance that an example of the class is given a larger probability of it than one of another class,
    ties counted half (Fawcett 2006, sections 7 and 9.1). Of two classes it is the usual area, the same for both.

    Raises:
        NotApplicable: a class has no example, or there is no other class.
    """
    classes = _classes(predictions)
    _need_every_class(predictions.targets, classes)
    if bool(predictions.outputs.isnan().any()):
        return math.nan
    with _plain_counting():
        areas = multiclass_auroc(_ranks(log_odds(predictions.outputs)), predictions.targets, classes, average="none")
    return float(areas.double().mean())


def _ranks(scores: torch.Tensor) -> torch.Tensor:
    """Scores (N, K) as their places among the different ones of a class, 0 to 1: neither rounded nor tied anew."""
    places = [torch.unique(column, return_inverse=True)[1] for column in scores.unbind(dim=1)]
    return torch.stack(places, dim=1).double() / len(scores)


def log_loss(predictions: Predictions) -> float:
    """Mean negative logarithm of the probability that the right class is given, in nats; outputs are taken as logits.

    Good 1952, section 8; whatever loss was trained with.
    """
    _classes(predictions)
    return float(torch.nn.functional.cross_entropy(predictions.outputs.double(), predictions.targets))


def calibration_error(predictions: Predictions, *, bins: int = 15) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, over bins of confidence.

    Guo et al. 2017 (arXiv:1706.04599), equation 3: the mean over the examples; confidence is the probability of the
    class that an example is taken for. nan where an output is nan.

    Args:
        bins: of equal width from 0 to 1.

    Raises:
        ValueError: bins is below 1.
    """
    if bins < 1:
        raise ValueError(f"calibration_error: bins must be 1 or more, got {bins}")
    classes = _classes(predictions)
    if bool(predictions.outputs.isnan().any()):
        return math.nan
    confidences = predictions.outputs.double().softmax(dim=1).clamp(max=_BELOW_ONE)
    return float(multiclass_calibration_error(confidences, predictions.targets, classes, n_bins=bins, norm="l1"))


def _classes(predictions: Predictions) -> int:
    """How many classes the problem has.

    Raises:
        NotApplicable: it is a regression, or there is one class only.
    """
    if predictions.classes is None or predictions.classes < 2:
        what = "is a regression" if predictions.classes is None else "has one class"
        raise NotApplicable(f"it is measured over two classes or more, and the problem {what}")
    return predictions.classes


def _need_every_class(targets: torch.Tensor, classes: int) -> None:
    absent = (torch.bincount(targets, minlength=classes) == 0).nonzero().flatten().tolist()
    if absent:
        which = (
            f"class {absent[0]} of {classes} has" if len(absent) == 1 else f"{len(absent)} of {classes} classes have"
        )
        raise NotApplicable(f"{which} no example among the {len(targets)} of the split{_few(absent)}")


def _few(absent: list[int]) -> str:
    """The first of several: `: 2, 4, 7, ...`."""
    if len(absent) == 1:
        return ""
    return f": {', '.join(map(str, absent[:5]))}{', ...' if len(absent) > 5 else ''}"


@contextlib.contextmanager
def _plain_counting() -> Iterator[None]:
    """Have torchmetrics count by `torch.bincount`: whole numbers add up to the same in any order.

    Where deterministic algorithms are asked for, it builds a table of N x K^2 cells instead: 2 GB for the training
    examples of 47 classes.
    """
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)


@hookimpl
def harness_metrics() -> list[Metric]:
    """`balanced_accuracy`, `recall`, `precision`, `f1`, `roc_auc`, `log_loss`, `calibration_error`.

    A constant guess finds 1 / K of the classes' examples and has an area of 1/2. Its precision is 1 / K^2 and its F1
    2 / (K (K + 1)) where classes are equally frequent; a failed run counts as 0 there, so never more than a guess.
    """
    share: dict[str, Any] = {"direction": "maximize", "unit": "fraction", "ceiling": 1.0, "task": "classification"}
    area: dict[str, Any] = {"direction": "maximize", "floor": 0.5, "ceiling": 1.0, "task": "classification"}
    error: dict[str, Any] = {"direction": "minimize", "unit": "fraction", "floor": 1.0, "task": "classification"}
    return [
        Metric("balanced_accuracy", apply=balanced_accuracy, floor="chance", source=_BALANCED, **share),
        Metric("recall", apply=recall, floor="chance", **share),
        Metric("precision", apply=precision, floor=0.0, **share),
        Metric("f1", apply=f1, floor=0.0, source="van Rijsbergen 1979, Information Retrieval, chapter 7", **share),
        Metric("roc_auc", apply=roc_auc, source="Fawcett 2006, sections 7 and 9", **area),
        Metric("log_loss", apply=log_loss, direction="minimize", unit="nats", task="classification", source=_LOG),
        Metric("calibration_error", apply=calibration_error, source="Guo et al. 2017, equation 3", **error),
    ]


_BALANCED = "Brodersen et al. 2010, The balanced accuracy and its posterior distribution"
_LOG = "Good 1952, Rational decisions, section 8"
