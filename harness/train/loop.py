"""The only training loop.

Tensor axes: N examples of a split, B examples of a batch, K outputs. Chance comes from the spec's seeds alone: the
global generators are reseeded at the start of each stretch between two evaluations, so that nothing that happened
before matters. Only training steps are on the training clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from harness import details, spec
from harness.hookspecs import NotApplicable
from harness.strategies import RunningPhase, exact, measures
from harness.strategies.forgetting import Reader
from harness.strategies.prefix import Prefix
from harness.strategies.source import Source
from harness.train import snapshot
from harness.train.augment import Augmenter
from harness.train.device import Clocks, Laps, autocast, reseed
from harness.train.division import Division
from harness.train.feed import Budget, Examples, Pair, batches
from harness.train.network import Blueprint, Inapplicable
from harness.train.parts import Parts, options
from harness.train.returned import check_finite
from harness.train.scoring import Best, Moment, Scores, risen
from harness.train.step import Stepper

Keep = Callable[[int, Callable[[], dict[str, Any]]], None]
"""Told after each evaluation but the last: the step, and how to get the state that a run could go on from."""


class NotRestored(Exception):
    """A part did not take the state back that it gave."""


class Training:
    """The state of one run while it trains."""

    def __init__(
        self,
        payload: Mapping[str, Any],
        parts: Parts,
        division: Division,
        classes: int | None,
        clocks: Clocks,
        keep: Keep | None = None,
        source: Source | None = None,
    ) -> None:
        self.payload, self.parts, self.division, self.classes = payload, parts, division, classes
        self.device, self.clocks, self.keep, self.source = division.example[0].device, clocks, keep, source
        self.problem: Mapping[str, Any] = payload["problem"]
        self.examples = len(division.train)
        # An epoch of a schedule is one of all labels, so that it says the same to tuning and to final runs.
        inside = len(division.validation) if "within" in payload else 0
        self.budget = Budget.of(self.problem, self.examples + inside)
        self.autocast = partial(autocast, self.problem["precision"], self.device)
        self.step = self.seen = 0
        self.stopped = False
        self.details: dict[str, Any] | None = None
        given = map(options, self.problem.get("augmentation", ()))
        self.augment = Augmenter(zip(parts.augmentations, given, strict=True), seed=payload["seeds"]["augmentation"])
        self.loss = parts.loss.build(**options(self.problem["loss"]))
        self.blueprint = Blueprint(payload, parts, division.example, classes, source)
        self.model = self.blueprint.build()
        self.init_hash = snapshot.weights_hash(self.model)
        self.transfer = self.blueprint.hand_over(self.model, steps=self.budget.steps)
        self.all_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.trainable = 0
        self.scores = Scores(payload, parts.metrics, self.loss, classes)
        self.measures = measures.Unmeasured()
        if source is not None and payload["phase"] == "final":
            self.measures = measures.Measures(self.transfer, source)
        self.stepper: Stepper | None = None
        self.prefix: Prefix | None = None
        self._resumed: Mapping[str, Any] | None = None

    def train(self) -> None:
        """All phases, with an evaluation wherever the budget says; then the test set, once, in a final run."""
        batch_indices = batches(
            self.examples,
            size=self.problem["batch_size"],
            seed=self.payload["seeds"]["order"],
            whole=self.problem["epochs"] is None,
            device=self.division.train.order_device,
        )
        next(itertools.islice(batch_indices, self.step, self.step), None)  # what was trained on before a resume
        for phase in self.transfer.begin(after=self.step):
            if self.stopped:
                continue  # a phase that is skipped still leaves behind what the strategy keeps of it
            stepper = self.stepper = self._build_stepper(phase)
            self._restore_optimizer()
            phase.train_mode()
            self.prefix = Prefix.of(phase)
            if self.transfer.exact is not None:
                self._fit_head(self.transfer.exact())
            while self.step < phase.end and not self.stopped:
                stop = min(phase.end, next(mark for mark in self.budget.evaluated_after if mark > self.step))
                self._stretch(stepper, itertools.islice(batch_indices, stop - self.step), phase)
            self.measures.phase_ended(stepper.optimizer)
        self._load_best()
        self.measures.before_finish(self.step)
        self.transfer.end()
        if self.division.test is not None:
            self._test(self.division.test)

    def _fit_head(self, penalty: float) -> None:
        """Put the head at its optimum instead of taking steps; what is read for it counts as seen, however often.

        Every evaluation of the budget is made, so that pruners and budgets find what they look for.
        """
        train, reader = self.division.train, Reader(self.transfer.head, self.autocast)
        try:
            with self.clocks.running("train", self.device):
                solved = exact.solve(self.transfer, train, loss=self.loss, penalty=penalty, reader=reader)
        except NotApplicable as error:
            raise Inapplicable(str(error)) from error
        self.seen, seen = solved.evaluations * self.examples, self._outputs(train)
        for mark in self.budget.evaluated_after:
            if mark > self.step:
                self.step = mark
                self._evaluate(*seen)

    def build_optimizer(self) -> None:
        """Build optimizer and schedule of the first phase, as training would."""
        for phase in itertools.islice(self.transfer.begin(), 1):
            self._build_stepper(phase)

    def _build_stepper(self, phase: RunningPhase) -> Stepper:
        stepper = Stepper(
            phase,
            self.parts,
            self.problem,
            loss=self.loss,
            steps_per_epoch=self.budget.steps_per_epoch,
            autocast=self.autocast,
            counting=lambda: self.measures.counting(phase, self.step),
        )
        self.trainable = max(self.trainable, stepper.trained)
        return stepper

    def _stretch(self, stepper: Stepper, batch_indices: Iterator[torch.Tensor], phase: RunningPhase) -> None:
        """Train up to the next evaluation, then evaluate."""
        begun, seeds = self.step, self.payload["seeds"]
        reseed(spec.seed(seeds["noise"], begun))
        self.transfer.generator.manual_seed(spec.seed(seeds["noise"], "strategy", begun))
        phase.train_mode()
        self.measures.note_modes()
        outputs, losses, used = [], [], []
        # Nothing in this block may wait for the device: losses are looked at when the stretch is over.
        with self.clocks.running("train", self.device):
            laps = Laps(self.device)
            for inputs, targets, index in self.division.train.batches(
                batch_indices, seed=spec.seed(seeds["augmentation"], begun)
            ):
                output, loss = stepper(self.augment(inputs, index, self.step), targets)
                outputs.append(output)
                losses.append(loss)
                used.append(targets)
                self.step += 1
                laps.mark()
        self.clocks.steps += laps.milliseconds()
        self.seen += sum(map(len, used))
        check_finite(torch.stack(losses), begun)
        if self.step in self.budget.evaluated_after:
            self._evaluate(torch.cat(outputs).float(), torch.cat(used))

    def _evaluate(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Score the batches as they were trained on, then validation; remember, stop or prune, offer a checkpoint."""
        self.clocks.epochs.append((self.now.epoch, self.clocks.train))
        with self.clocks.running("evaluate", self.device):
            self.scores.note("train", outputs, targets, self.now)
            scores = {}
            if len(self.division.validation):  # some runs train on all that there is, as those of a source
                validation = self._outputs(self.division.validation, self.prefix)
                scores = self.scores.note("validation", *validation, self.now)
            self.scores.remember_best(scores, self.model, self.now)
        self._tell_schedule(scores)
        self.stopped = self.step < self.budget.steps and self.scores.waited_enough()
        if self.stopped:
            return  # a run that is over keeps its value, however poor
        self.scores.check_pruned()
        if self.keep is not None and self.step < self.budget.steps:
            self.keep(self.step, self.state)

    @property
    def now(self) -> Moment:
        """How far training has come."""
        return Moment(self.seen / self.examples, self.step, self.seen)

    def _outputs(self, examples: Examples, prefix: Prefix | None = None) -> Pair:
        """Outputs (N, K) and targets (N, ...) of a whole split, in evaluation mode."""
        self.model.eval()
        with torch.inference_mode(), self.autocast():
            found = ((self.model(inputs), targets) for inputs, targets in examples.chunks())
            pairs = found if prefix is None else prefix.scored(examples)
            scored: list[Pair] = [(outputs.float(), targets) for outputs, targets in pairs]
        outputs, targets = (torch.cat(pieces) for pieces in zip(*scored, strict=True))
        return outputs, targets

    def _tell_schedule(self, scores: Mapping[str, float]) -> None:
        """Step a schedule that follows a metric, turned so that smaller is better."""
        option = self.parts.schedule.watches
        if option is not None and self.stepper is not None and self.stepper.scheduler is not None:
            name = self.problem["schedule"][option]
            self.stepper.scheduler.step(-risen(scores[name], self.parts.metrics[name].direction))

    def _load_best(self) -> None:
        """Go back to the weights of the selected epoch, so that they are what a strategy finishes."""
        best = self.scores.best
        if best is not None and best.step != self.step:
            self.model.load_state_dict(best.state)

    def _test(self, test: Examples) -> None:
        """Evaluate the test set, once, and measure in a final run what the transfer cost and forgot."""
        final = self.payload["phase"] == "final"
        with self.clocks.running("evaluate", self.device):
            outputs, targets = self._outputs(test)
            self.scores.note("test", outputs, targets, self.scores.chosen(self.now))
            if final:
                self.details = details.of(outputs, targets, classes=self.classes, examples=test, forward=self._forward)
        if final:
            with self.clocks.running("evaluate", self.device):
                self.measures.after_finish(self._finished(test))

    def _finished(self, test: Examples) -> measures.Finished:
        select = self.payload["select"]
        return measures.Finished(
            step=self.step,
            curve=self.scores.curve(select["metric"]) if self.transfer.exact is None else [],
            direction=select["direction"],
            details=self.details,
            test=test,
            autocast=self.autocast,
            build_source=None if self.blueprint.start is None else self.blueprint.build_source,
        )

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return self.model(inputs).float()  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """All that training goes on from, between two stretches: every stretch seeds its generators itself."""
        assert self.stepper is not None
        clocks, scheduler, measured = self.clocks, self.stepper.scheduler, self.measures.state()
        return {
            "step": self.step,
            "seen": self.seen,
            "selected": self.scores.selected,
            "evaluations": self.scores.evaluations,
            "clocks": {
                "train": clocks.train,
                "evaluate": clocks.evaluate,
                "epochs": clocks.epochs,
                "steps": torch.tensor(clocks.steps, dtype=torch.float64),
            },
            "trainable": self.trainable,
            "best": self.scores.best,
            "model": self.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "schedule": None if scheduler is None else scheduler.state_dict(),
            "strategy": self.transfer.notes(),
            **({} if measured is None else {"measures": measured}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's part waits until the phase that it belongs to has begun.

        Raises:
            NotRestored: an earlier harness made it.
        """
        if "trainable" not in state:
            raise NotRestored("the state is that of an earlier harness")
        self.step, self.seen, self.scores.selected = state["step"], state["seen"], state["selected"]
        self.scores.evaluations = state["evaluations"]
        self.scores.best = None if state["best"] is None else Best(*state["best"])
        clocks = state["clocks"]
        self.clocks.train, self.clocks.evaluate = clocks["train"], clocks["evaluate"]
        self.clocks.epochs, self.clocks.steps = clocks["epochs"], clocks["steps"].tolist()
        self.trainable = state["trainable"]
        self.model.load_state_dict(state["model"])
        self.transfer.recall(state["strategy"])
        self.measures.recall(state.get("measures", {}))
        self._resumed = state

    def _restore_optimizer(self) -> None:
        if self._resumed is None:
            return
        assert self.stepper is not None
        self.stepper.optimizer.load_state_dict(self._resumed["optimizer"])
        if self.stepper.scheduler is not None:
            self.stepper.scheduler.load_state_dict(self._resumed["schedule"])
        now = self.state()
        for name in ("model", "optimizer", "schedule"):
            if not snapshot.equal(now[name], self._resumed[name]):
                raise NotRestored(f"the {name} has another state after load_state_dict than its state_dict gave")
        self._resumed = None

    def result(self, status: str, reason: str | None) -> dict[str, Any]:
        """The deterministic part of a record; `stopped_early` is there where early stopping ended it."""
        now = self.now
        return {
            "status": status,
            "reason": reason,
            "epochs": now.epoch,
            "steps": now.step,
            "examples": now.seen,
            "selected_epoch": self.scores.selected if status == "ok" else None,
            **({"stopped_early": True} if self.stopped else {}),
            "evaluations": self.scores.evaluations,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "trainable_parameters": self.trainable,
            "init_hash": self.init_hash,
            "weights_hash": snapshot.weights_hash(self.model) if status == "ok" else None,
            **({} if self.details is None else {"details": self.details}),
            **({} if self.source is None else {"transfer": self._transfer_record(self.source, status)}),
        }

    def _transfer_record(self, source: Source, status: str) -> dict[str, Any]:
        """What a run with a source has beside; measured where it ended well, and is no tuning run."""
        found = self.measures.found if status == "ok" else {}
        share = self.trainable / self.all_parameters
        return measures.record(source, self.transfer, trainable_share=share, found=found)
