"""Every update rule of `torch.optim` by name, with the options of its class, but for those of `optimizers`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch

from harness.hookspecs import Float, Optimizer, hookimpl

Groups = list[dict[str, Any]]

ELSEWHERE = {torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW}
"""What the parts of `optimizers` are made of."""
HOW = ("foreach", "fused", "capturable", "differentiable", "maximize")
"""Arguments that say how a step is carried out, or turn it around: no options of a part."""
DECADE = 10.0
"""The search goes from a tenth of the class's own learning rate to ten times it."""

# By name: what it does in a line, and where it is published. A class that is not here is described by its own words.
KNOWN = {
    "adadelta": (
        "Steps as long as the running mean of earlier steps over that of gradients.",
        "Zeiler 2012 (arXiv:1212.5701), Algorithm 1",
    ),
    "adafactor": (
        "Adam whose second moment is kept as the outer product of two vectors, with steps relative to the weights.",
        "Shazeer & Stern 2018 (arXiv:1804.04235), Algorithms 4 and 5",
    ),
    "adagrad": (
        "Gradient over the root of the sum of all its squares so far.",
        "Duchi, Hazan, Singer 2011, JMLR 12",
    ),
    "adamax": ("Adam by the largest gradient in place of the root mean square.", "Kingma & Ba 2015, Algorithm 2"),
    "asgd": (
        "Gradient descent with a falling rate; torch keeps the average of the weights beside them, and it is not used.",
        "Polyak & Juditsky 1992, SIAM Journal on Control and Optimization 30(4)",
    ),
    "lbfgs": (
        "Quasi-Newton steps from the latest gradients; each step evaluates its batch up to `max_eval` times.",
        "Liu & Nocedal 1989, Mathematical Programming 45; as torch has it",
    ),
    "muon": (
        "Momentum, made orthogonal by a Newton-Schulz iteration; for models whose tensors are all matrices.",
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025 (arXiv:2502.16982)",
    ),
    "nadam": ("Adam with Nesterov's look-ahead.", "Dozat 2016, ICLR workshop"),
    "radam": ("Adam whose first steps are rectified.", "Liu et al. 2020 (arXiv:1908.03265), Algorithm 2"),
    "rmsprop": (
        "Gradient over the root of a running mean of its square.",
        "Tieleman & Hinton 2012, Coursera lecture 6.5",
    ),
    "rprop": (
        "Steps by the sign of the gradient, longer while it stays; for whole data sets rather than batches.",
        "Riedmiller & Braun 1993, ICNN",
    ),
    "sparse_adam": (
        "Adam on the rows that a sparse gradient has; for models whose gradients are all sparse.",
        "Kingma & Ba 2015, Algorithm 1",
    ),
}
# L-BFGS scales its steps itself: 1 is the whole one, and more is too far.
SPACES = {"lbfgs": Float(1e-2, 1.0, log=True)}


def classes() -> dict[str, type[torch.optim.Optimizer]]:
    """The optimizers of the installed torch by the names that people write."""
    found = [getattr(torch.optim, name) for name in torch.optim.__all__]
    kinds = [one for one in found if isinstance(one, type) and issubclass(one, torch.optim.Optimizer)]
    return {snake(kind.__name__): kind for kind in kinds if kind not in {torch.optim.Optimizer, *ELSEWHERE}}


def snake(name: str) -> str:
    """`SparseAdam` as `sparse_adam`, but `RMSprop` and `NAdam` as `rmsprop` and `nadam`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _part(name: str, kind: type[torch.optim.Optimizer]) -> Optimizer:
    first = (inspect.getdoc(kind) or name).splitlines()[0]
    summary, source = KNOWN.get(name, (first, f"torch.optim.{kind.__name__}"))
    signature = inspect.signature(kind)
    params, *options = signature.parameters.values()
    options = [one.replace(kind=one.KEYWORD_ONLY) for one in options if one.name not in HOW]
    signature = signature.replace(parameters=[params, *options])
    refuse = REFUSALS.get(name, _as_they_are)

    def build(params: Iterable[dict[str, Any]], **given: Any) -> torch.optim.Optimizer:
        signature.bind(params, **given)
        plain: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in given.items()}
        return kind(refuse(list(params)), **plain)

    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__doc__ = "\n".join([summary, "", "Args:", *_explained(kind, [one.name for one in options])])
    lr = float(signature.parameters["lr"].default)
    space = SPACES.get(name, Float(lr / DECADE, lr * DECADE, log=True))
    return Optimizer(name, build=build, space={"lr": space}, defaults={"lr": lr}, source=source)


def _explained(kind: type, options: Iterable[str]) -> list[str]:
    """A line for each option, in torch's words."""
    said = re.findall(r"^ +(\w+) \([^)]*\) ?: *(.*(?:\n +(?! |\w+ \().+)*)", kind.__doc__ or "", re.MULTILINE)
    words = {name: " ".join(text.split()) for name, text in said}
    return [f"    {name}: {words.get(name, f'as of torch.optim.{kind.__name__}')}" for name in options]


def _as_they_are(groups: Groups) -> Groups:
    return groups


def _one_group(groups: Groups) -> Groups:
    """All tensors in one group, as L-BFGS wants them, in the plain layout that it takes gradients apart in.

    Raises:
        ValueError: groups have rates of their own.
    """
    rates = {group["lr"] for group in groups if "lr" in group}
    if len(rates) > 1:
        raise ValueError(f"lbfgs: has one learning rate for all parameters, a strategy gives {sorted(rates)}")
    tensors = [tensor for group in groups for tensor in group["params"]]
    for tensor in tensors:
        # A gradient has the layout of its tensor; torch's L-BFGS cannot flatten that of channels-last images.
        tensor.data = tensor.data.contiguous()
    return [{"params": tensors, "lr": rates.pop()} if rates else {"params": tensors}]


def _matrices(name: str, why: str) -> Callable[[Groups], Groups]:
    def check(groups: Groups) -> Groups:
        other = next((t for group in groups for t in group["params"] if t.dim() != 2), None)
        if other is not None:
            raise ValueError(
                f"{name}: {why}, and the model has one of shape {tuple(other.shape)}; use another optimizer"
            )
        return groups

    return check


REFUSALS: dict[str, Callable[[Groups], Groups]] = {
    "lbfgs": _one_group,
    "muon": _matrices("muon", "takes matrices (tensors of two dimensions) only"),
    # What its constructor cannot know, and step would find out: the weights of nn.Embedding(sparse=True) are matrices.
    "sparse_adam": _matrices("sparse_adam", "takes tensors with sparse gradients only, which are matrices"),
}


@hookimpl
def harness_optimizers() -> list[Optimizer]:
    """One for each class of `torch.optim` that `optimizers` leaves."""
    return [_part(name, kind) for name, kind in classes().items()]
