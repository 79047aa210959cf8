"""The parts of one run, and the options that its spec gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.hookspecs import Augmentation, Metric
from harness.registry import load_part
from harness.registry.catalog import Origin


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


def options(part: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec gives a part, without the part's name."""
    return {name: value for name, value in part.items() if name != "use"}
