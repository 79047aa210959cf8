"""What a fine-tuning run starts from: a trained network's weights, and the examples that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import PluginError
from harness.hookspecs import Model, Splits
from harness.strategies.weights import build
from harness.train.data import in_memory, size
from harness.train.feed import Examples, Resident, Streamed

REFITTED = 5000
"""Training examples of the source, at most, that a head is refitted on."""


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


def examples(splits: Splits, *, seed: int, device: torch.device) -> tuple[Examples, Examples]:
    """At most `REFITTED` training examples of a source, drawn by the seed, and its test set."""
    index = torch.randperm(size(splits.train), generator=torch.Generator().manual_seed(seed))[:REFITTED]
    if in_memory(splits.train):
        inputs, targets = splits.train  # type: ignore[misc]
        train: Examples = Resident((inputs[index], targets[index]), device)
    else:
        train = Streamed(splits.train, index, device)
    test = Resident(splits.test, device) if in_memory(splits.test) else Streamed(splits.test, None, device)  # type: ignore[arg-type]
    return train, test


def published(model: Model, shape: tuple[int, ...], options: Mapping[str, Any], found: Mapping[str, Any]) -> Source:
    """The model (with its options, and its name under `use`) as its published weights have it.

    Args:
        shape: of the inputs, (C, H, W).
        found: name, path and SHA-256 of the weights, as `harness.published.Found.to_plain`.

    Raises:
        PluginError: the weights are of another model, or do not fit the inputs or options.
        DataError: the file is damaged.
    """
    given = {name: value for name, value in options.items() if name != "use"}
    weights = model.weights[found["weights"]]
    built = build(model, shape, weights, Path(found["path"]), sha256=found["sha256"], options=given)
    return Source(built.state_dict(), weights.outputs, sha256=found["sha256"])


def fit_state(model: nn.Module, state: Mapping[str, torch.Tensor], *, name: str) -> None:
    """Load the weights of a trained network into one of the same architecture.

    Raises:
        PluginError: names or shapes differ, with the first of them.
    """
    own = model.state_dict()
    missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or foreign or shapes:
        where = min(shapes, default=None)
        found = (
            f"'{where}' is {tuple(state[where].shape)} in the source, {tuple(own[where].shape)} here"
            if where is not None
            else f"'{missing[0]}' is not in the source"
            if missing
            else f"'{foreign[0]}' is only in the source"
        )
        raise PluginError(f"model '{name}' does not fit the weights of its source: {found}")
    model.load_state_dict(dict(state))
