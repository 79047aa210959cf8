"""Ways to fine-tune that change what the weights are made of: added ranks, a pull to the start, interpolation."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize

from harness.hookspecs import Float, Int, NotApplicable, Phase, Strategy, hookimpl
from harness.strategies import Parameter, Transfer

from .strategies_select import probe_then_all, share, whole

# LoRA ----------------------------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """W + scale BA, with W (out, ...) as a matrix (out, in / groups x kernel), A (r, ...) and B (out, r)."""

    def __init__(self, weight: torch.Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns, self.scale = len(weight), weight[0].numel(), scale
        a = torch.empty(rank, columns, dtype=weight.dtype)
        self.a = nn.Parameter(nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator).to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """W + scale BA, in the shape of W."""
        return weight + (self.scale * (self.b @ self.a)).reshape(weight.shape)


def add_ranks(t: Transfer) -> None:
    """Put low-rank matrices on every target; `t.memo["ranks"]` says how many ranks each got."""
    rank = whole("lora", "r", t.options.r, 1, 2**31)
    alpha = rank if t.options.alpha is None else t.options.alpha
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"lora: alpha must be a finite number above 0, got {alpha!r}")
    scale = alpha / (math.sqrt(rank) if t.options.rslora else rank)
    t.memo["ranks"] = {}
    for p in list(_targets(t)):
        least = min(len(p.tensor), p.tensor[0].numel())
        t.memo["ranks"][p.name] = min(rank, least)
        made = LowRank(p.tensor, min(rank, least), scale, t.generator)
        parametrize.register_parametrization(p.module, p.attr, made)


def lora(t: Transfer) -> list[Phase]:
    """Matrices of rank `r` are added to the weights and learn in their place, and the head.

    W + `alpha` / r BA, by default alpha = r; with `rslora` alpha / sqrt(r). A is drawn as torch draws a linear layer, B
    is 0, and both are merged into W at the end. `r` is at most the lesser side of a weight. `targets` is a regular
    expression found in the names of the weights that get them; without it (null) they are those of all linear and
    convolution layers but the head.

    Raises:
        ValueError: `r` is no whole number from 1, `alpha` is not above 0, or `targets` is no regular expression.
        NotApplicable: no weight is a target.
    """
    return [Phase(lambda p: 1.0 if p.added or p.head else None)]


def merge_ranks(t: Transfer) -> None:
    """Put W + scale BA in the place of W."""
    for module in list(t.model.modules()):
        for attr, ranks in list(getattr(module, "parametrizations", {}).items()):
            if isinstance(ranks[0], LowRank):
                parametrize.remove_parametrizations(module, attr)


def _targets(t: Transfer) -> Iterator[Parameter]:
    """Weights of linear and convolution layers, attention's included; not the head's, and none that layers share.

    Raises:
        ValueError: `targets` is no regular expression.
        NotApplicable: there are none, or `targets` is found in no name.
    """
    try:
        named = re.compile(t.options.targets or "")
    except (re.error, TypeError) as error:
        raise ValueError(f"lora: targets must be a regular expression, got {t.options.targets!r}: {error}") from error
    owners = Counter(id(own) for _, own in t.model.named_parameters(remove_duplicate=False))
    found = [p for p in t.parameters() if not p.head and owners[id(p.tensor)] == 1 and _is_weight(p)]
    wanted = [p for p in found if named.search(p.name)]
    if not wanted:
        which = "" if t.options.targets is None else f" whose name has {t.options.targets!r} in it"
        raise NotApplicable(f"the model has no linear or convolution weight before its head{which}")
    yield from wanted


def _is_weight(p: Parameter) -> bool:
    if isinstance(p.module, nn.MultiheadAttention):
        return p.attr.endswith("proj_weight")
    return p.attr == "weight" and isinstance(p.module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


# L2-SP ---------------------------------------------------------------------------------------------------------------


def remember_start(t: Transfer) -> None:
    """Keep the start of what is pulled to it on the parameters' own device."""
    # A function and no table of tensors: a checkpoint holds what is plain, and these need not be in it.
    pairs = [(p.tensor, t.start[p.name].to(p.tensor.device)) for p in t.parameters() if not (p.head and t.new_head)]
    fresh = [p.tensor for p in t.parameters() if p.head and t.new_head]

    def distances() -> tuple[torch.Tensor, torch.Tensor]:
        zero = pairs[0][0].new_zeros(()) if pairs else fresh[0].new_zeros(())
        moved = sum(((tensor - start).square().sum() for tensor, start in pairs), zero)
        return moved, sum((tensor.square().sum() for tensor in fresh), zero)

    t.memo["distances"] = distances


def l2_sp(t: Transfer) -> list[Phase]:
    """Everything learns, pulled to where it started by `alpha`, a new head to 0 by `beta`, without weight decay.

    The loss grows by alpha / 2 |w - w0|^2 + beta / 2 |h|^2, over parameters and no buffers.
    """
    return [Phase(lambda p: 1.0)]


def pull(t: Transfer) -> torch.Tensor:
    """The addition to the loss (Li et al. 2018, equation 3)."""
    distances: Callable[[], tuple[torch.Tensor, torch.Tensor]] = t.memo["distances"]
    moved, fresh = distances()
    alpha, beta = float(t.options.alpha), float(t.options.beta)
    return alpha / 2 * moved + beta / 2 * fresh


# WiSE-FT -------------------------------------------------------------------------------------------------------------


def wise_ft(t: Transfer) -> list[Phase]:
    """Everything learns; then weights and running statistics are `alpha` of the way from where they started.

    With `probe_share` the head learns alone first, and where that left it is its start. Else a new head has none and
    stays as it was trained.

    Raises:
        ValueError: an option is not from 0 to 1.
    """
    share("wise_ft", t.options.alpha, "alpha")
    return probe_then_all(share("wise_ft", t.options.probe_share), 1.0, keep=True)


@torch.no_grad()
def interpolate(t: Transfer) -> None:
    """(1 - alpha) w0 + alpha w, exact at both ends and for what did not move."""
    state, seen = t.model.state_dict(keep_vars=True), set[int]()
    for name, value in state.items():
        head = t.head == "" or name.startswith(f"{t.head}.")
        start = t.kept.get("probe", t.start) if head else t.start
        fresh = head and t.new_head and start is t.start
        if value.is_floating_point() and not fresh and id(value) not in seen:
            seen.add(id(value))  # tied tensors have several names
            value.copy_(torch.lerp(start[name].to(value.device), value, t.options.alpha))


@hookimpl
def harness_strategies() -> list[Strategy]:
    """`lora`, `l2_sp`, `wise_ft`."""
    return [
        Strategy(
            "lora",
            phases=lora,
            prepare=add_ranks,
            finish=merge_ranks,
            defaults={"r": 4, "alpha": None, "rslora": False, "targets": None},
            space={"r": Int(1, 16, log=True)},
            source="Hu et al. 2022 (arXiv:2106.09685); Kalajdzievski 2023 (arXiv:2312.03732) for rslora",
        ),
        Strategy(
            "l2_sp",
            phases=l2_sp,
            prepare=remember_start,
            penalty=pull,
            defaults={"alpha": 0.01, "beta": 0.01},
            space={"alpha": Float(1e-4, 1.0, log=True)},
            weight_decay=False,
            source="Li, Grandvalet, Davoine 2018 (arXiv:1802.01483), equation 3",
        ),
        Strategy(
            "wise_ft",
            phases=wise_ft,
            finish=interpolate,
            defaults={"alpha": 0.5, "probe_share": 0.0},
            space={"alpha": Float(0.0, 1.0)},
            source="Wortsman et al. 2022 (arXiv:2109.01903)",
        ),
    ]
