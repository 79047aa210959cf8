"""What a run scored so far, and what follows from it: the weights to keep, an early end, a stop by a pruner.

Tensor axes: N examples of a split, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.hookspecs import Metric, NotApplicable, Predictions
from harness.train.parts import options
from harness.train.returned import as_number
from harness.train.stopping import waited


class Pruned(Exception):
    """The run was worse than the threshold that its spec sets for an evaluation."""


class Moment(NamedTuple):
    """A point of training: passes over the training examples, steps and examples so far."""

    epoch: float
    step: int
    seen: int


class Best(NamedTuple):
    """The best evaluation by the metric that weights are chosen by: its value (larger is better), step and weights."""

    value: float
    step: int
    state: dict[str, torch.Tensor]


class Scores:
    """Every evaluation of a run, in turn, judged as its spec says."""

    def __init__(
        self, payload: Mapping[str, Any], metrics: Mapping[str, Metric], loss: Any, classes: int | None
    ) -> None:
        self.evaluations: list[list[Any]] = []
        """Rows of epoch, step, seen, split, metric, value and examples, as a record has them."""
        self.best: Best | None = None
        self.selected: float | None = None
        """The epoch whose weights the run ends with, as far as it is known."""
        self._payload, self._metrics, self._loss, self._classes = payload, metrics, loss, classes

    def note(self, split: str, outputs: torch.Tensor, targets: torch.Tensor, at: Moment) -> dict[str, float]:
        """All metrics over outputs (N, K) and targets (N, ...); they are put down as those of a split and a moment."""
        predictions = Predictions(outputs, targets, self._loss, self._classes)
        scores: dict[str, float] = {}
        for use, metric in self._metrics.items():
            try:
                with torch.inference_mode():
                    found = metric.apply(predictions, **options(self._payload["metrics"][use]))
            except NotApplicable as error:
                if split == "train":  # nothing is decided by whatever batches a stretch happened to have
                    continue
                raise NotApplicable(f"metric '{use}' on the {split} split: {error}") from error
            scores[use] = as_number(use, found)
            self.evaluations.append([*at, split, use, scores[use], len(targets)])
        return scores

    def remember_best(self, scores: Mapping[str, float], model: nn.Module, at: Moment) -> None:
        """Keep the weights if these scores on validation are the best by which the spec chooses them."""
        select = self._payload.get("select")
        if select is None:
            return
        if select["rule"] == "last":
            self.selected = at.epoch
            return
        value = risen(scores[select["metric"]], select["direction"])
        if self.best is None or value > self.best.value:
            state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            self.best = Best(value, at.step, state)
            self.selected = at.epoch

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """Step and value of the metric on validation at each evaluation so far."""
        return [(row[1], row[5]) for row in self.evaluations if row[3] == "validation" and row[4] == metric]

    def waited_enough(self) -> bool:
        """Whether validation has not improved for as long as early stopping waits."""
        asked = self._payload["problem"].get("early_stopping")
        if asked is None:
            return False
        metric = asked["metric"]
        direction = self._metrics[metric].direction
        return waited(self._values(metric), direction=direction, min_delta=asked["min_delta"]) >= int(asked["patience"])

    def check_pruned(self) -> None:
        """Nothing, where the run is worth going on with by what its spec says.

        Raises:
            Pruned: it is worse than the threshold for this evaluation.
        """
        prune = self._payload.get("prune")
        if prune is None:
            return
        values = self._values(prune["metric"])
        threshold = prune["thresholds"][len(values) - 1]
        better = max if prune["direction"] == "maximize" else min
        judged = better(values) if prune["judge"] == "best" else values[-1]
        if threshold is not None and judged != threshold and better(judged, threshold) == threshold:
            raise Pruned(
                f"validation {prune['metric']} {judged:.4g} at evaluation {len(values)} was worse than {threshold:.4g}"
            )

    def chosen(self, now: Moment) -> Moment:
        """The moment that the run's weights are of once the best ones are back in place."""
        if self.best is None:
            return now
        return next(Moment(*row[:3]) for row in self.evaluations if row[1] == self.best.step)

    def _values(self, metric: str) -> list[float]:
        return [value for _, value in self.curve(metric)]


def risen(value: float, direction: str) -> float:
    """The value, its sign turned where less of it is better: the better, the larger."""
    return value if direction == "maximize" else -value
