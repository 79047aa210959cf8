"""Answers about data and costs, given by the child process of `harness.describe`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness import data as data_module
from harness import train
from harness.catalog import Origin
from harness.hookspecs import Splits

_STEPS = 30
_WARM_UP = 5
_EVALUATED = 2000
_seen: dict[str, Splits] = {}


def _load(options: Mapping[str, Any], origin: Mapping[str, Any], root: str) -> Splits:
    key = repr((options, origin, root))
    if key not in _seen:
        _seen[key] = data_module.load(options, Origin(**origin), Path(root))
    return _seen[key]


def data(question: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes, shape, classes and fingerprints of a data set, as `plan.DataFacts`."""
    splits = _load(question["dataset"], question["origin"], question["root"])
    return {
        "train": len(splits.train[0]),
        "test": len(splits.test[0]),
        "input_shape": list(splits.train[0].shape[1:]),
        "classes": splits.classes,
        "class_names": list(splits.class_names),
        "fingerprints": {"train": data_module.fingerprint(splits.train), "test": data_module.fingerprint(splits.test)},
    }


def price(question: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds a training step and an evaluated example, by a short run of the setting, as `plan.Price`."""
    payload = dict(question["payload"])
    problem = {**payload["problem"], "epochs": None, "train_examples": None}
    payload["seeds"] = dict.fromkeys(("split", "init", "order", "augmentation", "noise"), 0)
    origins = {kind: Origin(**origin) for kind, origin in question["origins"].items()}
    splits = _load(problem["dataset"], question["origins"]["dataset"], question["root"])
    few = min(_EVALUATED, len(splits.train[0]) // 2)
    parts = train.Parts.load(payload, origins)
    device = train.choose_device(question["device"])
    train.make_deterministic(payload["threads"])
    seconds = {}
    for steps in (_WARM_UP, _STEPS):
        payload["problem"] = {**problem, "steps": steps, "validation_examples": few}
        begun = time.perf_counter()
        outcome = train.run(payload, parts, splits, device=device)
        seconds[steps] = time.perf_counter() - begun
    timings, result = outcome["timings"], outcome["result"]
    evaluations = max(1, len({row[1] for row in result["evaluations"]}))
    return {
        "step_seconds": timings["train_seconds"] / max(1, result["steps"]),
        "example_seconds": timings["evaluate_seconds"] / (evaluations * few),
        "parameters": result["parameters"],
    }


__all__ = ["data", "price", "torch"]
