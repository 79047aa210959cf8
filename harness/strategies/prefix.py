"""Features of a frozen network, kept while only its head trains: evaluations of one split cost the head alone.

Every evaluation reads the split in the same chunks, so what the network gives the head has the same bits each time. In
training an example meets other ones in each batch, and its features differ in their last bit: those are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.strategies import RunningPhase
from harness.train.device import generators
from harness.train.feed import Examples, Pair


class Prefix:
    """A model whose head alone trains, seen from a split that is evaluated again and again in evaluation mode.

    Nothing is kept of a network that does more with the head's output than to return it, that draws numbers, or that
    reads the head's weights on its way to the head.
    """

    def __init__(self, model: nn.Module, head: str) -> None:
        self.model, self.head = model, model.get_submodule(head)
        self._kept: list[Pair] | None = None
        self._usable = True

    @classmethod
    def of(cls, phase: RunningPhase) -> Prefix | None:
        """For a phase in its training modes; None where anything but the head trains, or may note what it sees."""
        model, head = phase.transfer.model, phase.transfer.head
        inside = {id(module) for module in model.get_submodule(head).modules()}
        outside = [module for module in model.modules() if id(module) not in inside]
        moving = any(module.training and any(True for _ in module.buffers(recurse=False)) for module in outside)
        still = phase.transfer.head_apart and all(p.head for p in phase.parameters())
        return cls(model, head) if still and not moving else None

    def scored(self, examples: Examples) -> Iterator[Pair]:
        """Outputs (B, K) and targets (B, ...) of each chunk of the split, always the same split."""
        if self._kept is not None:
            for features, targets in self._kept:
                yield self.head(features), targets
            return
        kept: list[Pair] = []
        before = generators()
        for inputs, targets in examples.chunks():
            outputs, given = self._run(inputs)
            if given is not None:
                kept.append((given, targets))
            yield outputs, targets
        if self._usable and before == generators():
            self._kept = kept
        self._usable = False  # what could not be kept once is not tried again

    def _run(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Outputs, and what the head was given where they are what it gave, untouched."""
        if not self._usable:
            return self.model(inputs), None
        calls: list[_Call] = []
        hook = self.head.register_forward_hook(partial(_note, calls), with_kwargs=True)
        try:
            # Tensors of inference mode do not count how often they were changed in place.
            with torch.inference_mode(False), torch.no_grad():
                outputs = self.model(inputs)
        finally:
            hook.remove()
        if len(calls) == 1 and calls[0].untouched(outputs) and not _hooked(self.head):
            return outputs, calls[0].given[0]
        self._usable = False
        return outputs, None


class _Call(NamedTuple):
    """One call of the head: positional and named arguments, what it gave, and how often either had been changed."""

    given: tuple[Any, ...]
    named: Mapping[str, Any]
    found: Any
    versions: list[int]

    def untouched(self, outputs: Any) -> bool:
        """Whether the call had one tensor as argument, and the outputs are what it gave, neither changed since."""
        if len(self.given) != 1 or self.named or self.found is not outputs:
            return False
        return len(self.versions) == 2 and self.versions == _versions(self.given, self.found)


def _note(calls: list[_Call], head: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any], found: Any) -> None:
    calls.append(_Call(given, named, found, _versions(given, found)))


def _versions(given: tuple[Any, ...], found: Any) -> list[int]:
    return [tensor._version for tensor in (*given, found) if isinstance(tensor, torch.Tensor)]


def _hooked(module: nn.Module) -> bool:
    """Whether hooks may change what goes in or comes out."""
    return bool(module._forward_pre_hooks or module._forward_hooks)
