"""The parts of one run, and the options that its spec gives them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from harness.hookspecs import Augmentation, Metric, Model
from harness.registry import load_part
from harness.registry.catalog import Origin
from harness.train.returned import as_network


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
        parts["model"] = replace(parts["model"], build=_checked(parts["model"]))
        metrics = {use: load_part("metric", use, origins[f"metric:{use}"]) for use in payload["metrics"]}
        listed = [part["use"] for part in problem.get("augmentation", ())]
        augmentations = tuple(load_part("augmentation", use, origins[f"augmentation:{use}"]) for use in listed)
        return cls(**parts, metrics=metrics, augmentations=augmentations)


def _checked(model: Model) -> Callable[..., nn.Module]:
    """The model's `build`, whose network is looked at before anyone uses it."""

    @functools.wraps(model.build)
    def build(*arguments: Any, **given: Any) -> nn.Module:
        return as_network(model.name, model.build(*arguments, **given))

    return build


def options(part: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec gives a part, without the part's name."""
    return {name: value for name, value in part.items() if name != "use"}
