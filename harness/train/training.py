"""RunSpec to result: a run, or as much of it as shows that its parts fit each other."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.hookspecs import Splits
from harness.strategies.source import Source
from harness.strategies.weights import save_state
from harness.train.device import Clocks
from harness.train.division import Division, Fold, Subset, Within, divide
from harness.train.loop import Keep, Training
from harness.train.parts import Parts
from harness.train.returned import Diverged
from harness.train.scoring import Pruned

WARM_UP = 5
"""So many steps are left out of the median time of a step."""


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
    return divide(
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
        within=Within(**payload["within"]) if "within" in payload else None,
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
