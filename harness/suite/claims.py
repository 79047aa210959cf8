"""Published statements that a suite checks: each about one arm on one problem, with the value that is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.registry.catalog import PartInfo, few_names
from harness.suite.arms import Variant, Variants
from harness.suite.checks import check_name, within_unit
from harness.suite.parts import find
from harness.suite.source import MISSING, Reading, subject
from harness.toml.scan import Path

Bound = Literal["at_least", "at_most", "equals"]
BOUNDS: tuple[Bound, ...] = ("at_least", "at_most", "equals")


@dataclass(frozen=True)
class Claim:
    """One [[claim]], every default filled in."""

    statement: str
    problem: str
    arm: str
    metric: PartInfo
    split: Literal["test", "validation", "train"]
    bound: Bound
    value: float
    """In the metric's unit."""
    tolerance: float
    """By which the mean may miss the value."""


def read_claims(reading: Reading, variants: Variants, metric: PartInfo | None) -> tuple[Claim, ...]:
    """The claims of the suite; those with mistakes are left out."""
    tables = reading.get(("claim",), [])
    found = [
        _claim(reading, ("claim", index), table, variants, metric)
        for index, table in enumerate(tables if isinstance(tables, list) else [])
        if isinstance(table, dict)
    ]
    return tuple(claim for claim in found if claim is not None)


def _claim(
    reading: Reading, path: Path, table: dict[str, Any], variants: Variants, metric: PartInfo | None
) -> Claim | None:
    if any(other[: len(path)] == path for other in reading.broken):
        return None
    bound = _bound(reading, path, table)
    arm = _variant(reading, path, "arm", variants.arms)
    problem = _variant(reading, path, "problem", variants.problems)
    if "metric" in table:
        metric = find(reading, "metric", table["metric"], (*path, "metric"))
    numbers: list[Path] = [(*path, key) for key in (bound, "tolerance") if key is not None and key in table]
    sound = [metric is not None and within_unit(reading, number, metric) for number in numbers]
    if bound is None or arm is None or problem is None or metric is None or not all(sound):
        return None
    return Claim(
        statement=table["statement"],
        problem=problem,
        arm=arm,
        metric=metric,
        split=table.get("split", "test"),
        bound=bound,
        value=float(table[bound]),
        tolerance=float(table.get("tolerance", 0.0)),
    )


def _bound(reading: Reading, path: Path, table: dict[str, Any]) -> Bound | None:
    given = [bound for bound in BOUNDS if bound in table]
    if len(given) == 1:
        return given[0]
    allowed = "exactly one of at_least, at_most, equals"
    if given:
        places = reading.source.key((*path, given[1])), reading.source.key((*path, given[0]), "and here")
        message = f"{subject(path, reading.source)} has {' and '.join(given)}"
        reading.add("conflict", message, *places, allowed=allowed)
    else:
        message = f"{subject(path, reading.source)} lacks the value that is claimed"
        reading.add("missing-key", message, reading.source.value(path), allowed=allowed, help="write at_least = ...")
    return None


def _variant(reading: Reading, path: Path, key: Literal["arm", "problem"], known: Sequence[Variant]) -> str | None:
    """The name of the arm or problem that the claim is about; where there is only one it need not be written."""
    names = [variant.name for variant in known]
    name = reading.source.at((*path, key))
    if name is MISSING:
        if len(names) == 1:
            return names[0]
        if names:
            message = f"{subject(path, reading.source)} lacks the key '{key}': the suite has {len(names)} {key}s"
            place = reading.source.value(path)
            reading.add("missing-key", message, place, allowed=few_names("", names), help=f'write {key} = "{names[0]}"')
        return None
    return str(name) if check_name(reading, (*path, key), key, known) else None
