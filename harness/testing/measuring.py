"""Checks of what is learnt and how it is measured: data sets, losses, metrics.

Tensor axes: N examples, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.hookspecs import Dataset, Loss, Metric, Predictions, Splits
from harness.testing.case import Case, Options
from harness.train import data


def check_dataset(part: Dataset, *, root: Path = Path(), options: Options = None) -> tuple[str, ...]:
    """Shapes, types and ranges of a data set, and that two loads are equal.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with case.unjudged(seed=1):  # what a library draws when it is first imported is not the part's doing
        splits: Splits = case.run("is loaded", part.load, root, **case.options)
    with case.examined(draws=False):
        case.run("keeps the contract of Splits", data.check, splits, name=part.name)
        for split in (splits.train, splits.test):
            dtype = data.example(split)[0].dtype
            case.require(dtype == torch.float32, "inputs are float32", str(dtype))
        named = len(splits.class_names) in (0, splits.classes)
        case.require(named, "there is a name for each class, or none", f"{splits.class_names} for {splits.classes}")
        again: Splits = case.run("is loaded a second time", part.load, root, **case.options)
        for one, other in ((splits.train, again.train), (splits.test, again.test)):
            for first, second in zip(_looked_at(one), _looked_at(other), strict=True):
                case.same(first, second, "two loads are equal")
    return case.kept


def _looked_at(split: data.Split) -> tuple[torch.Tensor, ...]:
    """The whole of a split in memory, the first example of one that is not."""
    return tuple(split) if data.in_memory(split) else data.example(split)


def check_loss(part: Loss, *, classes: int | None = 10, options: Options = None) -> tuple[str, ...]:
    """Mean, gradient and range of a loss on labels of that many classes, or on values (None, and for a regression's).

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case, classes = Case(part, options), None if part.task == "regression" else classes
    outputs, targets = _outputs(classes, examples=6)
    with case.examined(draws=False):
        loss = case.run("is built", part.build, **case.options)
        value = case.run("takes outputs (N, K) and targets (N,)", loss, outputs, targets)
        case.require(isinstance(value, torch.Tensor) and value.dim() == 0, "returns a tensor ()", _shape(value))
        case.finite(value, "the loss of plain outputs is finite")
        case.finite(loss(100 * outputs, targets), "the loss of outputs in the hundreds is finite")
        twice = loss(torch.cat([outputs, outputs]), torch.cat([targets, targets]))
        case.close(twice, value, "doubling the batch leaves the mean as it is")
        alone = [loss(outputs[row : row + 1], targets[row : row + 1]) for row in range(len(outputs))]
        case.close(torch.stack(alone).mean(), value, "the loss is the mean over single examples")
        _check_gradient(case, loss, outputs, targets)
        for ends in case.ends():
            case.run("is built at the ends of its space", part.build, **ends)
    return case.kept


def _check_gradient(
    case: Case, loss: Callable[..., torch.Tensor], outputs: torch.Tensor, targets: torch.Tensor
) -> None:
    exact = outputs.double().requires_grad_()
    labels = targets.double() if targets.is_floating_point() else targets
    rule = "the gradient equals finite differences"
    case.run(rule, torch.autograd.gradcheck, lambda values: loss(values, labels), [exact])


def check_metric(part: Metric, *, classes: int | None = 10, options: Options = None) -> tuple[str, ...]:
    """Type, bounds, direction and invariance of a metric on labels of that many classes, or on values (None).

    One that is declared for regressions is always measured on values.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case, classes = Case(part, options), None if part.task == "regression" else classes
    outputs, targets = _outputs(classes, examples=40)
    right = 10 * nn.functional.one_hot(targets, classes).float() if classes else targets.unsqueeze(1)
    with case.examined(draws=False):
        best, middle, worst = (_measure(case, found, targets, classes) for found in (right, outputs, -right))
        sign = 1 if part.direction == "maximize" else -1
        ordered = sign * best > sign * worst and sign * best >= sign * middle
        rule = f"right outputs are best, as direction '{part.direction}' says"
        case.require(ordered, rule, f"{best} for right, {middle} for random and {worst} for wrong ones")
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
        mixed = _measure(case, outputs[order], targets[order], classes)
        case.close(torch.tensor(mixed), torch.tensor(middle), "the order of the examples does not matter")
        _check_floor(case, part, classes, sign * best)
    return case.kept


def _measure(case: Case, outputs: torch.Tensor, targets: torch.Tensor, classes: int | None) -> float:
    assert isinstance(case.part, Metric)
    kept = outputs.clone(), targets.clone()
    predictions = Predictions(outputs, targets, _plain_loss(classes), classes)
    value = case.run("measures a split", case.part.apply, predictions, **case.options)
    is_number = isinstance(value, float | int | torch.Tensor) and not isinstance(value, bool)
    case.require(is_number and torch.as_tensor(value).numel() == 1, "returns one number", _shape(value))
    number, ceiling = float(value), math.inf if case.part.ceiling is None else case.part.ceiling
    case.require(math.isfinite(number), "is finite for finite outputs", str(number))
    case.require(number <= ceiling, f"is not above its ceiling, {ceiling}", str(number))
    case.same(outputs, kept[0], "leaves the outputs as they are")
    case.same(targets, kept[1], "leaves the targets as they are")
    return number


def _plain_loss(classes: int | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if classes:
        return nn.functional.cross_entropy
    return lambda outputs, targets: (outputs.squeeze(1) - targets).square().mean()


def _check_floor(case: Case, part: Metric, classes: int | None, best: float) -> None:
    if part.floor is None:
        return
    sign = 1 if part.direction == "maximize" else -1
    case.require(part.floor != "chance" or classes, "a floor of chance needs classes", "a regression")
    floor = 1 / (classes or 1) if part.floor == "chance" else part.floor
    case.require(sign * floor < best, "the floor is worse than right outputs", f"{floor} against {sign * best}")


def _outputs(classes: int | None, *, examples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random outputs (N, K), and targets (N,) with every class where there are classes."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(examples, classes or 1, generator=generator)
    return outputs, torch.arange(examples) % classes if classes else torch.randn(examples, generator=generator)


def _shape(value: Any) -> str:
    return f"{type(value).__name__} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
