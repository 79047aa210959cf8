"""One forward pass of a network, and what it shows: which modules are called when, and which tensors are read.

It is one of a single example in evaluation mode; it draws no random number and leaves no trace in the model.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from harness.errors import PluginError


@dataclass
class Trace:
    """What one forward pass showed, by module name."""

    calls: int = 0
    of_module: Counter[str] = field(default_factory=Counter)
    """How often each module was called."""
    drawn: bool = False
    """Whether an operation took random numbers, from torch's generators or one of the model's own."""
    first: dict[str, int] = field(default_factory=dict)
    """When the module was first called, as a count of calls."""
    last: dict[str, int] = field(default_factory=dict)
    """When it was last called."""
    widths: dict[str, int] = field(default_factory=dict)
    """Size of the second axis of what it returned, where that was one tensor."""
    used: set[int] = field(default_factory=set)
    """Identities of the tensors that any operation read."""
    followed: list[tuple[str, str]] = field(default_factory=list)
    """Layers whose output went into a batch or instance normalisation as it was, each with the name of that."""
    latest: tuple[str, torch.Tensor] | None = None
    """The layer that returned last, and what."""
    under_way: list[str] = field(default_factory=list)
    """Modules that were called and have not returned, the innermost last."""
    readers: dict[int, set[str]] = field(default_factory=dict)
    """By identity of a tensor, the innermost modules whose calls read it."""


def trace(model: nn.Module, example: torch.Tensor) -> Trace:
    """Run inputs (1, ...) through the model and note the order of calls.

    Raises:
        PluginError: it returns something else than a tensor, or other outputs each time.
    """
    found, name = Trace(), type(model).__name__
    with contextlib.ExitStack() as still:
        devices = [example.device] if example.device.type == "cuda" else []
        still.enter_context(torch.random.fork_rng(devices=devices))
        still.enter_context(_evaluating(model))
        still.enter_context(torch.no_grad())
        before = torch.get_rng_state()
        outputs = _watched(model, example, found)
        if not isinstance(outputs, torch.Tensor):
            what = type(outputs).__name__
            raise PluginError(f"{name} must return one tensor of outputs in evaluation mode, got {what}")
        found.drawn |= not torch.equal(before, torch.get_rng_state())
        if found.drawn and not torch.allclose(outputs, model(example), rtol=1e-5, atol=1e-6, equal_nan=True):
            raise PluginError(
                f"{name} draws random numbers in evaluation mode: two passes over one example give other outputs; draw "
                "only where self.training is true"
            )
    return found


def _watched(model: nn.Module, example: torch.Tensor, found: Trace) -> Any:
    """What the model returns, every call on the way noted."""
    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(partial(_note_call, found, name)).remove)
            stack.callback(module.register_forward_hook(partial(_note_width, found, name)).remove)
        stack.enter_context(_Reading(found))
        outputs = model(example)
    found.latest = None
    return outputs


def _note_call(found: Trace, name: str, module: nn.Module, inputs: Any) -> None:
    found.first.setdefault(name, found.calls)
    found.last[name] = found.calls
    found.of_module[name] += 1
    found.calls += 1
    found.under_way.append(name)
    if isinstance(module, _NormBase) and found.latest is not None and inputs and inputs[0] is found.latest[1]:
        found.followed.append((found.latest[0], name))


def _note_width(found: Trace, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    found.under_way.pop()
    if isinstance(output, torch.Tensor) and output.dim() >= 2:
        found.widths[name] = output.shape[1]
    if owns_parameters(module) and isinstance(output, torch.Tensor):
        found.latest = (name, output)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, then each module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _Reading(TorchFunctionMode):
    """Notes the identity of every tensor that is an argument of an operation, and whether a generator is one."""

    def __init__(self, found: Trace) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, reader = [*args, *(kwargs or {}).values()], self.found.under_way[-1:]
        self._note(given)
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor | list | tuple) and not isinstance(result, torch.Size):
            self._note_reader(given, reader)
        return result

    def _note_reader(self, values: Iterable[Any], reader: Sequence[str]) -> None:
        """Of what gives tensors: a dtype or a device says nothing of a tensor's numbers."""
        for value in values:
            if isinstance(value, torch.Tensor):
                self.found.readers.setdefault(id(value), set()).update(reader)
            elif isinstance(value, list | tuple):
                self._note_reader(value, reader)

    def _note(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, torch.Tensor):
                self.found.used.add(id(value))
            elif isinstance(value, torch.Generator):
                self.found.drawn = True
            elif isinstance(value, list | tuple):
                self._note(value)


def owns_parameters(module: nn.Module) -> bool:
    """Whether the module has parameters of its own, beside those of modules inside it."""
    return any(True for _ in module.parameters(recurse=False))
