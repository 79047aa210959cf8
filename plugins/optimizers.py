"""Update rules, as torch computes them.

In the equations g is the gradient, w the weights, t the number of the step from 1; L2 decay adds `weight_decay` w to g.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from harness.hookspecs import Float, Optimizer, hookimpl

Groups = Iterable[dict[str, Any]]


def _fused(groups: list[dict[str, Any]], *, on_cpu: bool) -> bool | None:
    """Torch's fused step where it is the fastest: on a GPU, and for Adam on a CPU too (5 times, measured).

    None leaves the choice to torch.
    """
    kinds = {(tensor.device.type, tensor.is_floating_point()) for group in groups for tensor in group["params"]}
    return True if kinds == {("cuda", True)} or (on_cpu and kinds == {("cpu", True)}) else None


def sgd(params: Groups, *, lr: float = 1e-3, weight_decay: float = 0.0) -> torch.optim.SGD:
    """Plain stochastic gradient descent: w <- w - lr g.

    Args:
        lr: learning rate.
        weight_decay: strength of L2 decay.
    """
    groups = list(params)
    return torch.optim.SGD(groups, lr=lr, weight_decay=weight_decay, fused=_fused(groups, on_cpu=False))


def momentum(
    params: Groups, *, lr: float = 1e-3, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0
) -> torch.optim.SGD:
    """Polyak's heavy ball as torch has it: v <- momentum v + g, then w <- w - lr v; v begins as the first gradient.

    Polyak multiplies the gradient by lr before it enters v; the two differ only when lr changes over time. There is no
    factor (1 - momentum), so a steady gradient moves w by lr / (1 - momentum) a step. The formula that the article
    prints is garbled; its code calls the same torch optimizer.

    Args:
        lr: learning rate.
        momentum: share of v that is kept at each step.
        nesterov: step along g + momentum v instead (Sutskever et al. 2013, equations 3 and 4).
        weight_decay: strength of L2 decay.
    """
    groups = list(params)
    fused = _fused(groups, on_cpu=False)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused)


def adam(
    params: Groups,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Adam: w <- w - lr m / (sqrt(v) + eps), m and v bias-corrected running means of g and of its square.

    Args:
        lr: learning rate.
        beta1: share of m that is kept at each step.
        beta2: share of v that is kept at each step.
        eps: added to the root of v.
        weight_decay: strength of L2 decay, which the root of v rescales; `adamw` decays apart from it.
    """
    groups = list(params)
    fused = _fused(groups, on_cpu=True)
    return torch.optim.Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused)


def adamw(
    params: Groups,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """Adam with decoupled decay: w <- (1 - lr weight_decay) w before Adam's step.

    Args:
        lr: learning rate.
        beta1: share of m that is kept at each step.
        beta2: share of v that is kept at each step.
        eps: added to the root of v.
        weight_decay: strength of the decay; as in torch it is multiplied by lr.
    """
    groups = list(params)
    fused = _fused(groups, on_cpu=True)
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused)


@hookimpl
def harness_optimizers() -> list[Optimizer]:
    """`sgd`, `momentum`, `adam`, `adamw`."""
    # One dimension and two decades each, so that equal trials search every arm equally finely. In a few hundred steps
    # momentum and lr act through lr / (1 - momentum), and a decay of 0.01 at lr 0.001 takes less than 1 % off a weight:
    # neither would earn a dimension.
    return [
        Optimizer(
            "sgd",
            build=sgd,
            space={"lr": Float(1e-2, 1.0, log=True)},
            source="Robbins & Monro 1951, Annals of Mathematical Statistics 22(3); torch.optim.SGD",
        ),
        Optimizer(
            "momentum",
            build=momentum,
            space={"lr": Float(3e-3, 0.3, log=True)},
            source="Polyak 1964; Sutskever et al. 2013, equations 1 and 2, with lr outside of v as in torch.optim.SGD",
        ),
        Optimizer(
            "adam",
            build=adam,
            space={"lr": Float(3e-4, 3e-2, log=True)},
            source="Kingma & Ba 2015 (arXiv:1412.6980), Algorithm 1",
        ),
        Optimizer(
            "adamw",
            build=adamw,
            space={"lr": Float(3e-4, 3e-2, log=True)},
            source="Loshchilov & Hutter 2019 (arXiv:1711.05101), Algorithm 2; decay times lr as in torch",
        ),
    ]
