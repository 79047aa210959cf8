"""RunSpec to result: the only training loop.

Tensor axes: N examples of a split, B examples of a batch, K outputs. Chance comes from the spec's seeds alone: the
global generators are reseeded at the start of each stretch between two evaluations, so that nothing that happened
before matters. Only training steps are on the training clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from harness import data, spec, strategies
from harness.catalog import Origin
from harness.data import Division, Pair
from harness.hookspecs import Metric, Predictions, Splits
from harness.registry import load_part

EVALUATION_BATCH = 500
EVALUATIONS_BY_STEPS = 10
"""How often a run whose budget is in steps is evaluated, at equal distances; a run in epochs is after each of them."""


class Diverged(Exception):
    """The loss, or a metric, is nan or infinite."""


class BadOutput(Exception):
    """A part returned something outside the contract."""


@dataclass(frozen=True)
class Parts:
    """The parts of one run, their plugins imported."""

    model: Any
    loss: Any
    optimizer: Any
    schedule: Any
    strategy: Any
    metrics: Mapping[str, Metric]

    @classmethod
    def load(cls, payload: Mapping[str, Any], origins: Mapping[str, Origin]) -> Parts:
        """Import what the spec names."""
        problem = payload["problem"]
        kinds = ("model", "loss", "optimizer", "schedule", "strategy")
        parts = {kind: load_part(kind, problem[kind]["use"], origins[kind]) for kind in kinds}
        metrics = {use: load_part("metric", use, origins[f"metric:{use}"]) for use in payload["metrics"]}
        return cls(**parts, metrics=metrics)


@dataclass
class Clocks:
    """Seconds spent on training steps, evaluation and data; `epochs` is the training clock at each evaluation."""

    train: float = 0.0
    evaluate: float = 0.0
    data: float = 0.0
    epochs: list[tuple[float, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time of the block to one clock; on a GPU, up to the end of what the block queued."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            setattr(self, name, getattr(self, name) + time.perf_counter() - start)


@dataclass(frozen=True)
class Budget:
    """How long a run trains: total steps, and the steps after which it is evaluated."""

    steps: int
    steps_per_epoch: int
    evaluated_after: tuple[int, ...]

    @classmethod
    def of(cls, problem: Mapping[str, Any], examples: int) -> Budget:
        """An epoch has ceil(N / batch) steps, the last one smaller; a budget in steps has whole batches only."""
        per_epoch = math.ceil(examples / problem["batch_size"])
        if problem["epochs"] is not None:
            steps = per_epoch * problem["epochs"]
            return cls(steps, per_epoch, tuple(range(per_epoch, steps + 1, per_epoch)))
        steps = problem["steps"]
        times = min(steps, EVALUATIONS_BY_STEPS)
        return cls(steps, per_epoch, tuple(math.floor(steps * k / times + 0.5) for k in range(1, times + 1)))


def batches(examples: int, *, size: int, seed: int, whole: bool) -> Iterator[torch.Tensor]:
    """Endless batches of indices, each shuffle seeded by itself.

    With `whole`, batches are cut across shuffles and all have `size` examples; else the last of a shuffle is smaller.
    """
    size = min(size, examples)
    rest = torch.empty(0, dtype=torch.int64)
    for shuffle in itertools.count():
        order = torch.randperm(examples, generator=torch.Generator().manual_seed(spec.seed(seed, shuffle)))
        order = torch.cat([rest, order]) if whole else order
        pieces = list(torch.split(order, size))
        rest = pieces.pop() if whole and len(pieces[-1]) < size else rest[:0]
        yield from pieces


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one."""
    return torch.device("cuda" if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()) else "cpu")


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What numbers depend on besides the spec."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "device": device.type, "capability": name, "threads": threads}


def make_deterministic(threads: int) -> None:
    """Settings of the process under which equal seeds give equal bits."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # A debugging aid that costs time and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def run(payload: Mapping[str, Any], parts: Parts, splits: Splits, *, device: torch.device) -> dict[str, Any]:
    """Train as the spec says; `{"result": ..., "timings": ...}` as a record holds them.

    A diverged run is a result too: status `diverged`, with the first step in its reason.

    Raises:
        BadOutput: a part breaks the contract.
    """
    clocks = Clocks()
    with clocks.running("data", device):
        division = _divide(payload, splits)
        division = _to_device(division, device)
    training = Training(payload, parts, division, splits.classes, device, clocks)
    try:
        training.train()
        status, reason = "ok", None
    except Diverged as error:
        status, reason = "diverged", str(error)
    return {"result": training.result(status, reason), "timings": _timings(clocks)}


def build_only(payload: Mapping[str, Any], parts: Parts, splits: Splits, *, device: torch.device) -> int:
    """Build everything that the run would train with, take no step, and give the number of parameters.

    Raises:
        Exception: whatever a part raises that does not fit the data or another part.
    """
    training = Training(payload, parts, _to_device(_divide(payload, splits), device), splits.classes, device, Clocks())
    training.build_optimizer()
    return sum(parameter.numel() for parameter in training.model.parameters())


def _divide(payload: Mapping[str, Any], splits: Splits) -> Division:
    problem = payload["problem"]
    return data.divide(
        splits,
        seed=payload["seeds"]["split"],
        train=problem["train_examples"],
        validation=problem["validation_examples"],
        with_test=payload["phase"] == "final",
    )


def _to_device(division: Division, device: torch.device) -> Division:
    def move(pair: Pair) -> Pair:
        inputs, targets = pair
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs.to(device), targets.to(device)

    return Division(
        train=move(division.train),
        validation=move(division.validation),
        test=None if division.test is None else move(division.test),
    )


def _timings(clocks: Clocks) -> dict[str, Any]:
    return {
        "train_seconds": clocks.train,
        "evaluate_seconds": clocks.evaluate,
        "data_seconds": clocks.data,
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
        device: torch.device,
        clocks: Clocks,
    ) -> None:
        self.payload, self.parts, self.division, self.classes = payload, parts, division, classes
        self.device, self.clocks = device, clocks
        self.problem: Mapping[str, Any] = payload["problem"]
        self.examples = len(division.train[0])
        self.budget = Budget.of(self.problem, self.examples)
        self.step = 0
        self.seen = 0
        self.evaluations: list[list[Any]] = []
        self.best: tuple[float, int, dict[str, torch.Tensor]] | None = None
        self.selected: float | None = None
        self.loss = parts.loss.build(**_options(self.problem["loss"]))
        self.model = self._build_model()
        self.init_hash = weights_hash(self.model)
        self.transfer = self._begin_transfer()
        self.trainable = 0

    def _build_model(self) -> nn.Module:
        torch.manual_seed(self.payload["seeds"]["init"])
        inputs, targets = self.division.train
        outputs = self.classes if self.classes is not None else math.prod(targets.shape[1:])
        model = self.parts.model.build(tuple(inputs.shape[1:]), outputs, **_options(self.problem["model"]))
        if not isinstance(model, nn.Module):
            raise BadOutput(f"model '{self.problem['model']['use']}' built {type(model).__name__}, not an nn.Module")
        layout = torch.channels_last if inputs.dim() == 4 else torch.preserve_format
        return model.to(self.device).to(memory_format=layout)

    def _begin_transfer(self) -> strategies.Transfer:
        return strategies.prepare(
            self.parts.strategy,
            self.model,
            input_example=self.division.train[0][:1],
            head=self.parts.model.head,
            steps=self.budget.steps,
            options=_options(self.problem["strategy"]),
            generator=torch.Generator().manual_seed(self.payload["seeds"]["noise"]),
        )

    def train(self) -> None:
        """All phases, with an evaluation wherever the budget says; then the test set, once, in a final run."""
        batch_indices = batches(
            self.examples,
            size=self.problem["batch_size"],
            seed=self.payload["seeds"]["order"],
            whole=self.problem["epochs"] is None,
        )
        for phase in self.transfer.begin():
            step = self._stepper(phase)
            while self.step < phase.end:
                stop = min(phase.end, next(mark for mark in self.budget.evaluated_after if mark > self.step))
                self._stretch(step, itertools.islice(batch_indices, stop - self.step), phase)
        self._load_best()
        self.transfer.end()
        self._read_test()

    def build_optimizer(self) -> None:
        """Build optimizer and schedule of the first phase, as training would."""
        for phase in itertools.islice(self.transfer.begin(), 1):
            self._stepper(phase)

    def _stepper(self, phase: strategies.RunningPhase) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """A function that does one training step on a batch of indices and returns outputs (B, K) and the loss ()."""
        hyperparameters = _options(self.problem["optimizer"])
        groups = phase.groups(hyperparameters)
        self.trainable = max(self.trainable, sum(p.numel() for group in groups for p in group["params"]))
        optimizer = self.parts.optimizer.build(groups, **hyperparameters)
        phase.adopt(optimizer)
        scheduler = self.parts.schedule.build(
            optimizer, phase.steps, self.budget.steps_per_epoch, **_options(self.problem["schedule"])
        )
        inputs, targets = self.division.train
        penalty, model, loss, name = self.transfer.penalty, self.model, self.loss, self.problem["loss"]["use"]
        autocast = self._autocast

        def step(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            optimizer.zero_grad(set_to_none=True)
            with autocast():
                outputs = model(inputs[indices])
                value = _as_scalar(name, loss(outputs, targets[indices]))
            torch.autograd.backward(value)
            if penalty is not None:
                torch.autograd.backward(penalty())
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            return outputs.detach(), value.detach()

        return step

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.problem["precision"] == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _stretch(
        self,
        step: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        batch_indices: Iterator[torch.Tensor],
        phase: strategies.RunningPhase,
    ) -> None:
        """Train up to the next evaluation, then evaluate."""
        torch.manual_seed(spec.seed(self.payload["seeds"]["noise"], self.step))
        phase.train_mode()
        outputs, losses, used = [], [], []
        begun = self.step
        with self.clocks.running("train", self.device):
            for indices in batch_indices:
                here = indices.to(self.device, non_blocking=True)
                output, loss = step(here)
                outputs.append(output)
                losses.append(loss)
                used.append(here)
                self.step += 1
        self.seen += sum(map(len, used))
        _check_finite(torch.stack(losses), begun)
        if self.step not in self.budget.evaluated_after:
            return
        self.clocks.epochs.append((self.epoch, self.clocks.train))
        with self.clocks.running("evaluate", self.device):
            self._note("train", torch.cat(outputs).float(), self.division.train[1][torch.cat(used)])
            scores = self._evaluate("validation", self.division.validation)
            self._remember_best(scores)

    @property
    def epoch(self) -> float:
        """Passes over the training examples so far."""
        return self.seen / self.examples

    def _evaluate(self, split: str, pair: Pair) -> dict[str, float]:
        """All metrics over a whole split, in evaluation mode."""
        inputs, targets = pair
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            outputs = torch.cat([self.model(chunk).float() for chunk in torch.split(inputs, EVALUATION_BATCH)])
        return self._note(split, outputs, targets)

    def _note(self, split: str, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        predictions = Predictions(outputs, targets, self.loss, self.classes)
        scores: dict[str, float] = {}
        for use, metric in self.parts.metrics.items():
            with torch.inference_mode():
                found = metric.apply(predictions, **_options(self.payload["metrics"][use]))
            scores[use] = _as_number(use, found)
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
            self._evaluate("test", self.division.test)
            self.step, self.seen = at

    def result(self, status: str, reason: str | None) -> dict[str, Any]:
        """The deterministic part of a record."""
        return {
            "status": status,
            "reason": reason,
            "epochs": self.epoch,
            "steps": self.step,
            "examples": self.seen,
            "selected_epoch": self.selected if status == "ok" else None,
            "evaluations": self.evaluations,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "trainable_parameters": self.trainable,
            "init_hash": self.init_hash,
            "weights_hash": weights_hash(self.model) if status == "ok" else None,
        }


def _options(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "use"}


def _check_finite(losses: torch.Tensor, begun: int) -> None:
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise Diverged(f"the training loss was {float(losses[first])} at step {begun + first + 1}")


def _as_scalar(loss: str, found: Any) -> torch.Tensor:
    if isinstance(found, torch.Tensor) and found.dim() == 0 and found.is_floating_point():
        return found
    what = type(found).__name__
    if isinstance(found, torch.Tensor):
        what += f" of shape {tuple(found.shape)}" if found.dim() else f" of {found.dtype}"
    raise BadOutput(f"loss '{loss}' returned {what}; a floating-point tensor without dimensions is allowed")


def _as_number(metric: str, found: Any) -> float:
    if isinstance(found, torch.Tensor) and found.numel() == 1:
        found = found.item()
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadOutput(f"metric '{metric}' returned {type(found).__name__}; a number or a tensor of one is allowed")
    if not math.isfinite(found):
        raise Diverged(f"metric '{metric}' was {found}")
    return float(found)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and bytes of the state dict, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().to("cpu").contiguous()
        digest.update(f"{name}{plain.dtype}{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
