"""What a fine-tuning run records beside its scores: what it trained, what that costs, and how far it moved.

Sizes are bytes, the same on any device. θ⁰ is `Transfer.start`: the state before the strategy's `prepare`.
"""

from __future__ import annotations

import contextlib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.strategies import Parameter, RunningPhase, Transfer, forgetting
from harness.strategies.blocks import NORMS
from harness.strategies.source import Source
from harness.train import snapshot
from harness.train.feed import Examples
from harness.train.returned import BadOutput

COUNTED_STEPS = 2
"""So many steps of a phase are looked at for `saved_bytes`: the first may be the smaller last batch of an epoch."""
MEASURED = (
    "worst_class_accuracy",
    "start_accuracy",
    "forgetting_kept",
    "forgetting_refit",
    "stored_bytes",
    "saved_bytes",
    "optimizer_state_bytes",
    "steps_to_95",
    "curve_area",
    "drift",
    "frozen_intact",
    "blocks",
)
"""What only a final run that ended well has."""
Squares = tuple[float, float]
"""Squared change and squared start of one parameter."""
Place = tuple[Parameter, Squares]
_ORIGINAL = re.compile(r"(^|\.)parametrizations\.(\w+)\.original$")


@dataclass(frozen=True)
class Finished:
    """A run that has trained and was tested, and how its networks are read."""

    step: int
    """Steps that it took."""
    curve: Sequence[tuple[int, float]]
    """Step and value of the compared metric on validation at each evaluation."""
    direction: str
    """Of that metric."""
    details: Mapping[str, Any] | None
    """Of the test set (`harness.details`)."""
    test: Examples
    autocast: Callable[[], AbstractContextManager[Any]]
    """The precision that the run computes with."""
    build_source: Callable[[], nn.Module] | None
    """Gives the source's network with its weights; None for a strategy that starts at random."""


class Unmeasured:
    """A run of which nothing is measured: one without a source, or one that only tunes."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def counting(self, phase: RunningPhase, step: int) -> AbstractContextManager[None]:
        """Goes around what makes autograd save tensors, in the phase after so many steps of the run."""
        return contextlib.nullcontext()

    def note_modes(self) -> None:
        """A stretch of training begins, the modes of its layers set."""

    def phase_ended(self, optimizer: torch.optim.Optimizer) -> None:
        """A phase is over that trained by this optimizer."""

    def before_finish(self, step: int) -> None:
        """Training is over after `step` steps, and the strategy has not finished the model yet."""

    def after_finish(self, run: Finished) -> None:
        """The model is finished and was tested."""

    def state(self) -> dict[str, Any] | None:
        """What a resumed run cannot measure again, as plain data; None where there is nothing."""
        return None

    def recall(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""


class Measures(Unmeasured):
    """What is measured while a final run trains, and when it has; `state` and `recall` carry it over a resume."""

    def __init__(self, transfer: Transfer, source: Source) -> None:
        super().__init__()
        self.transfer, self.source = transfer, source
        self._known = {id(parameter.tensor): parameter.name for parameter in transfer.parameters()}
        self._saved = 0
        self._optimizer = 0
        self._norms: set[str] = set()

    def counting(self, phase: RunningPhase, step: int) -> AbstractContextManager[None]:
        """Count what the block makes autograd save in the first steps of a phase; the most of one block is kept."""
        return self._counting() if step < phase.start + COUNTED_STEPS else contextlib.nullcontext()

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        counter = SavedBytes(self.transfer.model)
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor):
            yield
        self._saved = max(self._saved, counter.total)

    def note_modes(self) -> None:
        """Remember which norm layers are in training mode."""
        modules = self.transfer.model.named_modules()
        self._norms |= {path for path, module in modules if isinstance(module, NORMS) and module.training}

    def phase_ended(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure the state of the phase's optimizer."""
        self._optimizer = max(self._optimizer, tensor_bytes(optimizer.state))

    def before_finish(self, step: int) -> None:
        """Compare the trained state with θ⁰, after `step` steps.

        Raises:
            BadOutput: a tensor changed that no phase trained.
        """
        held = self._tensors()
        if (name := self._changed_though_frozen(held, step)) is not None:
            raise BadOutput(f"frozen_changed: {name}")
        start = self.transfer.start
        stored = [tensor for name, tensor in held.items() if not _same(start.get(name), tensor)]
        self.found["stored_bytes"] = sum(tensor.numel() * tensor.element_size() for tensor in stored)
        self.found["frozen_intact"] = True

    def after_finish(self, run: Finished) -> None:
        """Measure how far the finished model is from θ⁰, how it came there, and what it forgot."""
        moved = [_moved(self.transfer, parameter) for parameter in self.transfer.parameters()]
        places = list(zip(self.transfer.parameters(), moved, strict=True))
        self.found |= {
            "saved_bytes": self._saved,
            "optimizer_state_bytes": self._optimizer,
            "drift": relative([pair for parameter, pair in places if not parameter.head]),
            "blocks": blocks(self.transfer, run.step, places),
            **curve_summary(run.curve, direction=run.direction),
            "worst_class_accuracy": worst_class_accuracy(run.details),
        }
        if run.build_source is not None:
            reader = forgetting.Reader(self.transfer.head, run.autocast)
            self.found |= forgetting.against_source(
                self.source, self.transfer, build=run.build_source, test=run.test, reader=reader
            )

    def state(self) -> dict[str, Any]:
        """Of phases so far, the most bytes, and norm layers that were in training mode."""
        return {"saved": self._saved, "optimizer": self._optimizer, "norms": sorted(self._norms)}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._saved, self._optimizer = state["saved"], state["optimizer"]
        self._norms = set(state["norms"])

    def _tensors(self) -> dict[str, torch.Tensor]:
        """What the model holds now, each tensor once, by the name that it had before `prepare`."""
        found: dict[str, torch.Tensor] = {}
        seen: set[int] = set()
        for name, tensor in self.transfer.model.state_dict(keep_vars=True).items():
            if isinstance(tensor, torch.Tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                found[self._known.get(id(tensor)) or _ORIGINAL.sub(r"\1\2", name)] = tensor
        return found

    def _changed_though_frozen(self, held: Mapping[str, torch.Tensor], step: int) -> str | None:
        """Of parameters that were never selected, and buffers of norms never in training mode, the first changed."""
        selected, start = _selected(self.transfer, step), self.transfer.start
        norms = {path for path, module in self.transfer.model.named_modules() if isinstance(module, NORMS)}
        still = norms - self._norms
        for name, tensor in held.items():
            frozen = name not in selected if isinstance(tensor, nn.Parameter) else name.rpartition(".")[0] in still
            if frozen and name in start and not _same(start[name], tensor):
                return name
        return None


class SavedBytes:
    """A hook for saved tensors that adds up their storages, each once; those of parameters are there anyway."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        # Storages are held on to, so that no address is used twice.
        self._storages = {p.untyped_storage().data_ptr(): p.untyped_storage() for p in model.parameters()}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count the tensor, and keep it without its graph, which would hold on to itself."""
        if tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._storages:
                self._storages[storage.data_ptr()] = storage
                self.total += storage.nbytes()
        return tensor.detach()


def record(source: Source, transfer: Transfer, *, trainable_share: float, found: Mapping[str, Any]) -> dict[str, Any]:
    """The part `transfer` of a result; of `MEASURED`, what is not `found` is null."""
    return {
        "source_run": source.run_id,
        "source_sha256": source.sha256 or None,
        "selection": transfer.selection,
        "trainable_share": trainable_share,
        **dict.fromkeys(MEASURED),
        **found,
        "phases": [[phase.name, phase.start, phase.end] for phase in transfer.phases],
    }


def blocks(transfer: Transfer, step: int, places: Sequence[Place]) -> list[dict[str, Any]]:
    """By block: parameters (what the strategy added included), how many of them some phase trained, the multiplier of
    each phase (the largest in the block, None where all of it was frozen) and the drift, None for a new head.
    """
    selected = _selected(transfer, step)
    made = []
    for block in range(transfer.n_blocks):
        here = [(parameter, pair) for parameter, pair in places if parameter.block == block]
        names = [parameter.name for parameter, _ in here]
        multipliers = [[phase.multipliers[n] for n in names if n in phase.multipliers] for phase in transfer.phases]
        fresh = transfer.new_head and any(parameter.head for parameter, _ in here)
        made.append(
            {
                "block": block,
                "parameters": sum(parameter.tensor.numel() for parameter, _ in here),
                "trained": sum(parameter.tensor.numel() for parameter, _ in here if parameter.name in selected),
                "multipliers": [max(some, default=None) for some in multipliers],
                "drift": None if fresh else relative([pair for _, pair in here]),
            }
        )
    return made


def relative(pairs: Sequence[Squares]) -> float | None:
    """Root of the summed squared changes over the summed squares at the start; None where these are 0."""
    change, start = (math.fsum(column) for column in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    return math.sqrt(change / start) if start > 0 else None


def tensor_bytes(state: Any) -> int:
    """Bytes of all tensors in nested tables and lists."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(map(tensor_bytes, state.values()))
    return sum(map(tensor_bytes, state)) if isinstance(state, list | tuple) else 0


def curve_summary(curve: Sequence[tuple[int, float]], *, direction: str) -> dict[str, Any]:
    """Of a validation curve of (step, value): the mean, and the first step within 5 % of the last value.

    Those are values of at least 95 % of it where it is above 0 and more is better; where less is better, it is at least
    95 % of them. Both are None of a run without a curve, as where it has no validation set.
    """
    if not curve:
        return {"steps_to_95": None, "curve_area": None}
    sign = 1.0 if direction == "maximize" else -1.0
    values = [value for _, value in curve]
    bar = values[-1] * 0.95 if sign * values[-1] > 0 else values[-1] / 0.95
    return {
        "steps_to_95": next(step for step, value in curve if sign * value >= sign * bar),
        "curve_area": math.fsum(values) / len(values),
    }


def worst_class_accuracy(details: Mapping[str, Any] | None) -> float | None:
    """Least share of right ones among the examples of a class, by the details of a test set; None without classes."""
    if details is None or details["task"] != "classification":
        return None
    counts = zip(details["right"], details["support"], strict=True)
    return min(float(right / support) for right, support in counts if support)


def _selected(transfer: Transfer, step: int) -> set[str]:
    """Names of parameters that were trained in the phases of the first `step` steps."""
    return {name for phase in transfer.phases if phase.steps and phase.start < step for name in phase.multipliers}


def _same(one: torch.Tensor | None, other: torch.Tensor) -> bool:
    return one is not None and snapshot.equal(one, other)


def _moved(transfer: Transfer, parameter: Parameter) -> Squares:
    """Squared change since θ⁰, and squared θ⁰; both 0 for what was added."""
    if parameter.name not in transfer.start:
        return 0.0, 0.0
    start = _precise(transfer.start[parameter.name])
    try:  # the value that the layer computes with, where a parametrisation is left in place
        with torch.no_grad():
            now = operator.attrgetter(parameter.name)(transfer.model)
    except AttributeError:
        now = parameter.tensor
    change = _precise(now.detach().cpu()) - start
    return float(change.abs().square().sum()), float(start.abs().square().sum())


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in 64 bits each; complex ones stay complex."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
