"""Data sets as tensors: loaded, checked against the contract, fingerprinted, and divided by a replicate's split seed.

Tensor axes: N examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import registry
from harness.catalog import Origin
from harness.errors import PluginError
from harness.hookspecs import Splits

Pair = tuple[torch.Tensor, torch.Tensor]


def load(options: Mapping[str, Any], origin: Origin, root: Path) -> Splits:
    """The data set `options["use"]`, loaded by its plugin and checked.

    Raises:
        DataError: its files cannot be had.
        PluginError: what it returns is against the contract.
    """
    part = registry.load_part("dataset", options["use"], origin)
    splits = part.load(root, **{name: value for name, value in options.items() if name != "use"})
    check(splits, name=options["use"])
    return splits  # type: ignore[no-any-return]


def check(splits: Any, *, name: str) -> None:
    """Hold a data set against the contract: shapes, types, finite numbers, labels in range, no class without examples.

    Raises:
        PluginError: the rule that is broken, with split, row and value.
    """
    if not isinstance(splits, Splits):
        raise PluginError(f"dataset '{name}': load must return harness.Splits, got {type(splits).__name__}")
    for split, pair in (("train", splits.train), ("test", splits.test)):
        place = f"dataset '{name}', {split} split"
        if len(pair) != 2 or not all(isinstance(tensor, torch.Tensor) for tensor in pair):
            raise PluginError(f"{place}: must be a pair of tensors (inputs, targets)")
        inputs, targets = pair
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise PluginError(f"{place}: {len(inputs)} inputs for {len(targets)} targets")
        if inputs.shape[1:] != splits.train[0].shape[1:]:
            raise PluginError(f"{place}: inputs {tuple(inputs.shape[1:])} differ in shape from the training split's")
        _check_finite(inputs, "input", place)
        _check_finite(targets, "target", place)
        if splits.classes is not None:
            _check_labels(targets, splits.classes, place)


def _check_finite(tensor: torch.Tensor, what: str, place: str) -> None:
    bad = (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(1).nonzero()
    if len(bad):
        raise PluginError(f"{place}: the {what} of row {int(bad[0])} is not finite")


def _check_labels(targets: torch.Tensor, classes: int, place: str) -> None:
    if targets.dtype != torch.int64 or targets.dim() != 1:
        raise PluginError(f"{place}: labels must be int64 (N,), got {targets.dtype} {tuple(targets.shape)}")
    outside = ((targets < 0) | (targets >= classes)).nonzero()
    if len(outside):
        row = int(outside[0])
        raise PluginError(f"{place}: the label of row {row} is {int(targets[row])}, allowed are 0 to {classes - 1}")
    absent = (torch.bincount(targets, minlength=classes) == 0).nonzero()
    if len(absent):
        raise PluginError(f"{place}: class {int(absent[0])} of {classes} has no example")


def fingerprint(pair: Pair) -> str:
    """SHA-256 over types, shapes and bytes of the inputs and targets."""
    digest = hashlib.sha256()
    for tensor in pair:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Division:
    """What one run may see: training and validation examples, and the test set for final runs only."""

    train: Pair
    validation: Pair
    test: Pair | None


def divide(splits: Splits, *, seed: int, train: int | None, validation: int, with_test: bool) -> Division:
    """Draw validation and training examples without overlap from the training split, in the order of one shuffle.

    A smaller `train` is a prefix of a larger one with the same seed and `validation`.

    Raises:
        ValueError: more examples are asked for than there are.
    """
    inputs, targets = splits.train
    left = len(inputs) - validation
    if left < 1 or (train is not None and train > left):
        raise ValueError(
            f"{train or 'some'} training and {validation} validation examples asked for, "
            f"the training split has {len(inputs)}"
        )
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    held, used = order[:validation], order[validation : validation + (left if train is None else train)]
    return Division(
        train=(inputs[used], targets[used]),
        validation=(inputs[held], targets[held]),
        test=splits.test if with_test else None,
    )
