"""A head at the optimum of its loss on features that stay as they are, for strategies that take no steps.

Tensor axes: N training examples, D features before the head, K outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from harness.hookspecs import NotApplicable
from harness.strategies import Transfer
from harness.strategies.forgetting import Reader, Reading
from harness.train.feed import Examples
from harness.train.returned import Diverged

TOLERANCE = 1e-8
"""Largest slope of the mean loss with its penalty at which the head is done."""
MOST_STEPS = 5000
CLOSE = 0.02
"""Outputs that the head gives from its features may differ by so much of their largest from those of the network."""


@dataclass(frozen=True)
class Solved:
    """What the optimum took, and what it is worth."""

    evaluations: int
    """Of loss and gradient, each over all training examples."""
    loss: float
    """Mean over the training examples, without the penalty."""


def solve(
    transfer: Transfer, examples: Examples, *, loss: Callable[..., torch.Tensor], penalty: float, reader: Reader
) -> Solved:
    """Put the head at the least of: mean loss + penalty / (2 N) x its squared weights, by L-BFGS from 0 in float64.

    The penalty is on features that are scaled by one mean and one deviation, as `forgetting.refit` has it; there is
    none on biases. Of cross-entropy that is scikit-learn's LogisticRegression with C = 1 / penalty.

    Raises:
        Diverged: the optimum was not reached.
        NotApplicable: the head is no linear layer of features (N, D), not the last thing that is computed, or its
            weights are those of another layer too.
    """
    head = transfer.model.get_submodule(transfer.head)
    if not isinstance(head, nn.Linear):
        raise NotApplicable(f"the head '{transfer.head}' is {type(head).__name__}; only a linear layer is fitted")
    if not transfer.head_apart:
        raise NotApplicable(f"the network reads the weights of its head '{transfer.head}' on the way to it, too")
    reading = reader.read(transfer.model, examples)
    _check_last(reading, head, transfer.head)
    features, targets = reading.features, reading.targets
    mean = features.mean() if head.bias is not None else torch.zeros((), dtype=torch.float64)
    deviation = features.std(correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    found = copy.deepcopy(head).cpu().double()
    solved = _minimise(found, (features - mean) / deviation, targets, loss=_on_cpu(loss), penalty=penalty)
    with torch.no_grad():
        head.weight.copy_(found.weight / deviation)
        if head.bias is not None:
            head.bias.copy_(found.bias - found.weight.sum(dim=1) * mean / deviation)
    return solved


def _minimise(
    head: nn.Linear, features: torch.Tensor, targets: torch.Tensor, *, loss: Callable[..., torch.Tensor], penalty: float
) -> Solved:
    """Move the head, from 0, to the optimum."""
    parameters = list(head.parameters())
    for parameter in parameters:
        nn.init.zeros_(parameter.requires_grad_(True))
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=MOST_STEPS, tolerance_grad=TOLERANCE, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    losses: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        mean_loss = loss(head(features), targets)
        whole = mean_loss + penalty / (2 * len(targets)) * head.weight.square().sum()
        torch.autograd.backward(whole)
        losses.append(float(mean_loss.detach()))
        return whole

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        closure()
    slope = max(float(p.grad.abs().max()) for p in parameters if p.grad is not None)
    if not slope <= 10 * TOLERANCE:
        raise Diverged(f"the head's optimum was not reached in {len(losses)} evaluations: the slope is {slope:.3g}")
    return Solved(len(losses), losses[-1])


def _on_cpu(loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The loss in float64 on the CPU, where it has weights of its own."""
    return copy.deepcopy(loss).cpu().double() if isinstance(loss, nn.Module) else loss


def _check_last(reading: Reading, head: nn.Linear, name: str) -> None:
    """Whether the head on its features gives what the network gives."""
    if reading.features.dim() == 2 and reading.features.shape[1] == head.in_features:
        weight, bias = head.weight.detach().cpu().double(), 0.0 if head.bias is None else head.bias.detach().cpu()
        found = reading.features @ weight.T + bias
        scale = max(float(reading.outputs.abs().max()), 1e-12)
        if found.shape == reading.outputs.shape and float((found - reading.outputs).abs().max()) <= CLOSE * scale:
            return
    raise NotApplicable(f"the network does more with what its head '{name}' gives than to return it")
