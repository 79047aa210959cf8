"""Checks of what a training step is made of: models, optimizers, schedules.

Tensor axes: N examples, K outputs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from harness.hookspecs import Model, Optimizer, Schedule
from harness.strategies import blocks
from harness.strategies.trace import trace
from harness.testing.case import Case, NonConforming, Options
from harness.testing.publishing import check_weights
from harness.train.step import needs_closure


def check_model(
    part: Model, *, input_shape: Sequence[int] = (1, 28, 28), outputs: int = 10, options: Options = None
) -> tuple[str, ...]:
    """Shapes, gradients, seeds, evaluation mode, state and head of a model for inputs (N, *input_shape).

    Published weights that it declares are held against the network that they are for; none is looked for or downloaded.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    inputs = torch.randn(4, *input_shape, generator=torch.Generator().manual_seed(0))

    def build(seed: int, options: Mapping[str, Any] = case.options) -> nn.Module:
        torch.manual_seed(seed)
        model = case.run("is built for this input shape", part.build, tuple(input_shape), outputs, **options)
        case.require(isinstance(model, nn.Module), "build returns an nn.Module", type(model).__name__)
        return model  # type: ignore[no-any-return]

    with case.examined():
        model = build(0)
        _check_outputs(case, model, inputs, outputs)
        _check_model_seeds(case, build, inputs)
        _check_evaluation(case, model, inputs)
        other = build(1)
        case.run("another build takes its state_dict", other.load_state_dict, model.state_dict())
        case.same(model(inputs), other.eval()(inputs), "the state_dict holds all that the outputs depend on")
        _check_head(case, model, inputs, outputs)
        for ends in case.ends():
            build(0, ends)
        check_weights(case, part, input_shape)
    return case.kept


def _check_outputs(case: Case, model: nn.Module, inputs: torch.Tensor, outputs: int) -> None:
    found = case.run("takes inputs (N, *input_shape)", model.train(), inputs)
    case.require(isinstance(found, torch.Tensor), "returns one tensor in training mode", type(found).__name__)
    due = (len(inputs), outputs)
    case.require(found.shape == due, f"gives outputs (N, K), here {due}", str(tuple(found.shape)))
    case.finite(found, "outputs are finite numbers")
    found.square().mean().backward()
    for name, tensor in model.named_parameters():
        reached = tensor.grad is not None or not tensor.requires_grad
        case.require(reached, "a gradient reaches every parameter that requires one", f"none at {name}")
        if tensor.grad is not None:
            case.finite(tensor.grad, f"gradients are finite, here that of {name}")
    model.zero_grad(set_to_none=True)


def _check_model_seeds(case: Case, build: Callable[[int], nn.Module], inputs: torch.Tensor) -> None:
    after: list[torch.Tensor] = []
    found: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        model = build(seed)
        after.append(torch.get_rng_state())
        torch.manual_seed(seed)
        found.append(model.train()(inputs))
    case.same(found[0], found[1], "equal seeds give equal weights and equal outputs in training mode")
    reseeded = torch.equal(after[0], after[2])
    case.require(not reseeded, "build does not seed the global generator", "the same state after seeds 0 and 1")


def _check_evaluation(case: Case, model: nn.Module, inputs: torch.Tensor) -> None:
    before = torch.get_rng_state()
    found = model.eval()(inputs)
    case.same(found, model(inputs), "evaluation mode gives the same outputs twice")
    case.same(before, torch.get_rng_state(), "evaluation mode draws no random numbers")
    case.close(model(inputs[:1]), found[:1], "in evaluation mode an output depends on its own example only")


def _check_head(case: Case, model: nn.Module, inputs: torch.Tensor, outputs: int) -> None:
    assert isinstance(case.part, Model)
    rule = "the head is named by the part, or is the last layer with parameters"
    found = case.run(rule, blocks.map_blocks, model, inputs[:1], head=case.part.head, stages="all")
    width = trace(model, inputs[:1]).widths.get(found.head)
    case.require(width == outputs, f"the head gives the {outputs} outputs", f"{width} from '{found.head}'")


def check_optimizer(part: Optimizer, *, options: Options = None) -> tuple[str, ...]:
    """Groups, progress on a quadratic, untouched tensors, state and refusals of an optimizer.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with case.examined():
        bowl = _Bowl(case)
        begun = bowl.value()
        bowl.descend(50)
        case.finite(bowl.weight, "50 steps on a quadratic keep the weights finite")
        case.require(bowl.value() < begun, "50 steps on a quadratic lower it", f"{bowl.value():.6g} from {begun:.6g}")
        same = torch.equal(bowl.idle, torch.ones(3))
        case.require(same, "a tensor without a gradient stays as it is", f"moved to {bowl.idle.tolist()}")
        again = _Bowl(case)
        again.descend(50)
        case.same(bowl.weight, again.weight, "equal seeds give equal weights")
        _check_group_rates(case)
        _check_optimizer_state(case)
        _check_unknown_option(case)
        for ends in case.ends():
            _Bowl(case, ends)
    return case.kept


class _Bowl:
    """Two tensors in two groups, each half the squared distance from 1, and a third without a gradient."""

    def __init__(self, case: Case, options: Mapping[str, Any] | None = None, *, slow: float = 1.0) -> None:
        torch.manual_seed(0)
        self.weight, self.slow = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))
        self.idle = nn.Parameter(torch.ones(3))
        hyperparameters = case.options if options is None else options
        self.lr = hyperparameters.get("lr")
        rates = [{} if self.lr is None else {"lr": self.lr * share} for share in (1.0, slow, 1.0)]
        tensors = [self.weight, self.slow, self.idle]
        groups = [{"params": [tensor], **rate} for tensor, rate in zip(tensors, rates, strict=True)]
        groups[-1]["weight_decay"] = 0.0
        self.optimizer = case.run("is built from parameter groups", case.callable, groups, **hyperparameters)
        built = type(self.optimizer).__name__
        case.require(isinstance(self.optimizer, torch.optim.Optimizer), "build returns a torch optimizer", built)
        held = {id(tensor) for group in self.optimizer.param_groups for tensor in group["params"]}
        case.require(held == set(map(id, tensors)), "holds the tensors that it was given", f"{len(held)} tensors")
        self.case = case

    def value(self) -> float:
        return sum(float((tensor.detach() - 1).square().sum()) / 2 for tensor in (self.weight, self.slow))

    def descend(self, steps: int) -> None:
        for _ in range(steps):
            if needs_closure(self.optimizer):
                self.case.run("steps with a closure", self.optimizer.step, self.differentiate)
            else:
                self.differentiate()
                self.case.run("steps without a closure", self.optimizer.step)

    def differentiate(self) -> torch.Tensor:
        for tensor in (self.weight, self.slow):
            tensor.grad = tensor.detach() - 1
        return torch.tensor(self.value())


def _check_group_rates(case: Case) -> None:
    """A rate of its own for each group is obeyed, or refused by a ValueError."""
    try:
        bowl = _Bowl(case, slow=1e-3)
    except NonConforming as error:
        if isinstance(error.__cause__, ValueError):
            return
        raise
    if bowl.lr is None:
        return
    bowl.descend(3)
    slow, fast = float(bowl.slow.detach().norm()), float(bowl.weight.detach().norm())
    case.require(slow < fast, "a group with a thousandth of the lr moves less", f"{slow:.3g} against {fast:.3g}")


def _check_optimizer_state(case: Case) -> None:
    bowl, resumed = _Bowl(case), _Bowl(case)
    bowl.descend(3)
    file = io.BytesIO()
    torch.save(bowl.optimizer.state_dict(), file)
    file.seek(0)
    state = case.run("the state_dict is plain data", torch.load, file, weights_only=True)
    for tensor, saved in ((resumed.weight, bowl.weight), (resumed.slow, bowl.slow)):
        tensor.data.copy_(saved.data)
    case.run("takes its state_dict back", resumed.optimizer.load_state_dict, state)
    for either in (bowl, resumed):
        torch.manual_seed(1)
        either.descend(3)
    case.same(bowl.weight, resumed.weight, "goes on from its state_dict as if it had not stopped")


def _check_unknown_option(case: Case) -> None:
    unknown = "no_such_hyperparameter"
    try:
        case.callable([{"params": [nn.Parameter(torch.zeros(1))]}], **case.options, **{unknown: 1})
    except Exception:
        return
    raise NonConforming(case.part, "an unknown hyperparameter is refused", f"{unknown}=1 was taken")


def check_schedule(part: Schedule, *, options: Options = None) -> tuple[str, ...]:
    """Multipliers of the learning rate over runs of 1, 2, 10 and 97 steps.

    A schedule that watches a metric is told a value that does not improve, after every fifth step.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with case.examined(draws=False):
        for steps in (1, 2, 10, 97):
            found = _multipliers(case, steps, case.options)
            case.same(found, _multipliers(case, steps, case.options), "two runs have the same rates")
            case.close(found[:, 1], found[:, 0], "groups of different lr keep their ratio")
        for ends in case.ends():
            _multipliers(case, 10, ends)
    return case.kept


def _multipliers(case: Case, steps: int, options: Mapping[str, Any]) -> torch.Tensor:
    """Share of the learning rate before each step, of two groups: (steps, 2)."""
    assert isinstance(case.part, Schedule)
    rates, watches = (1.0, 0.25), case.part.watches is not None
    tensors = [nn.Parameter(torch.zeros(1)) for _ in rates]
    optimizer = torch.optim.SGD([{"params": [t], "lr": lr} for t, lr in zip(tensors, rates, strict=True)])
    scheduler = case.run(f"is built for {steps} steps", case.callable, optimizer, steps, 5, **options)
    found = []
    for _ in range(steps):
        found.append([group["lr"] / lr for group, lr in zip(optimizer.param_groups, rates, strict=True)])
        for tensor in tensors:
            tensor.grad = torch.zeros(1)
        optimizer.step()
        if scheduler is not None and not watches:
            case.run("is stepped without arguments after every training step", scheduler.step)
        elif scheduler is not None and len(found) % 5 == 0:
            case.run("is stepped with a value after every evaluation", scheduler.step, 1.0)
    multipliers = torch.tensor(found)
    case.finite(multipliers, "multipliers are finite")
    negative = bool((multipliers < 0).any())
    case.require(not negative, "multipliers are not negative", str(float(multipliers.min())))
    case.require(bool((multipliers > 0).any()), "some step has a rate above 0", "0 at all steps")
    return multipliers
