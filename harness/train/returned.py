"""What losses and metrics return, held against the contract."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class Diverged(Exception):
    """The loss, or a metric, is nan or infinite."""


class BadOutput(Exception):
    """A part returned something outside the contract."""


def as_network(model: str, found: Any) -> nn.Module:
    """What a model's `build` returned, if it is a module whose parameters all have a shape.

    Raises:
        BadOutput: it is something else.
    """
    if not isinstance(found, nn.Module):
        raise BadOutput(f"model '{model}' built {type(found).__name__}, not an nn.Module")
    for name, tensor in (*found.named_parameters(), *found.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            way = "give each layer its sizes, which follow from input_shape"
            raise BadOutput(f"model '{model}' built a lazy layer, '{name}' has no shape yet; {way}")
    return found


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
