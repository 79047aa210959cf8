"""One training step: gradients of the loss and of every penalty, then the optimizer, then the schedule.

Tensor axes: B examples of a batch, K outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from harness.errors import PluginError
from harness.strategies import RunningPhase
from harness.train.parts import Parts, options
from harness.train.penalties import penalties, penalty_value
from harness.train.returned import as_scalar

_FREED = "backward through the graph a second time"
Context = Callable[[], AbstractContextManager[Any]]


class Stepper:
    """Optimizer and schedule of one phase, and the step that they take."""

    def __init__(
        self,
        phase: RunningPhase,
        parts: Parts,
        problem: Mapping[str, Any],
        *,
        loss: Callable[..., Any],
        steps_per_epoch: int,
        autocast: Context,
        counting: Context,
    ) -> None:
        """The phase's optimizer, with what it takes over from the phase before.

        Args:
            loss: of outputs (B, K) and targets (B, ...).
            autocast: the precision of the forward pass.
            counting: goes around what makes autograd save tensors.
        """
        hyperparameters = options(problem["optimizer"])
        groups = phase.groups(hyperparameters)
        self.trained = sum(parameter.numel() for group in groups for parameter in group["params"])
        """Parameters that the phase trains."""
        self.optimizer: torch.optim.Optimizer = parts.optimizer.build(groups, **hyperparameters)
        phase.adopt(self.optimizer)
        self.scheduler: Any = parts.schedule.build(
            self.optimizer, phase.steps, steps_per_epoch, **options(problem["schedule"])
        )
        self._by_step = None if parts.schedule.watches is not None else self.scheduler
        self._label = phase.label
        self._model, self._penalty = phase.transfer.model, phase.transfer.penalty
        self._loss, self._loss_name = loss, problem["loss"]["use"]
        self._autocast, self._counting = autocast, counting
        self._weights = [parameter.tensor for parameter in phase.parameters()]
        self._strengths: Mapping[str, float] = problem.get("regularisation", {})
        self._add_penalties = penalties(self._weights, **self._strengths)
        self._closures = needs_closure(self.optimizer)

    def __call__(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take a step on inputs (B, ...) and targets (B, ...); outputs (B, K) and the loss () before it."""
        if self._closures:
            outputs, value = self._step_by_closure(inputs, targets)
        else:
            outputs, value, _ = self._differentiate(inputs, targets)
            self.optimizer.step()
        if self._by_step is not None:
            self._by_step.step()
        return outputs, value

    def _differentiate(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Outputs, the loss, and the loss with any penalty (), whose gradients are left at the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast(), self._counting():
            outputs = self._model(inputs)
            value = as_scalar(self._loss_name, self._loss(outputs, targets))
        torch.autograd.backward(value)
        whole = value.detach()
        if self._penalty is not None:
            with self._counting():
                added = self._penalty()
            if added.requires_grad:  # else it is a constant, as 0 in a phase without a penalty
                self._differentiate_penalty(added)
            whole = whole + added.detach()
        if self._add_penalties is not None:
            self._add_penalties()
            whole = whole + penalty_value(self._weights, **self._strengths) if self._closures else whole
        return outputs.detach(), value.detach(), whole

    def _differentiate_penalty(self, added: torch.Tensor) -> None:
        """Leave the gradients of a strategy's penalty at the parameters.

        Raises:
            PluginError: it hangs on what is no longer there.
        """
        try:
            torch.autograd.backward(added)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if _FREED in str(error):
                why = "it hangs on what the forward pass of the batch computed, which the loss has freed by then"
                raise PluginError(f"{self._label}: penalty has no gradient: {why}; take it of parameters") from error
            raise PluginError(f"{self._label}: penalty has no gradient: {error}") from error

    def _step_by_closure(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and loss of the first evaluation, which is the one before the step."""
        first: list[tuple[torch.Tensor, torch.Tensor]] = []

        def closure() -> torch.Tensor:
            outputs, value, whole = self._differentiate(inputs, targets)
            if not first:
                first.append((outputs, value))
            return whole

        self.optimizer.step(closure)  # type: ignore[arg-type]  # annotated as if it gave a float
        return first[0]


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step evaluates the loss as often as it likes, by a closure that it cannot do without (L-BFGS)."""
    parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    return parameter is not None and parameter.default is parameter.empty
