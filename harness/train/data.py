"""Data sets as tensors: loaded, checked against the contract, fingerprinted, and divided by a replicate's split seed.

Tensor axes: N examples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import registry, spec
from harness.errors import PluginError
from harness.hookspecs import Splits
from harness.registry.catalog import Origin
from harness.sizes import balanced_shares
from harness.train.device import apart
from harness.train.feed import Examples, Pair, Resident, Streamed

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


@dataclass(frozen=True)
class Fold:
    """A fold of a stratified cross-validation: what a replicate tests on, in place of the data set's own test split."""

    of: int
    index: int
    seed: int
    """Of the one partition that all folds belong to."""


@dataclass(frozen=True)
class Subset:
    """Which of so many equal blocks of each class's examples a label budget is cut from."""

    of: int
    block: int


@dataclass(frozen=True)
class Division:
    """What one run may see, on its device: training and validation examples, and the test set for final runs only."""

    train: Examples
    validation: Examples
    test: Examples | None
    example: Pair
    """One training example: inputs (1, ...), targets (1, ...)."""


def divide(
    splits: Splits,
    *,
    seed: int,
    train: int | None,
    validation: int,
    with_test: bool,
    device: torch.device,
    loaders: int = 0,
    labels_per_class: int | str | None = None,
    fold: Fold | None = None,
    subset: Subset | None = None,
) -> Division:
    """Draw validation and training examples without overlap from the training split, in the order of one shuffle.

    A smaller `train` or `labels_per_class` is a part of a larger one with the same seed and `validation`.

    Args:
        labels_per_class: so many training examples of each class, or "all"; validation has as many of each class then.
        fold: what is held out as the test set; the data set's own test split is not looked at then.
        subset: the block of each class that the labels are cut from; where it is too small, all of the class's are
            one block.

    Raises:
        ValueError: more examples are asked for than there are.
    """
    pool, held_out = _pool(splits, fold)
    order = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))]
    if labels_per_class is None:
        held, used = _prefixes(order, train, validation)
    else:
        held, used = _balanced(order, _labels(splits, "labels_per_class"), labels_per_class, validation, subset)

    def some(split: Split, index: torch.Tensor | None) -> Examples:
        if not in_memory(split):
            return Streamed(split, index, device, loaders=loaders)
        inputs, targets = split
        return Resident(split if index is None else (inputs[index], targets[index]), device)

    test = None
    if with_test:  # else it is not even touched
        test = some(splits.test, None) if fold is None else some(splits.train, held_out)
    return Division(
        train=some(splits.train, used),
        validation=some(splits.train, held),
        test=test,
        example=tuple(tensor.to(device) for tensor in example(splits.train)),  # type: ignore[arg-type]
    )


def _prefixes(order: torch.Tensor, train: int | None, validation: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation examples first, then as many training examples as are wanted."""
    left = len(order) - validation
    if left < 1 or (train is not None and train > left):
        raise ValueError(
            f"{train or 'some'} training and {validation} validation examples asked for, the training split has "
            f"{len(order)}"
        )
    return order[:validation], order[validation : validation + (left if train is None else train)]


def _balanced(
    order: torch.Tensor, labels: torch.Tensor, each: int | str, validation: int, subset: Subset | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation examples in equal numbers of each class (the first classes have one more), then `each` of each."""
    by_class = [order[labels[order] == label] for label in range(int(labels.max()) + 1)]
    shares = balanced_shares(validation, len(by_class))
    wanted = [len(some) if each == "all" else share + int(each) for some, share in zip(by_class, shares, strict=True)]
    for label, (some, share, end) in enumerate(zip(by_class, shares, wanted, strict=True)):
        if end > len(some) or share >= len(some):
            raise ValueError(
                f"class {label} has {len(some)} examples, {share} are for validation and {each} asked for training"
            )
    held = torch.cat([some[:share] for some, share in zip(by_class, shares, strict=True)])
    begins = [share + skipped(len(some) - share, each, subset) for some, share in zip(by_class, shares, strict=True)]
    used = torch.cat(
        [
            some[begin : begin + end - share]
            for some, begin, share, end in zip(by_class, begins, shares, wanted, strict=True)
        ]
    )
    return held, used


def skipped(there: int, each: int | str, subset: Subset | None) -> int:
    """Examples of a class, of those that are there beside validation, that lie before the block of a subset."""
    if subset is None or each == "all" or int(each) > there // subset.of:
        return 0
    return subset.block * (there // subset.of)


def _pool(splits: Splits, fold: Fold | None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Indices of the training split that a run may train or validate on, and those of its fold."""
    there = size(splits.train)
    if fold is None:
        return torch.arange(there), None
    labels = None if splits.classes is None else _labels(splits, "folds")
    folds = assign_folds(there, labels, of=fold.of, seed=fold.seed)
    return (folds != fold.index).nonzero()[:, 0], (folds == fold.index).nonzero()[:, 0]


def _labels(splits: Splits, key: str) -> torch.Tensor:
    if splits.classes is None or not in_memory(splits.train):
        raise ValueError(f"{key} needs a data set with classes whose training split is in memory")
    return splits.train[1]


def assign_folds(examples: int, labels: torch.Tensor | None, *, of: int, seed: int) -> torch.Tensor:
    """The fold (N,) of each example: classes are dealt out one after the other, each shuffled, card by card.

    So folds differ by at most one example in size and by at most one in each class. Without labels the whole is
    shuffled and dealt out.
    """
    shuffled = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    if labels is not None:
        shuffled = shuffled[torch.sort(labels[shuffled], stable=True).indices]
    folds = torch.empty(examples, dtype=torch.int64)
    folds[shuffled] = torch.arange(examples) % of
    return folds
