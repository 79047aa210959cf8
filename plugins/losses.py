"""What training minimises.

Tensor axes: N examples, K outputs: classes, or values of a regression.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from harness.hookspecs import Loss, hookimpl


def cross_entropy(*, label_smoothing: float = 0.0) -> nn.CrossEntropyLoss:
    """Mean cross-entropy in nats of outputs (N, K), taken as logits, with integer labels (N,).

    Args:
        label_smoothing: share of the target that is spread evenly over all K classes, 0 to 1 (Szegedy et al. 2016,
            arXiv:1512.00567, section 7).

    Raises:
        ValueError: label_smoothing is outside 0 to 1.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be from 0 to 1, got {label_smoothing}")
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


def mse() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Half the mean squared distance, (1 / 2N) sum_n sum_k (o_nk - y_nk)^2, between outputs (N, K) and targets.

    Targets that are whole numbers are labels (N,), which count as y_nk = 1 for the label and 0 for the other classes
    (one-hot; the outputs are no logits then, and are not squashed). Others are values: (N, K), or (N,) for K = 1. The
    sum over the outputs is no mean: with K of them the loss is K / 2 times that of `torch.nn.MSELoss`.
    """
    return half_squared_distance


def half_squared_distance(outputs_NK: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`mse` of outputs (N, K) and labels (N,) or values (N, K); its gradient by the outputs is (o - y) / N.

    Raises:
        ValueError: the targets are not of the outputs' shape.
    """
    outputs_NK = outputs_NK.to(torch.promote_types(outputs_NK.dtype, torch.float32))  # bf16 sums too coarsely
    if not targets.is_floating_point() and targets.dim() == 1 and outputs_NK.shape[1] > 1:
        classes_K = torch.arange(outputs_NK.shape[1], device=targets.device)
        targets = (targets[:, None] == classes_K).to(outputs_NK.dtype)
    elif targets.dim() == 1:
        targets = targets[:, None]
    if targets.shape != outputs_NK.shape:
        raise ValueError(f"mse: outputs {tuple(outputs_NK.shape)} for values {tuple(targets.shape)}; they must agree")
    return (outputs_NK - targets).square().sum() / (2 * len(outputs_NK))


@hookimpl
def harness_losses() -> list[Loss]:
    """`cross_entropy`, `mse`."""
    deep_learning = "Goodfellow, Bengio, Courville 2016, Deep Learning, section"
    return [
        Loss("cross_entropy", build=cross_entropy, task="classification", source=f"{deep_learning} 6.2.2.3"),
        Loss("mse", build=mse, source=f"{deep_learning} 6.2.2.1"),
    ]
