"""Data sets as tensors: loaded, checked against the contract, fingerprinted.

Tensor axes: N examples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness import registry, spec
from harness.errors import PluginError
from harness.hookspecs import Splits
from harness.registry.catalog import Origin
from harness.train.device import apart
from harness.train.feed import Pair

Split = Pair | Any
"""A pair of tensors, or a map-style data set of pairs."""


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
    for split, found in (("train", splits.train), ("test", splits.test)):
        place = f"dataset '{name}', {split} split"
        if in_memory(found):
            _check_pair(found, splits, place)
        else:
            _check_map_style(found, splits, place)


def in_memory(split: Split) -> bool:
    """Whether a split is a pair of tensors."""
    return isinstance(split, tuple | list)


def size(split: Split) -> int:
    """Number of examples N."""
    return len(split[0]) if in_memory(split) else len(split)


def example(split: Split) -> Pair:
    """The first example as a batch: inputs (1, ...), targets (1, ...)."""
    if in_memory(split):
        return split[0][:1], split[1][:1]
    with apart(0):
        inputs, targets = split[0]
    return inputs[None], torch.as_tensor(targets)[None]


def _check_pair(pair: Any, splits: Splits, place: str) -> None:
    if len(pair) != 2 or not all(isinstance(tensor, torch.Tensor) for tensor in pair):
        raise PluginError(f"{place}: must be a pair of tensors (inputs, targets)")
    inputs, targets = pair
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise PluginError(f"{place}: {len(inputs)} inputs for {len(targets)} targets")
    _check_shape(inputs, splits, place)
    _check_finite(inputs, "input", place)
    _check_finite(targets, "target", place)
    if splits.classes is not None:
        _check_labels(targets, splits.classes, place)


def _check_map_style(found: Any, splits: Splits, place: str) -> None:
    """Only its first example is looked at; what is wrong with another one is the reason of the run that meets it."""
    if not (hasattr(found, "__len__") and hasattr(found, "__getitem__")):
        what = type(found).__name__
        raise PluginError(f"{place}: must be a pair of tensors or a map-style data set with a length, got {what}")
    if len(found) == 0:
        raise PluginError(f"{place}: 0 examples")
    if splits.fingerprints is None or len(splits.fingerprints) != 2 or not all(splits.fingerprints):
        raise PluginError(f"{place}: a map-style data set needs fingerprints=(train, test): it is not read through")
    item: Any = found[0]
    if not (isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], torch.Tensor)):
        raise PluginError(f"{place}: items must be pairs (input tensor, target), got {type(item).__name__}")
    _check_shape(item[0][None], splits, place)


def _check_shape(inputs: torch.Tensor, splits: Splits, place: str) -> None:
    first = example(splits.train)[0]
    if inputs.shape[1:] != first.shape[1:]:
        raise PluginError(f"{place}: inputs {tuple(inputs.shape[1:])} differ in shape from the training split's")


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


def outputs(splits: Splits) -> int:
    """Values that a network gives for an example: one a class, or those of a target."""
    return splits.classes if splits.classes is not None else math.prod(example(splits.train)[1].shape[1:])


def fingerprint(pair: Pair) -> str:
    """SHA-256 over types, shapes and bytes of the inputs and targets."""
    digest = hashlib.sha256()
    for tensor in pair:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprints(splits: Splits) -> dict[str, str]:
    """What identifies the training and the test split: their hash, or what a map-style data set says of itself."""
    declared = splits.fingerprints or ("", "")
    both: dict[str, tuple[Split, str]] = {"train": (splits.train, declared[0]), "test": (splits.test, declared[1])}
    return {
        name: fingerprint(split) if in_memory(split) else spec.digest([name, said])
        for name, (split, said) in both.items()
    }


def class_counts(splits: Splits) -> list[int] | None:
    """Training examples by class; None for a regression, and where nobody reads the whole split."""
    if splits.classes is None or not in_memory(splits.train):
        return None
    return torch.bincount(splits.train[1], minlength=splits.classes).tolist()
