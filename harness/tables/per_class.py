"""What final runs kept of the test set, as rows: how each class fared, and which was taken for which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.coordinator import Entry, Walk
from harness.plan import Plan

Rows = Iterator[Mapping[str, Any]]


def finals(walk: Walk) -> Iterator[tuple[Entry, Mapping[str, Any]]]:
    """Final runs with their details (`harness.details`); those of an earlier harness kept none."""
    for entry in walk.entries:
        if entry.label.phase == "final" and (found := entry.result.get("details")):
            yield entry, found


def classes(plan: Plan, walk: Walk) -> Rows:
    """Rows of the table `classes`."""
    for entry, found in finals(walk):
        if found["task"] != "classification":
            continue
        names = plan.facts[entry.label.problem].class_names
        areas = found.get("auc") or [None] * len(found["support"])
        counts = zip(found["support"], found["predicted"], found["right"], areas, strict=True)
        for number, (support, predicted, right, area) in enumerate(counts):
            yield {
                **_place(entry),
                "class": number,
                "name": names[number] if names else None,
                "support": support,
                "precision": right / predicted if predicted else 0.0,
                "recall": right / support if support else None,
                "f1": 2 * right / (support + predicted) if support + predicted else None,
                "auc": area,
            }


def confusion(walk: Walk) -> Rows:
    """Rows of the table `confusion`; pairs that do not occur are left out."""
    for entry, found in finals(walk):
        for true, row in enumerate(found.get("confusion", ())):
            for predicted, count in enumerate(row):
                if count:
                    yield {**_place(entry), "true": true, "predicted": predicted, "count": count}


def _place(entry: Entry) -> dict[str, Any]:
    label = entry.label
    return {
        "problem": label.problem,
        "arm": label.arm,
        "setting": label.setting,
        "replicate": label.replicate,
    }
