"""What a fine-tuning run starts from: a trained network's weights, and the examples that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from harness.feed import Examples


@dataclass(frozen=True)
class Source:
    """A trained network on its way to a new problem.

    Published weights come without examples: what needs them (forgetting) stays empty then.
    """

    state: Mapping[str, torch.Tensor]
    """Parameters and buffers by name, on the CPU, with the head that it was trained with."""
    outputs: int
    """Of that head."""
    train: Examples | None = None
    """At most 5,000 of its training examples: inputs (N, ...), targets (N,)."""
    test: Examples | None = None
    """Its test set."""
    run_id: str | None = None
    """Of the run that trained it; None for published weights."""
    sha256: str = ""
    """Of the file that the weights lie in."""
