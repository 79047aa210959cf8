"""What losses and metrics return, held against the contract."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch
from torch import nn

_built: weakref.WeakValueDictionary[int, nn.Parameter] = weakref.WeakValueDictionary()
"""Parameters of networks that were built in this process, by identity: two tensors cannot be told apart by `==`."""


class Diverged(Exception):
    """The loss, or a metric, is nan or infinite."""


class BadOutput(Exception):
    """A part returned something outside the contract."""


def as_network(model: str, found: Any) -> nn.Module:
    """What a model's `build` returned, if it is a module of tensors that all have a shape.

    Raises:
        BadOutput: it is something else.
    """
    if not isinstance(found, nn.Module):
        raise BadOutput(f"model '{model}' built {type(found).__name__}, not an nn.Module")
    for name, tensor in (*found.named_parameters(), *found.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            way = "give each layer its sizes, which follow from input_shape"
            raise BadOutput(f"model '{model}' built a lazy layer, '{name}' has no shape yet; {way}")
    for name, value in found.state_dict().items():
        if not isinstance(value, torch.Tensor):
            way = "keep it as a buffer, or out of the state"
            raise BadOutput(
                f"model '{model}' has '{name}' in its state dict, {type(value).__name__} and no tensor; {way}"
            )
    return found


def check_new(model: str, found: nn.Module) -> None:
    """Nothing, where none of the network's parameters trained in one that was built before.

    Raises:
        BadOutput: one did, as where a plugin keeps its networks: a run would begin where another one ended.
    """
    for name, parameter in found.named_parameters():
        if _built.get(id(parameter)) is parameter:
            way = "build must make a new one each time"
            raise BadOutput(f"model '{model}' built '{name}' into an earlier network, and again into this one; {way}")
    _built.update((id(parameter), parameter) for parameter in found.parameters() if parameter.requires_grad)


def check_finite(losses: torch.Tensor, begun: int) -> None:
    """Nothing, where all losses of a stretch that began after `begun` steps are finite.

    Raises:
        Diverged: the first step whose loss is not.
    """
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise Diverged(f"the training loss was {float(losses[first])} at step {begun + first + 1}")


def as_scalar(loss: str, found: Any) -> torch.Tensor:
    """What a loss returned, if it is a floating-point tensor ().

    Raises:
        BadOutput: it is something else.
    """
    if isinstance(found, torch.Tensor) and found.dim() == 0 and found.is_floating_point():
        return found
    what = type(found).__name__
    if isinstance(found, torch.Tensor):
        what += f" of shape {tuple(found.shape)}" if found.dim() else f" of {found.dtype}"
    raise BadOutput(f"loss '{loss}' returned {what}; a floating-point tensor without dimensions is allowed")


def as_number(metric: str, found: Any) -> float:
    """What a metric returned as a number.

    Raises:
        BadOutput: it is none.
        Diverged: it is nan or infinite.
    """
    if isinstance(found, torch.Tensor) and found.numel() == 1:
        found = found.item()
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadOutput(f"metric '{metric}' returned {type(found).__name__}; a number or a tensor of one is allowed")
    if not math.isfinite(found):
        raise Diverged(f"metric '{metric}' was {found}")
    return float(found)
