"""What a phase of a strategy trains: parameters as a strategy sees them, and the multipliers that it gives them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from harness.errors import PluginError
from harness.hookspecs import Phase
from harness.registry.place import where
from harness.strategies.blocks import NORMS, BlockMap, own_parameters
from harness.strategies.calls import calling


@dataclass(frozen=True, eq=False)
class Parameter:
    """One trainable tensor of the model, as `Phase.select` sees it; tied tensors are one."""

    name: str
    """Dotted name in the model, as it was before the strategy's `prepare`."""
    tensor: nn.Parameter
    module: nn.Module
    """The module that owns it."""
    attr: str
    """Its name in that module."""
    block: int
    """Stage that it lies in, 0 on the input side."""
    n_blocks: int
    head: bool
    added: bool = False
    """Made by the strategy's `prepare`."""

    @property
    def depth(self) -> int:
        """Distance from the head, which is at 0."""
        return self.n_blocks - 1 - self.block

    @property
    def bias(self) -> bool:
        """An additive constant, the shift of a norm layer included."""
        return self.attr == "bias" or self.attr.endswith("_bias") or self.attr.startswith("bias_")

    @property
    def norm(self) -> bool:
        """Scale or shift of a norm layer (torch's classes and their subclasses)."""
        return isinstance(self.module, NORMS)


def collect(model: nn.Module, blocks: BlockMap, before: Sequence[Parameter] = ()) -> Iterator[Parameter]:
    """The model's parameters, without those that it holds fixed; what was there `before` keeps its name and place."""
    known = {id(parameter.tensor): parameter for parameter in before}
    last = blocks.n_blocks - 1
    for path, module, attr, tensor in own_parameters(model, blocks.head):
        if id(tensor) in known:
            yield known[id(tensor)]
        elif tensor.requires_grad:
            block, name = blocks.block(path, attr), f"{path}.{attr}".lstrip(".")
            yield Parameter(name, tensor, module, attr, block, last + 1, block == last, added=bool(before))


def _multiplier(parameter: Parameter, phase: Phase, label: str) -> Any:
    """What the phase gives the parameter, unchecked."""
    try:
        with calling(label, f"select of {parameter.name}"):
            return phase.select(parameter)
    except PluginError as error:
        if not isinstance(error.__cause__, OverflowError):
            raise
        place = where(error.__cause__)
        raise PluginError(f"{label}: the multiplier of {parameter.name} is larger than any number{place}") from error


def select(parameters: Sequence[Parameter], phase: Phase, label: str) -> dict[str, float]:
    """The multiplier of each parameter that trains in the phase.

    Raises:
        PluginError: a multiplier means nothing, or nothing is selected.
    """
    multipliers: dict[str, float] = {}
    for parameter in parameters:
        value = _multiplier(parameter, phase, label)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PluginError(f"{label}: select must give {parameter.name} a number or None, got {value!r}")
        if value == 0:
            raise PluginError(
                f"{label}: the multiplier of {parameter.name} is 0; give None to freeze it, since a rate of 0 costs as "
                "much as training and lets norm layers drift"
            )
        if not (math.isfinite(value) and value > 0):
            raise PluginError(f"{label}: the multiplier of {parameter.name} must be above 0 and finite, got {value}")
        multipliers[parameter.name] = float(value)
    if not multipliers:
        raise PluginError(f"{label}: select gives None for all {len(parameters)} parameters, so nothing would train")
    return multipliers
