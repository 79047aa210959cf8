"""Data drawn from a seed: for tests, and for questions that need to know the truth.

Tensor axes: N examples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from harness import spec
from harness.hookspecs import Dataset, Splits, hookimpl

Pair = tuple[torch.Tensor, torch.Tensor]


def random(
    root: Path,
    *,
    shape: Sequence[int] = (1, 8, 8),
    classes: int = 10,
    train: int = 1000,
    test: int = 500,
    noise: float = 1.0,
    seed: int = 0,
) -> Splits:
    """Noisy copies of a centre for each class, or values of a noisy linear function: inputs (N, *shape).

    All draws are standard normal: K centres of the given shape, and noise around them; example i is of class i mod K.
    Of a regression, inputs x and the weights w of the function are drawn, and targets (N,) are w x / sqrt(size of x)
    plus noise. Neither split depends on the size of the other.

    Args:
        shape: of one example.
        classes: how many; 0 makes a regression.
        train: examples for training.
        test: examples for test.
        noise: what the noise is multiplied by.
        seed: another one is another draw.

    Raises:
        ValueError: an option is out of range.
    """
    if not shape or any(type(side) is not int or side < 1 for side in shape):
        raise ValueError(f"random: shape must be whole numbers of at least 1, got {shape!r}")
    if classes < 0 or classes == 1:
        raise ValueError(f"random: classes must be at least 2, or 0 for a regression, got {classes}")
    least = max(classes, 1)
    if train < least or test < least:
        raise ValueError(f"random: train and test must be at least {least}, got {train} and {test}")
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"random: noise must be a finite number of at least 0, got {noise}")
    truth = _drawn(seed, "truth", max(classes, 1), shape)

    def split(name: str, examples: int) -> Pair:
        drawn = _drawn(seed, name, examples, shape)
        if classes:
            labels = torch.arange(examples) % classes
            return truth[labels] + noise * drawn, labels
        exact = (drawn.double() * truth.double()).flatten(1).sum(1) / math.sqrt(truth.numel())
        return drawn, exact.float() + noise * _drawn(seed, f"{name} noise", examples, ())

    return Splits(train=split("train", train), test=split("test", test), classes=classes or None)


def _drawn(seed: int, name: str, count: int, shape: Sequence[int]) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(spec.seed(seed, name)))


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`random`."""
    return [Dataset("random", load=random)]
