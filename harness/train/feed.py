"""From a split to batches: how long a run trains, in which order, and how examples come to the device.

A split in memory lies on the device as one tensor, and a batch is a gather of indices. A map-style data set that is too
large for memory goes through torch's DataLoader behind the same two methods.

Tensor axes: N examples of a split, B examples of a batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader

from harness import spec
from harness.pruning import EVALUATIONS_BY_STEPS
from harness.train.device import apart

Pair = tuple[torch.Tensor, torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Inputs (B, ...), targets (B, ...) and the places of the examples in their split (B,), all on the device."""
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Budget:
    """How long a run trains: total steps, and the steps after which it is evaluated."""

    steps: int
    steps_per_epoch: int
    evaluated_after: tuple[int, ...]

    @classmethod
    def of(cls, problem: Mapping[str, Any], examples: int) -> Budget:
        """An epoch has ceil(N / batch) steps, the last one smaller; a budget in steps has whole batches only."""
        per_epoch = math.ceil(examples / problem["batch_size"])
        if problem["epochs"] is not None:
            steps = per_epoch * problem["epochs"]
            return cls(steps, per_epoch, tuple(range(per_epoch, steps + 1, per_epoch)))
        steps = problem["steps"]
        times = min(steps, EVALUATIONS_BY_STEPS)
        return cls(steps, per_epoch, tuple(math.floor(steps * k / times + 0.5) for k in range(1, times + 1)))


def batches(
    examples: int, *, size: int, seed: int, whole: bool, device: torch.device | None = None
) -> Iterator[torch.Tensor]:
    """Endless batches of indices, each shuffle seeded by itself and put on the device as a whole.

    With `whole`, batches are cut across shuffles and all have `size` examples; else the last of a shuffle is smaller.
    """
    size = min(size, examples)
    rest = torch.empty(0, dtype=torch.int64, device=device)
    for shuffle in itertools.count():
        order = torch.randperm(examples, generator=torch.Generator().manual_seed(spec.seed(seed, shuffle))).to(device)
        order = torch.cat([rest, order]) if whole else order
        pieces = list(torch.split(order, size))
        rest = pieces.pop() if whole and len(pieces[-1]) < size else rest[:0]
        yield from pieces


class Examples(Protocol):
    """A split as training sees it."""

    order_device: torch.device
    """Where the indices of batches are wanted."""

    def __len__(self) -> int:
        """Number of examples N."""

    def batches(self, indices: Iterable[torch.Tensor], *, seed: int) -> Iterator[Batch]:
        """The examples of each tensor of indices (B,).

        What a data set draws for an example depends on `seed` and the example alone.
        """

    def chunks(self) -> Iterator[Pair]:
        """The whole split in order, in large batches."""


class Resident:
    """A split as two tensors on the device; images are channels-last."""

    def __init__(self, pair: Pair, device: torch.device) -> None:
        inputs, targets = pair
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.inputs, self.targets = inputs.to(device), targets.to(device)
        self.order_device = device

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, indices: Iterable[torch.Tensor], *, seed: int) -> Iterator[Batch]:
        """Gathers."""
        inputs, targets = self.inputs, self.targets
        for index in indices:
            yield inputs[index], targets[index], index

    def chunks(self) -> Iterator[Pair]:
        """Views."""
        return zip(torch.split(self.inputs, EVALUATION_BATCH), torch.split(self.targets, EVALUATION_BATCH), strict=True)


class Streamed:
    """Some examples of a map-style data set, read when they are needed by `loaders` processes (0: by this one)."""

    def __init__(self, source: Any, index: torch.Tensor | None, device: torch.device, *, loaders: int = 0) -> None:
        self.source, self.device, self.loaders = source, device, loaders
        self.index = torch.arange(len(source)) if index is None else index
        self.order_device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.index)

    def batches(self, indices: Iterable[torch.Tensor], *, seed: int) -> Iterator[Batch]:
        """Through a DataLoader whose order is ours."""
        order = list(indices)
        loaded = self._load([self.index[index].tolist() for index in order], seed)
        for (inputs, targets), index in zip(loaded, order, strict=True):
            yield inputs, targets, index.to(self.device, non_blocking=True)

    def chunks(self) -> Iterator[Pair]:
        """Through a DataLoader, in order."""
        return self._load([piece.tolist() for piece in torch.split(self.index, EVALUATION_BATCH)], 0)

    def _load(self, order: Sequence[list[int]], seed: int) -> Iterator[Pair]:
        loader: Any = DataLoader(
            cast("Any", _Keyed(self.source, seed)),
            batch_sampler=order,
            num_workers=self.loaders,
            generator=torch.Generator().manual_seed(0),  # else it would draw from the run's own
            pin_memory=self.device.type == "cuda",
        )
        for inputs, targets in loader:
            if inputs.dim() == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            yield inputs.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)


class _Keyed:
    """A map-style data set whose draws depend on a seed and the index alone, in whatever process it is read."""

    def __init__(self, source: Any, seed: int) -> None:
        self.source, self.seed = source, seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        with apart(spec.seed(self.seed, index)):
            return self.source[index]
