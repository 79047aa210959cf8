"""A small suite in memory: its plan without a child process, and answers to its runs without training."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.execute import Job, Outcome
from harness.hookspecs import Domain, Float
from harness.plan import DataFacts, Plan
from harness.registry.catalog import Catalog, Origin, PartInfo
from harness.spec import digest
from harness.suite import load
from tests.conftest import SUITE, changed, to_toml

ORIGIN = Origin("small", "1.0", "small", "small.py", "ab" * 32)
LR = Float(1e-3, 1.0, log=True)
FACTS = DataFacts(240, 100, (4,), 2, ("left", "right"), {"train": "11" * 32, "test": "22" * 32}, (120, 120))
Result = Mapping[str, Any]


def _part(
    kind: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    space: Mapping[str, Domain] | None = None,
    **extra: Any,
) -> PartInfo:
    return PartInfo(kind, name, ORIGIN, options or {}, space=space or {}, summary=f"The {name}.", extra=extra)


_CLASSES, _OPEN = "classification", {"floor": None, "ceiling": None}
CATALOG = Catalog(
    (
        _part("dataset", "clouds", {"noise": 1.0}),
        _part("model", "line", {"width": 8}),
        _part("loss", "cross_entropy", {"label_smoothing": 0.0}, task="classification"),
        _part("loss", "mse", task=None),
        _part("optimizer", "sgd", {"lr": 0.01, "nesterov": False}, {"lr": LR}),
        _part("optimizer", "adam", {"lr": 0.001, "beta1": 0.9}, {"lr": LR}),
        _part("optimizer", "plain", {"lr": 0.01}),
        _part("schedule", "constant", watches=None),
        _part("schedule", "plateau", {"factor": 0.1, "metric": "loss"}, watches="metric"),
        _part("augmentation", "rotate", {"degrees": 15.0}, draws=1),
        _part("augmentation", "crop", {"padding": 4}, draws=2),
        _part("strategy", "full", {"head_scale": 1.0}),
        _part("executor", "process"),
        _part("executor", "serial"),
        _part("executor", "cluster", {"scheduler": ""}),
        _part("metric", "accuracy", direction="maximize", unit="fraction", floor="chance", ceiling=1.0, task=_CLASSES),
        _part("metric", "f1", direction="maximize", unit="fraction", floor=0.0, ceiling=1.0, task=_CLASSES),
        _part("metric", "recall", direction="maximize", unit="fraction", floor=0.0, ceiling=1.0, task=_CLASSES),
        _part("metric", "calibration", {"bins": 15}, direction="minimize", unit="fraction", task=_CLASSES, **_OPEN),
        _part("metric", "mse", direction="minimize", unit="", task="regression", **_OPEN),
        _part("metric", "loss", direction="minimize", unit="", task=None, **_OPEN),
    )
)


def a_plan(folder: Path, changes: Mapping[str, Any] | None = None, *, facts: DataFacts = FACTS) -> Plan:
    """The plan of the small suite with some dotted keys changed, on data that are only described."""
    path = folder / "suite.toml"
    path.write_text(to_toml(changed(SUITE, changes or {})))
    suite = load(path, CATALOG)
    return Plan(suite, CATALOG, folder, dict.fromkeys(suite.problems, facts))


def share(payload: Mapping[str, Any], *names: Any) -> float:
    """A number in [0, 1) that depends on nothing but the payload and the names."""
    return int(digest([payload, list(names)])[:12], 16) / 16**12


def ok(payload: Mapping[str, Any], score: Callable[[str, int], float] | None = None, *, epochs: int = 2) -> Result:
    """A result as training gives it, with scores that depend on the payload alone (or on split and epoch).

    A run is stopped where its payload says so, as training does.
    """
    scored = score or (lambda split, epoch: share(payload, split, epoch))
    final = payload["phase"] == "final"
    rows: list[list[Any]] = []
    splits = [("train", 120), ("validation", 80)]
    validates = "within" in payload or payload["problem"]["validation_examples"]
    for epoch in range(1, epochs + 1):
        for split, n in splits if validates else splits[:1]:
            accuracy = scored(split, epoch)
            rows += [[float(epoch), 4 * epoch, 120 * epoch, split, "accuracy", accuracy, n]]
            rows += [[float(epoch), 4 * epoch, 120 * epoch, split, "loss", 1 - accuracy, n]]
        if (reason := stopped(payload, rows)) is not None:
            return {**_result(payload, rows, epoch), "status": "pruned", "reason": reason, "weights_hash": None}
    name = payload.get("select", {}).get("metric", "accuracy")
    sign = 1 if name == "accuracy" else -1
    validation = {row[0]: sign * row[5] for row in rows if row[3] == "validation" and row[4] == name}
    selected = max(validation, key=lambda epoch: (validation[epoch], -epoch), default=float(epochs))
    if final:
        accuracy, step = scored("test", int(selected)), 4 * int(selected)
        rows += [[selected, step, 30 * step, "test", "accuracy", accuracy, 100]]
        rows += [[selected, step, 30 * step, "test", "loss", 1 - accuracy, 100]]
        return {**_result(payload, rows, epochs), "selected_epoch": selected, "details": details(payload)}
    return {**_result(payload, rows, epochs), "selected_epoch": selected}


def details(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a final run keeps of a test set of 100 examples in two classes."""
    right = [25 + int(25 * share(payload, "right", at)) for at in range(2)]
    confusion = [[right[0], 50 - right[0]], [50 - right[1], right[1]]]
    predicted = [right[0] + 50 - right[1], right[1] + 50 - right[0]]
    area = share(payload, "area")
    counts = {"support": [50, 50], "predicted": predicted, "right": right, "confusion": confusion}
    return {"task": "classification", "examples": 100, **counts, "auc": [area, area], "mistakes": []}


def stopped(payload: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> str | None:
    """Why the run ends after its latest evaluation, as `payload["prune"]` asks; None where it goes on."""
    prune = payload.get("prune")
    if prune is None:
        return None
    values = [row[5] for row in rows if row[3] == "validation" and row[4] == prune["metric"]]
    threshold, worse = prune["thresholds"][len(values) - 1], 1.0 if prune["direction"] == "minimize" else -1.0
    judged = (min(values, key=lambda value: worse * value)) if prune["judge"] == "best" else values[-1]
    if threshold is None or worse * judged <= worse * threshold:
        return None
    return f"validation {prune['metric']} {judged:.4g} at evaluation {len(values)} was worse than {threshold:.4g}"


def _result(payload: Mapping[str, Any], rows: list[list[Any]], epochs: int) -> dict[str, Any]:
    return {
        "status": "ok",
        "reason": None,
        "epochs": float(epochs),
        "steps": 4 * epochs,
        "examples": 120 * epochs,
        "selected_epoch": None,
        "evaluations": rows,
        "parameters": 58,
        "trainable_parameters": 58,
        "init_hash": digest([payload["seeds"]["init"]]),
        "weights_hash": digest([payload]),
    }


def failed(status: str = "error", reason: str = "RuntimeError: no such luck") -> Result:
    """A result without numbers."""
    return {"status": status, "reason": reason, "evaluations": []}


class Answering:
    """An executor that trains nothing: it gives `answer(payload)`, in an order drawn from a seed."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Result] = ok, *, slots: int = 1, seed: int = 0) -> None:
        self.slots, self.answer = slots, answer
        self.done: list[Job] = []
        self.most = 0
        self._under_way: list[Job] = []
        self._random = random.Random(seed)

    def submit(self, job: Job) -> None:
        """Take the job on."""
        assert len(self._under_way) < self.slots
        self._under_way.append(job)
        self.most = max(self.most, len(self._under_way))

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """Some of the jobs that are under way, sometimes none."""
        self._random.shuffle(self._under_way)
        some = [self._under_way.pop() for _ in range(self._random.randint(0, len(self._under_way)))]
        self.done += some
        return [self._outcome(job) for job in some]

    def _outcome(self, job: Job) -> Outcome:
        result = self.answer(job.payload)
        if result["status"] in ("killed", "crashed", "timeout"):
            return Outcome(job.id, result, {}, {"attempt": 3, "total_seconds": 7.0})
        environment = {"torch": "2.0", "device": "cpu", "capability": "AVX2", "threads": 1}
        timings = {"train_seconds": 1.5, "evaluate_seconds": 0.5, "data_seconds": 0.25, "peak_memory_mb": 300.0}
        observed = {
            "attempt": 1,
            "overlapped": False,
            "host": "somewhere",
            "started": "2024-02-29T23:59:58.500000Z",
            "total_seconds": 2.5,
            "timings": {**timings, "epochs": [[1.0, 0.75], [2.0, 1.5]]},
        }
        return Outcome(job.id, result, environment, observed)

    def close(self) -> None:
        """Nothing is left to end."""
