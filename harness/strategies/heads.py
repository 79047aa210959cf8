"""The output layer of a network for a new problem: as many outputs, drawn from a generator of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from harness.errors import PluginError

_WAYS = "normal:STD, zeros, default, keep"


@dataclass(frozen=True)
class NewHead:
    """What the output layer becomes when a trained network is moved to a new problem."""

    outputs: int
    """K of the new problem."""
    init: str
    """`normal:STD` (weights of that standard deviation, biases 0), `zeros`, `default` (as torch initialises such a
    layer) or `keep` (the layer stays as it was trained, where it has as many outputs)."""
    generator: torch.Generator
    """For all draws, so that they shift no other stream; on the CPU."""

    def __post_init__(self) -> None:
        if self.init not in ("zeros", "default", "keep"):
            self.deviation  # noqa: B018  # refuses what it cannot read

    @property
    def deviation(self) -> float:
        """STD of `normal:STD`.

        Raises:
            ValueError: `init` is something else.
        """
        kind, _, number = self.init.partition(":")
        try:
            found = float(number) if kind == "normal" else math.nan
        except ValueError:
            found = math.nan
        if not (math.isfinite(found) and found > 0):
            raise ValueError(f"a head's init must be one of {_WAYS} (STD above 0), got {self.init!r}")
        return found


def check(model: nn.Module, head: str, new: NewHead, *, outputs: int | None) -> None:
    """Nothing, where the layer named `head` can become the new one.

    Args:
        outputs: K of the network as it is.

    Raises:
        PluginError: it is no `Linear` and no 1x1 `Conv2d`, its outputs are not the network's, or it is kept although
            the new problem has another number of outputs.
    """
    name = type(model).__name__
    layer = _layer(model, head)
    found, given = _outputs(layer), new.outputs
    if found != outputs:
        raise PluginError(
            f"the head '{head}' of {name} gives {found} outputs and the network {outputs}, so another head would not "
            f'give {given}; name the layer whose outputs are the network\'s: Model(..., head="...")'
        )
    if new.init == "keep" and given != found:
        raise PluginError(
            f"the head '{head}' of {name} cannot be kept: it has {found} outputs, the new problem {given}; give the "
            f"new head an init of its own: normal:0.01, zeros or default"
        )


def tied(model: nn.Module, head: str) -> bool:
    """Whether a tensor of the layer also belongs to another one."""
    layer = model.get_submodule(head)
    own = {id(tensor) for tensor in layer.parameters()}
    others = (module for module in model.modules() if module is not layer)
    return any(id(tensor) in own for module in others for tensor in module.parameters(recurse=False))


def replace(model: nn.Module, head: str, new: NewHead) -> bool:
    """Give the layer named `head` its new weights, on the device, in the dtype and memory format of the old ones.

    The layer itself stays, with its hooks and its place in the network, whoever else refers to it. What is tied to its
    old weights keeps them. `check` must have passed.

    Returns:
        Whether the head is new; a kept one is not.
    """
    if new.init == "keep":
        return False
    layer = _layer(model, head)
    old, bias = layer.weight, layer.bias
    weight = torch.empty(new.outputs, *old.shape[1:], dtype=old.dtype)
    layer.weight = nn.Parameter(_laid_out_like(old, _drawn(weight, new)))
    if bias is not None:
        layer.bias = nn.Parameter(_drawn_bias(weight, new).to(bias.device, bias.dtype))
    setattr(layer, _count(layer), new.outputs)
    return True


def _layer(model: nn.Module, head: str) -> nn.Linear | nn.Conv2d:
    """The layer, if it is of a kind whose number of outputs can be changed.

    Raises:
        PluginError: it is not.
    """
    found = model.get_submodule(head)
    plain = {name for name, _ in found.named_parameters()} <= {"weight", "bias"} and not list(found.children())
    if head and plain and isinstance(found, nn.Linear):
        return found
    if head and plain and isinstance(found, nn.Conv2d) and found.kernel_size == (1, 1) and found.groups == 1:
        return found
    what = f"the whole network, {type(found).__name__}" if not head else f"'{head}', {type(found).__name__}"
    raise PluginError(
        f"the head of {type(model).__name__} is {what}; only a Linear or a 1x1 Conv2d inside the network can get "
        'other outputs: name such a layer, Model(..., head="..."), or end the network in one'
    )


def _count(layer: nn.Linear | nn.Conv2d) -> str:
    return "out_features" if isinstance(layer, nn.Linear) else "out_channels"


def _outputs(layer: nn.Linear | nn.Conv2d) -> int:
    return int(getattr(layer, _count(layer)))


@torch.no_grad()
def _drawn(weight: torch.Tensor, new: NewHead) -> torch.Tensor:
    if new.init == "zeros":
        return weight.zero_()
    if new.init == "default":
        return nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=new.generator)
    return weight.normal_(0.0, new.deviation, generator=new.generator)


@torch.no_grad()
def _drawn_bias(weight: torch.Tensor, new: NewHead) -> torch.Tensor:
    """Biases (K,): 0, but for `default`, where they are uniform within 1 / sqrt(inputs) as torch has them."""
    bias = torch.zeros(len(weight), dtype=weight.dtype)
    if new.init != "default":
        return bias
    bound = 1 / math.sqrt(weight[0].numel())
    return bias.uniform_(-bound, bound, generator=new.generator)


def _laid_out_like(old: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The weight with the device and, as far as another number of outputs has them, the strides of the old one."""
    if old.stride(0) != old[0].numel():
        return weight.to(old.device)
    # A 1x1 convolution is contiguous in both memory formats, and only its strides tell them apart.
    laid = torch.empty_strided(tuple(weight.shape), old.stride(), dtype=old.dtype, device=old.device)
    return laid.copy_(weight)
