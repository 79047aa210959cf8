"""What a fine-tuned network still knows of its source: with the head that it had, and with heads refitted.

Tensor axes: N examples, D features before the head, K classes of the source.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.strategies import Transfer
from harness.strategies.source import Source
from harness.train.feed import Examples

PENALTY = 1.0
"""Half of this times the squared weights is added to the summed cross-entropy of a refitted head."""
TOLERANCE = 1e-5
"""Largest slope of the mean cross-entropy at which a refitted head is done."""
MOST_STEPS = 500


@dataclass(frozen=True)
class Reading:
    """A split as a network sees it: outputs (N, K), features before the head (N, D), targets (N,), on the CPU."""

    outputs: torch.Tensor
    features: torch.Tensor
    targets: torch.Tensor

    @property
    def hits(self) -> int:
        """Examples whose largest output is that of their class."""
        return _hits(self.outputs, self.targets)


@dataclass(frozen=True)
class Reader:
    """How networks are read: in evaluation mode, at the run's precision."""

    head: str
    """Dotted name of the output layer."""
    autocast: Callable[[], AbstractContextManager[Any]]

    def read(self, model: nn.Module, examples: Examples) -> Reading:
        """The split through the network, a chunk at a time."""
        model.eval()
        features: list[torch.Tensor] = []
        layer = model.get_submodule(self.head)
        hook = layer.register_forward_pre_hook(lambda _, inputs: features.append(flat(inputs[0], layer)))
        try:
            with torch.no_grad(), self.autocast():
                pairs = [(model(inputs).float().cpu(), targets.cpu()) for inputs, targets in examples.chunks()]
        finally:
            hook.remove()
        outputs, targets = (torch.cat(pieces) for pieces in zip(*pairs, strict=True))
        return Reading(outputs, torch.cat(features), targets)


def against_source(
    source: Source, transfer: Transfer, *, build: Callable[[], nn.Module], test: Examples, reader: Reader
) -> dict[str, float | None]:
    """`start_accuracy`, and `forgetting_kept` and `forgetting_refit`: accuracy on the source's test set that was lost.

    Args:
        transfer: finished, of a strategy that began with the source's weights.
        build: gives the source's network with its weights.
        test: of the target.
    """
    found: dict[str, float | None] = dict.fromkeys(("start_accuracy", "forgetting_kept", "forgetting_refit"))
    if transfer.new_head and source.test is None:
        return found
    original = build()
    if not transfer.new_head:
        found["start_accuracy"] = _accuracy(reader.read(original, test))
    if source.test is None:
        return found
    with _with_head_of(original, transfer) as tuned:
        before, after = (reader.read(model, source.test) for model in (original, tuned))
        if _accuracy(before) is None:
            return found
        found["forgetting_kept"] = (before.hits - after.hits) / len(before.targets)
        if source.train is not None:
            refitted = [
                refit(reader.read(model, source.train), classes=source.outputs).hits(reading)
                for model, reading in ((original, before), (tuned, after))
            ]
            found["forgetting_refit"] = (refitted[0] - refitted[1]) / len(before.targets)
    return found


@contextlib.contextmanager
def _with_head_of(original: nn.Module, transfer: Transfer) -> Iterator[nn.Module]:
    """The tuned network with the source's head, for as long as the block lasts.

    The layer stays and becomes the source's in all that it consists of: the network may call it from a list of its own,
    where no other layer could be put in its place.
    """
    model, head = transfer.model, transfer.model.get_submodule(transfer.head)
    there = original.get_submodule(transfer.head)
    own = head.__class__, head.__dict__
    try:
        _become(head, there.__class__, there.__dict__)
        yield model
    finally:
        _become(head, *own)


def _become(module: nn.Module, kind: type, fields: dict[str, Any]) -> None:
    # A module has a way of its own to set what is called a parameter or a layer; this is neither.
    object.__setattr__(module, "__class__", kind)
    object.__setattr__(module, "__dict__", fields)


def flat(inputs: torch.Tensor, head: nn.Module) -> torch.Tensor:
    """What a head is given as features (N, D) in float64 on the CPU, its mean over positions where there are any."""
    features = inputs.detach().cpu().double()
    if isinstance(head, nn.modules.conv._ConvNd):
        return features.flatten(2).mean(dim=2)
    return features.flatten(1, -2).mean(dim=1) if features.dim() > 2 else features


@dataclass(frozen=True)
class Refitted:
    """A linear classifier of features that are scaled by one mean and one deviation: weights (D, K), biases (K,)."""

    weights: torch.Tensor
    biases: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def outputs(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of features (N, D)."""
        return (features - self.mean) / self.deviation @ self.weights + self.biases

    def hits(self, reading: Reading) -> int:
        """Examples of a split that it gets right."""
        return _hits(self.outputs(reading.features), reading.targets)


def refit(reading: Reading, *, classes: int) -> Refitted:
    """Multinomial logistic regression by L-BFGS from 0, with a penalty on the weights and none on the biases."""
    features, targets = reading.features, reading.targets.long()
    mean, deviation = features.mean(), features.std(correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    scaled = (features - mean) / deviation
    weights = torch.zeros(features.shape[1], classes, dtype=torch.float64)
    biases = torch.zeros(classes, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [weights, biases],
        max_iter=MOST_STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    rows, decay = torch.arange(len(targets)), PENALTY / len(targets)

    def closure() -> torch.Tensor:
        """Mean cross-entropy with the penalty; its gradient is written out, which saves the graph."""
        log_shares = (scaled @ weights + biases).log_softmax(dim=1)
        loss = -log_shares[rows, targets].mean() + decay / 2 * weights.square().sum()
        slopes = log_shares.exp()
        slopes[rows, targets] -= 1
        slopes /= len(targets)
        weights.grad, biases.grad = scaled.T @ slopes + decay * weights, slopes.sum(dim=0)
        return loss

    with torch.no_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Refitted(weights, biases, mean, deviation)


def _accuracy(reading: Reading) -> float | None:
    """Share of examples that are right; None where outputs and targets are not those of a classification."""
    outputs, targets = reading.outputs, reading.targets
    if outputs.dim() != 2 or targets.dim() != 1 or targets.is_floating_point():
        return None
    return reading.hits / len(targets)


def _hits(outputs: torch.Tensor, targets: torch.Tensor) -> int:
    return int((outputs.argmax(dim=1) == targets).sum())
