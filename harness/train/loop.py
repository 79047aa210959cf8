"""RunSpec to result: the only training loop.

Tensor axes: N examples of a split, B examples of a batch, K outputs. Chance comes from the spec's seeds alone: the
global generators are reseeded at the start of each stretch between two evaluations, so that nothing that happened
before matters. Only training steps are on the training clock.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import resource
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness import details, spec, strategies
from harness.hookspecs import Augmentation, Metric, NotApplicable, Predictions, Splits
from harness.registry import load_part
from harness.registry.catalog import Origin
from harness.strategies import forgetting, measures
from harness.strategies.prefix import Prefix
from harness.strategies.source import Source, fit_state
from harness.strategies.weights import save_state
from harness.train import data, snapshot
from harness.train.augment import Augmenter
from harness.train.data import Division, Fold, Subset
from harness.train.device import Clocks, Laps, apart, reseed
from harness.train.feed import Budget, Examples, Pair, batches
from harness.train.penalties import penalties, penalty_value
from harness.train.returned import BadOutput, Diverged, as_number, as_scalar, check_finite
from harness.train.stopping import waited

WARM_UP = 5
"""So many steps are left out of the median time of a step."""
Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""One training step on inputs (B, ...) and targets (B, ...); gives outputs (B, K) and the loss ()."""
Differentiated = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Outputs (B, K), the loss (), and the loss with any penalty (), whose gradients were left at the parameters."""
Keep = Callable[[int, Callable[[], dict[str, Any]]], None]
"""Told after each evaluation but the last: the step, and how to get the state that a run could go on from."""


class Pruned(Exception):
    """The run was worse than the threshold that its spec sets for an evaluation."""


class Inapplicable(Exception):
    """The strategy has no meaning on the model; says why in words."""


class NotRestored(Exception):
    """A part did not take the state back that it gave."""


@dataclass(frozen=True)
class Parts:
    """The parts of one run, their plugins imported."""

    model: Any
    loss: Any
    optimizer: Any
    schedule: Any
    strategy: Any
    metrics: Mapping[str, Metric]
    augmentations: tuple[Augmentation, ...] = ()

    @classmethod
    def load(cls, payload: Mapping[str, Any], origins: Mapping[str, Origin]) -> Parts:
        """Import what the spec names."""
        problem = payload["problem"]
        kinds = ("model", "loss", "optimizer", "schedule", "strategy")
        parts = {kind: load_part(kind, problem[kind]["use"], origins[kind]) for kind in kinds}
        metrics = {use: load_part("metric", use, origins[f"metric:{use}"]) for use in payload["metrics"]}
        listed = [part["use"] for part in problem.get("augmentation", ())]
        augmentations = tuple(load_part("augmentation", use, origins[f"augmentation:{use}"]) for use in listed)
        return cls(**parts, metrics=metrics, augmentations=augmentations)


def run(
    payload: Mapping[str, Any],
    parts: Parts,
    splits: Splits,
    *,
    device: torch.device,
    loaders: int = 0,
    keep: Keep | None = None,
    resume: Mapping[str, Any] | None = None,
    source: Source | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train as the spec says; `{"result": ..., "timings": ...}` as a record holds them.

    A diverged run is a result too: status `diverged`, with the first step in its reason; so is one that was pruned.

    Args:
        device: where the data lie and the model trains.
        loaders: processes that read a data set which is not in memory; no number of them changes a result.
        keep: is offered the state after each evaluation.
        resume: such a state of the same spec; the result is what it would be without the interruption.
        source: what the network was before; one without a state for a strategy that starts at random.
        weights: file that the weights of a source run are written to.

    Raises:
        BadOutput: a part breaks the contract.
        Inapplicable: the strategy has no meaning on the model.
        NotRestored: a part did not take back its state from `resume`.
    """
    clocks = Clocks()
    with clocks.running("data", device):
        division = _divide(payload, splits, device, loaders)
    training = Training(payload, parts, division, splits.classes, clocks, keep, source)
    if resume is not None:
        training.restore(resume)
    try:
        training.train()
        status, reason = "ok", None
    except Diverged as error:
        status, reason = "diverged", str(error)
    except Pruned as error:
        status, reason = "pruned", str(error)
    result = training.result(status, reason)
    if weights is not None and status == "ok":
        result["weights_sha256"] = save_state(weights, training.model.state_dict())
    return {"result": result, "timings": _timings(clocks)}


def build_only(
    payload: Mapping[str, Any], parts: Parts, splits: Splits, *, device: torch.device, source: Source | None = None
) -> tuple[int, int]:
    """Build everything that the run would train with, take no step; the numbers of parameters and of phases.

    Raises:
        Exception: whatever a part raises that does not fit the data or another part.
    """
    division = _divide(payload, splits, device)
    training = Training(payload, parts, division, splits.classes, Clocks(), source=source)
    training.build_optimizer()
    training.augment(training.division.example[0], torch.zeros(1, dtype=torch.int64, device=device), 0)
    return sum(parameter.numel() for parameter in training.model.parameters()), len(training.transfer.phases)


def _divide(payload: Mapping[str, Any], splits: Splits, device: torch.device, loaders: int = 0) -> Division:
    problem = payload["problem"]
    return data.divide(
        splits,
        seed=payload["seeds"]["split"],
        train=problem["train_examples"],
        validation=problem["validation_examples"],
        with_test=payload["phase"] in ("source", "final"),
        device=device,
        loaders=loaders,
        labels_per_class=problem.get("labels_per_class"),
        fold=Fold(**payload["fold"]) if "fold" in payload else None,
        subset=Subset(**payload["subset"]) if "subset" in payload else None,
    )


def _timings(clocks: Clocks) -> dict[str, Any]:
    return {
        "train_seconds": clocks.train,
        "evaluate_seconds": clocks.evaluate,
        "data_seconds": clocks.data,
        "step_milliseconds": statistics.median(clocks.steps[WARM_UP:]) if len(clocks.steps) > WARM_UP else None,
        "epochs": [list(pair) for pair in clocks.epochs],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


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
        self.device, self.clocks, self.keep = division.example[0].device, clocks, keep
        self.problem: Mapping[str, Any] = payload["problem"]
        self.examples = len(division.train)
        self.budget = Budget.of(self.problem, self.examples)
        self.step = 0
        self.seen = 0
        self.evaluations: list[list[Any]] = []
        self.best: tuple[float, int, dict[str, torch.Tensor]] | None = None
        self.selected: float | None = None
        self.details: dict[str, Any] | None = None
        self.stopped = False
        self.source = source
        self.augment = self._build_augmenter()
        self.loss = parts.loss.build(**_options(self.problem["loss"]))
        self.model = self._build_model()
        self.init_hash = snapshot.weights_hash(self.model)
        self.transfer = self._begin_transfer()
        self.all_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.trainable = 0
        self.measures: measures.Measures | None = None
        if source is not None and payload["phase"] == "final":
            self.measures = measures.Measures(self.transfer)
        self._optimizer: torch.optim.Optimizer | None = None
        self._scheduler: Any = None
        self.prefix: Prefix | None = None
        self._resumed: Mapping[str, Any] | None = None

    def _build_model(self) -> nn.Module:
        reseed(self.payload["seeds"]["init"])
        inputs, targets = self.division.example
        self.outputs = self.classes if self.classes is not None else math.prod(targets.shape[1:])
        loaded = self.source is not None and self.parts.strategy.start == "source"
        outputs = self.source.outputs if self.source is not None and loaded else self.outputs
        model = self.parts.model.build(tuple(inputs.shape[1:]), outputs, **_options(self.problem["model"]))
        if not isinstance(model, nn.Module):
            raise BadOutput(f"model '{self.problem['model']['use']}' built {type(model).__name__}, not an nn.Module")
        if self.source is not None and loaded:
            fit_state(model, self.source.state, name=self.problem["model"]["use"])
        return self._placed(model)

    def _build_augmenter(self) -> Augmenter:
        options = [_options(part) for part in self.problem.get("augmentation", ())]
        parts = zip(self.parts.augmentations, options, strict=True)
        return Augmenter(parts, seed=self.payload["seeds"]["augmentation"])

    def _begin_transfer(self) -> strategies.Transfer:
        try:
            return strategies.prepare(
                self.parts.strategy,
                self.model,
                input_example=self.division.example[0],
                head=self.parts.model.head,
                steps=self.budget.steps,
                options=_options(self.problem["strategy"]),
                generator=torch.Generator().manual_seed(self.payload["seeds"]["noise"]),
                stages=self.problem.get("stages", 5),
                norm=self.problem.get("norm", "follow"),
                blocks=self.parts.model.blocks,
                new_head=self._new_head(),
            )
        except NotApplicable as error:
            raise Inapplicable(str(error)) from error

    def _new_head(self) -> strategies.NewHead | None:
        """How the head is replaced, with draws of its own: arms share them whatever their strategies draw."""
        if self.source is None:
            return None
        generator = torch.Generator().manual_seed(spec.seed(self.payload["seeds"]["init"], "head"))
        init = self.problem["head_init"]
        if init == "keep" and self.parts.strategy.start == "random":
            init = "default"  # there is none to keep
        return strategies.NewHead(self.outputs, init, generator)

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
            step = self._stepper(phase)
            self._restore_optimizer()
            phase.train_mode()
            self.prefix = Prefix.of(phase)
            while self.step < phase.end and not self.stopped:
                stop = min(phase.end, next(mark for mark in self.budget.evaluated_after if mark > self.step))
                self._stretch(step, itertools.islice(batch_indices, stop - self.step), phase)
            if self.measures is not None and self._optimizer is not None:
                self.measures.phase_ended(self._optimizer)
        self._load_best()
        if self.measures is not None:
            self.measures.before_finish(self.step)
        self.transfer.end()
        self._read_test()
        self._measure()

    def build_optimizer(self) -> None:
        """Build optimizer and schedule of the first phase, as training would."""
        for phase in itertools.islice(self.transfer.begin(), 1):
            self._stepper(phase)

    def _stepper(self, phase: strategies.RunningPhase) -> Step:
        hyperparameters = _options(self.problem["optimizer"])
        groups = phase.groups(hyperparameters)
        self.trainable = max(self.trainable, sum(p.numel() for group in groups for p in group["params"]))
        optimizer = self.parts.optimizer.build(groups, **hyperparameters)
        phase.adopt(optimizer)
        scheduler = self.parts.schedule.build(
            optimizer, phase.steps, self.budget.steps_per_epoch, **_options(self.problem["schedule"])
        )
        self._optimizer, self._scheduler = optimizer, scheduler
        penalty, model, loss, name = self.transfer.penalty, self.model, self.loss, self.problem["loss"]["use"]
        weights = [parameter.tensor for parameter in phase.parameters()]
        strengths = self.problem.get("regularisation", {})
        add_penalties = penalties(weights, **strengths)
        by_step = None if self.parts.schedule.watches is not None else scheduler
        autocast, closures, counting = self._autocast, needs_closure(optimizer), self._counting

        def differentiate(inputs: torch.Tensor, targets: torch.Tensor) -> Differentiated:
            optimizer.zero_grad(set_to_none=True)
            with autocast(), counting(phase):
                outputs = model(inputs)
                value = as_scalar(name, loss(outputs, targets))
            torch.autograd.backward(value)
            whole = value.detach()
            if penalty is not None:
                with counting(phase):
                    added = penalty()
                torch.autograd.backward(added)
                whole = whole + added.detach()
            if add_penalties is not None:
                add_penalties()
                whole = whole + penalty_value(weights, **strengths) if closures else whole
            return outputs.detach(), value.detach(), whole

        def step(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if closures:
                outputs, value = _step_by_closure(optimizer, lambda: differentiate(inputs, targets))
            else:
                outputs, value, _ = differentiate(inputs, targets)
                optimizer.step()
            if by_step is not None:
                by_step.step()
            return outputs, value

        return step

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.problem["precision"] == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _counting(self, phase: strategies.RunningPhase) -> contextlib.AbstractContextManager[Any]:
        """Where it is measured what a phase saves for its backward passes."""
        if self.measures is None or self.step >= phase.start + measures.COUNTED_STEPS:
            return contextlib.nullcontext()
        return self.measures.counting()

    def _stretch(self, step: Step, batch_indices: Iterator[torch.Tensor], phase: strategies.RunningPhase) -> None:
        """Train up to the next evaluation, then evaluate."""
        begun, seeds = self.step, self.payload["seeds"]
        reseed(spec.seed(seeds["noise"], begun))
        self.transfer.generator.manual_seed(spec.seed(seeds["noise"], "strategy", begun))
        phase.train_mode()
        if self.measures is not None:
            self.measures.note_modes()
        outputs, losses, used = [], [], []
        # Nothing in this block may wait for the device: losses are looked at when the stretch is over.
        with self.clocks.running("train", self.device):
            laps = Laps(self.device)
            for inputs, targets, index in self.division.train.batches(
                batch_indices, seed=spec.seed(seeds["augmentation"], begun)
            ):
                output, loss = step(self.augment(inputs, index, self.step), targets)
                outputs.append(output)
                losses.append(loss)
                used.append(targets)
                self.step += 1
                laps.mark()
        self.clocks.steps += laps.milliseconds()
        self.seen += sum(map(len, used))
        check_finite(torch.stack(losses), begun)
        if self.step in self.budget.evaluated_after:
            self._evaluate_stretch(torch.cat(outputs).float(), torch.cat(used))

    def _evaluate_stretch(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Score the batches as they were trained on, then validation; remember, stop or prune, offer a checkpoint."""
        self.clocks.epochs.append((self.epoch, self.clocks.train))
        with self.clocks.running("evaluate", self.device):
            self._note("train", outputs, targets)
            # A source run trains on all that there is.
            scores = self._evaluate("validation", self.division.validation) if len(self.division.validation) else {}
            self._remember_best(scores)
        self._tell_schedule(scores)
        self.stopped = self.step < self.budget.steps and self._waited_enough()
        if self.stopped:
            return  # a run that is over keeps its value, however poor
        self._check_pruned()
        if self.keep is not None and self.step < self.budget.steps:
            self.keep(self.step, self.state)

    @property
    def epoch(self) -> float:
        """Passes over the training examples so far."""
        return self.seen / self.examples

    def _evaluate(self, split: str, examples: Examples) -> dict[str, float]:
        """All metrics over a whole split, in evaluation mode."""
        return self._note(split, *self._outputs(examples, self.prefix))

    def _outputs(self, examples: Examples, prefix: Prefix | None = None) -> Pair:
        """Outputs (N, K) and targets (N, ...) of a whole split, in evaluation mode."""
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            found = ((self.model(inputs), targets) for inputs, targets in examples.chunks())
            pairs = found if prefix is None else prefix.scored(examples)
            scored: list[Pair] = [(outputs.float(), targets) for outputs, targets in pairs]
        outputs, targets = (torch.cat(pieces) for pieces in zip(*scored, strict=True))
        return outputs, targets

    def _note(self, split: str, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        predictions = Predictions(outputs, targets, self.loss, self.classes)
        scores: dict[str, float] = {}
        for use, metric in self.parts.metrics.items():
            try:
                with torch.inference_mode():
                    found = metric.apply(predictions, **_options(self.payload["metrics"][use]))
            except NotApplicable as error:
                if split == "train":  # nothing is decided by whatever batches a stretch happened to have
                    continue
                raise NotApplicable(f"metric '{use}' on the {split} split: {error}") from error
            scores[use] = as_number(use, found)
            self.evaluations.append([self.epoch, self.step, self.seen, split, use, scores[use], len(targets)])
        return scores

    def _remember_best(self, scores: Mapping[str, float]) -> None:
        select = self.payload.get("select")
        if select is None:
            return
        if select["rule"] == "last":
            self.selected = self.epoch
            return
        sign = 1.0 if select["direction"] == "maximize" else -1.0
        value = sign * scores[select["metric"]]
        if self.best is None or value > self.best[0]:
            state = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.best = (value, self.step, state)
            self.selected = self.epoch

    def _tell_schedule(self, scores: Mapping[str, float]) -> None:
        """Step a schedule that follows a metric, turned so that smaller is better."""
        option = self.parts.schedule.watches
        if option is not None and self._scheduler is not None:
            name = self.problem["schedule"][option]
            sign = -1.0 if self.parts.metrics[name].direction == "maximize" else 1.0
            self._scheduler.step(sign * scores[name])

    def _curve(self, metric: str) -> list[float]:
        """The metric on validation at each evaluation so far."""
        return [row[5] for row in self.evaluations if row[3] == "validation" and row[4] == metric]

    def _waited_enough(self) -> bool:
        """Whether validation has not improved for as long as early stopping waits."""
        asked = self.problem.get("early_stopping")
        if asked is None:
            return False
        direction = self.parts.metrics[asked["metric"]].direction
        without = waited(self._curve(asked["metric"]), direction=direction, min_delta=asked["min_delta"])
        return without >= int(asked["patience"])

    def _check_pruned(self) -> None:
        """Stop where the spec says that a run as bad as this one is not worth going on with."""
        prune = self.payload.get("prune")
        if prune is None:
            return
        values = self._curve(prune["metric"])
        threshold = prune["thresholds"][len(values) - 1]
        better = max if prune["direction"] == "maximize" else min
        judged = better(values) if prune["judge"] == "best" else values[-1]
        if threshold is not None and judged != threshold and better(judged, threshold) == threshold:
            raise Pruned(
                f"validation {prune['metric']} {judged:.4g} at evaluation {len(values)} was worse than {threshold:.4g}"
            )

    def _load_best(self) -> None:
        """Go back to the weights of the selected epoch, so that they are what a strategy finishes."""
        if self.best is not None and self.best[1] != self.step:
            self.model.load_state_dict(self.best[2])

    def _read_test(self) -> None:
        """Evaluate the test set of a final run, once."""
        if self.division.test is None:
            return
        with self.clocks.running("evaluate", self.device):
            at = (self.step, self.seen)
            if self.best is not None:
                rows = [row for row in self.evaluations if row[1] == self.best[1]]
                self.step, self.seen = rows[0][1], rows[0][2]
            outputs, targets = self._outputs(self.division.test)
            self._note("test", outputs, targets)
            if self.payload["phase"] == "final":
                self.details = details.of(
                    outputs, targets, classes=self.classes, examples=self.division.test, forward=self._forward
                )
            self.step, self.seen = at

    def _measure(self) -> None:
        """What a final run with a source records of its finished model, and of its source's test set."""
        if self.measures is None:
            return
        assert self.source is not None
        assert self.division.test is not None
        select = self.payload["select"]
        curve = [(row[1], row[5]) for row in self.evaluations if row[3:5] == ["validation", select["metric"]]]
        with self.clocks.running("evaluate", self.device):
            self.measures.after_finish(self.step)
            self.measures.found |= measures.curve_summary(curve, direction=select["direction"])
            self.measures.found["worst_class_accuracy"] = measures.worst_class_accuracy(self.details)
            if self.parts.strategy.start == "source":
                reader = forgetting.Reader(self.transfer.head, self._autocast)
                self.measures.found |= forgetting.against_source(
                    self.source, self.transfer, build=self._source_model, test=self.division.test, reader=reader
                )

    def _source_model(self) -> nn.Module:
        """The source's network with its weights, beside the one that was trained."""
        assert self.source is not None
        inputs, _ = self.division.example
        options = _options(self.problem["model"])
        with apart(self.payload["seeds"]["init"]):
            model: nn.Module = self.parts.model.build(tuple(inputs.shape[1:]), self.source.outputs, **options)
        model.load_state_dict(self.source.state)
        return self._placed(model)

    def _placed(self, model: nn.Module) -> nn.Module:
        """On the device; images are channels-last."""
        layout = torch.channels_last if self.division.example[0].dim() == 4 else torch.preserve_format
        return model.to(self.device).to(memory_format=layout)

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with self._autocast():
            return self.model(inputs).float()  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """All that training goes on from, between two stretches: every stretch seeds its generators itself."""
        assert self._optimizer is not None
        clocks = self.clocks
        return {
            "step": self.step,
            "seen": self.seen,
            "selected": self.selected,
            "evaluations": self.evaluations,
            "clocks": {
                "train": clocks.train,
                "evaluate": clocks.evaluate,
                "epochs": clocks.epochs,
                "steps": torch.tensor(clocks.steps, dtype=torch.float64),
            },
            "trainable": self.trainable,
            "best": self.best,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._scheduler is None else self._scheduler.state_dict(),
            "strategy": self.transfer.notes(),
            **({} if self.measures is None else {"measures": self.measures.state()}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the optimizer's part waits until the phase that it belongs to has begun.

        Raises:
            NotRestored: an earlier harness made it.
        """
        if "trainable" not in state:
            raise NotRestored("the state is that of an earlier harness")
        self.step, self.seen, self.selected = state["step"], state["seen"], state["selected"]
        self.evaluations, self.best = state["evaluations"], state["best"]
        clocks = state["clocks"]
        self.clocks.train, self.clocks.evaluate = clocks["train"], clocks["evaluate"]
        self.clocks.epochs, self.clocks.steps = clocks["epochs"], clocks["steps"].tolist()
        self.trainable = state["trainable"]
        self.model.load_state_dict(state["model"])
        self.transfer.recall(state["strategy"])
        if self.measures is not None:
            self.measures.recall(state["measures"])
        self._resumed = state

    def _restore_optimizer(self) -> None:
        if self._resumed is None:
            return
        assert self._optimizer is not None
        self._optimizer.load_state_dict(self._resumed["optimizer"])
        if self._scheduler is not None:
            self._scheduler.load_state_dict(self._resumed["schedule"])
        now = self.state()
        for name in ("model", "optimizer", "schedule"):
            if not snapshot.equal(now[name], self._resumed[name]):
                raise NotRestored(f"the {name} has another state after load_state_dict than its state_dict gave")
        self._resumed = None

    def result(self, status: str, reason: str | None) -> dict[str, Any]:
        """The deterministic part of a record; `stopped_early` is there where early stopping ended it."""
        return {
            "status": status,
            "reason": reason,
            "epochs": self.epoch,
            "steps": self.step,
            "examples": self.seen,
            "selected_epoch": self.selected if status == "ok" else None,
            **({"stopped_early": True} if self.stopped else {}),
            "evaluations": self.evaluations,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "trainable_parameters": self.trainable,
            "init_hash": self.init_hash,
            "weights_hash": snapshot.weights_hash(self.model) if status == "ok" else None,
            **({} if self.details is None else {"details": self.details}),
            **({} if self.source is None else {"transfer": self._transfer_record(self.source, status)}),
        }

    def _transfer_record(self, source: Source, status: str) -> dict[str, Any]:
        """What a run with a source has beside; measured where it ended well, and is no tuning run."""
        found = self.measures.found if self.measures is not None and status == "ok" else {}
        share = self.trainable / self.all_parameters
        return measures.record(source, self.transfer, trainable_share=share, found=found)


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step evaluates the loss as often as it likes, by a closure that it cannot do without (L-BFGS)."""
    parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    return parameter is not None and parameter.default is parameter.empty


def _step_by_closure(
    optimizer: torch.optim.Optimizer, differentiate: Callable[[], Differentiated]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and loss of the first evaluation, which is the one before the step."""
    first: list[tuple[torch.Tensor, torch.Tensor]] = []

    def closure() -> torch.Tensor:
        outputs, value, whole = differentiate()
        if not first:
            first.append((outputs, value))
        return whole

    optimizer.step(closure)  # type: ignore[arg-type]  # annotated as if it gave a float
    return first[0]


def _options(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "use"}
