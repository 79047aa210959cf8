"""What training minimises.

Tensor axes: N examples, K classes.
"""

from __future__ import annotations

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


@hookimpl
def harness_losses() -> list[Loss]:
    """`cross_entropy`."""
    source = "Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.2.2.3"
    return [Loss("cross_entropy", build=cross_entropy, source=source)]
