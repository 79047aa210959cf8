"""Penalties on the weights, l1 sum |w| + l2 sum w^2, as what they add to the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch


def penalties(tensors: Iterable[torch.Tensor], *, l1: float = 0.0, l2: float = 0.0) -> Callable[[], None] | None:
    """A function that adds l1 sign(w) + 2 l2 w to the gradient of each weight; None where nothing is to be added.

    Weights are the tensors of at least two dimensions: biases and the scales and shifts of norms are left alone, as by
    weight decay. sign(0) is 0, as in torch. A penalty is part of what is minimised and of no recorded loss.
    """
    weights = [tensor for tensor in tensors if tensor.dim() >= 2]
    if not weights or (l1 == 0 and l2 == 0):
        return None

    @torch.no_grad()
    def add() -> None:
        gradients = [_gradient(weight) for weight in weights]
        if l2:
            torch._foreach_add_(gradients, weights, alpha=2 * l2)
        if l1:
            torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=l1)

    return add


@torch.no_grad()
def penalty_value(tensors: Iterable[torch.Tensor], *, l1: float = 0.0, l2: float = 0.0) -> torch.Tensor:
    """l1 sum |w| + l2 sum w^2 over the same weights: for an optimizer that asks for the value of what it minimises."""
    weights = [tensor for tensor in tensors if tensor.dim() >= 2]
    return sum((l1 * w.abs().sum() + l2 * w.square().sum() for w in weights), torch.zeros(()))


def _gradient(weight: torch.Tensor) -> torch.Tensor:
    """The weight's gradient; zeros where the loss does not depend on it, since the penalty does."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
