"""What one run may see of a data set: training, validation and test examples, by the seed of its replicate's split.

Tensor axes: N examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness import sizes
from harness.hookspecs import Splits
from harness.train.data import Split, example, in_memory, size
from harness.train.feed import Examples, Pair, Resident, Streamed


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
class Within:
    """The share of each class's labels that validates, in place of examples beside them."""

    share: float
    turn: int
    """Which piece of that size it is, from 0; from the beginning again where they run out. So repeats of a trial that
    share their labels validate on different ones."""


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
    within: Within | None = None,
) -> Division:
    """Draw validation and training examples without overlap from the training split, in the order of one shuffle.

    A smaller `train` or `labels_per_class` is a part of a larger one with the same seed and `validation`.

    Args:
        labels_per_class: so many training examples of each class, or "all"; validation has as many of each class then.
        fold: what is held out as the test set; the data set's own test split is not looked at then.
        subset: the block of each class that the labels are cut from; where it is too small, all of the class's are
            one block.
        within: what of the labels validates.

    Raises:
        ValueError: more examples are asked for than there are.
    """
    pool, held_out = _pool(splits, fold)
    order = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))]
    if labels_per_class is None:
        held, used = _prefixes(order, train, validation)
    else:
        labels = _labels(splits, "labels_per_class")
        held, used = _balanced(order, labels, labels_per_class, validation, subset, within)

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
    order: torch.Tensor,
    labels: torch.Tensor,
    each: int | str,
    validation: int,
    subset: Subset | None,
    within: Within | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Validation examples in equal numbers of each class (the first classes have one more), then `each` of each."""
    by_class = [order[labels[order] == label] for label in range(int(labels.max()) + 1)]
    held, used = [], []
    for label, (some, share) in enumerate(zip(by_class, sizes.balanced_shares(validation, len(by_class)), strict=True)):
        if share + (0 if each == "all" else int(each)) > len(some) or share >= len(some):
            raise ValueError(
                f"class {label} has {len(some)} examples, {share} are for validation and {each} asked for training"
            )
        begin = share + skipped(len(some) - share, each, subset)
        mine = some[begin:] if each == "all" else some[begin : begin + int(each)]
        inside, rest = (mine[:0], mine) if within is None else _parted(mine, within)
        held += [some[:share], inside]
        used.append(rest)
    return torch.cat(held), torch.cat(used)


def _parted(labelled: torch.Tensor, within: Within) -> tuple[torch.Tensor, torch.Tensor]:
    """What of a class's labels validates, and the rest.

    Raises:
        ValueError: there is one label, which cannot do both.
    """
    if len(labelled) < 2:
        raise ValueError("validation_within needs 2 labels a class, one to train and one to validate on")
    size = sizes.within(len(labelled), within.share)
    inside = torch.zeros(len(labelled), dtype=torch.bool)
    inside[(torch.arange(size) + within.turn * size) % len(labelled)] = True
    return labelled[inside], labelled[~inside]


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
