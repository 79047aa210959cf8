"""Label budgets: how many examples of a class are labelled, and what of them validates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.suite.source import MISSING, Reading
from harness.toml.scan import Path

WITHIN = "validation_within"


def asked(reading: Reading) -> bool:
    """Whether a share of the labels validates, and final runs have no validation set."""
    return _place(reading, WITHIN) is not None


def check(reading: Reading, settings: Iterable[Mapping[str, Any]]) -> None:
    """Report what says the size of a set twice, and what next to `validation_within` has no meaning.

    `settings` are the values of each (problem, arm).
    """
    _check_twice(reading, "labels_per_class", "train_examples", "how many examples to train on")
    if (within := _place(reading, WITHIN)) is None:
        return
    _check_twice(reading, WITHIN, "validation_examples", "how many examples to validate on")
    if not reading.sound(within):
        return
    if _place(reading, "labels_per_class") is None:
        message = "validation_within is a share of labels_per_class, which the suite does not have"
        cure = "write labels_per_class = 10, say, or validation_examples in place of validation_within"
        reading.add("conflict", message, reading.source.key(within), help=cure)
    values = list(settings)
    _check_steps(reading, within, values)
    _check_one_label(reading, within)
    _check_validating(reading, within, values)


def _place(reading: Reading, key: str) -> Path | None:
    """Where [problem] or [problems] has the key."""
    paths: list[Path] = [("problem", key), ("problems", key)]
    return next((path for path in paths if reading.source.at(path) is not MISSING), None)


def _check_twice(reading: Reading, one: str, other: str, what: str) -> None:
    first, second = _place(reading, one), _place(reading, other)
    if first is not None and second is not None:
        places = reading.source.key(first), reading.source.key(second, "and here")
        reading.add("conflict", f"{one} and {other} both say {what}", *places, help="leave one of them out")


def _check_steps(reading: Reading, within: Path, settings: Iterable[Mapping[str, Any]]) -> None:
    """Tuning and final runs have equal steps: an epoch of a part of the labels is shorter than one of all of them."""
    if all(values["epochs"] is None for values in settings):
        return
    epochs = _place(reading, "epochs")
    places = reading.source.key(within), *([] if epochs is None else [reading.source.key(epochs, "and here")])
    message = "validation_within needs a budget in steps: an epoch of a tuning run has fewer than one of a final run"
    reading.add("conflict", message, *places, help="write steps = 100, say" + (" in place of epochs" if epochs else ""))


def _check_one_label(reading: Reading, within: Path) -> None:
    """One label cannot both train and validate; without tuning nothing validates."""
    labels = _place(reading, "labels_per_class")
    if labels is None or not reading.get(("tuning", "trials"), 0):
        return
    budget = reading.get(labels, None)
    if 1 in (budget if isinstance(budget, list) else [budget]):
        places = reading.source.value(labels), reading.source.key(within, "and here")
        message = "labels_per_class = 1 leaves no label to train on beside the one that validates"
        reading.add("conflict", message, *places, allowed='2 or more, or "all"', help="leave validation_within out")


def _check_validating(reading: Reading, within: Path, settings: Iterable[Mapping[str, Any]]) -> None:
    """Final runs have no validation set, so nothing in them may follow one."""
    found: list[tuple[Path, str, str]] = []
    epoch: Path = ("compare", "epoch")
    if reading.get(epoch, "last") != "last":
        found.append((epoch, 'epoch = "best_validation"', "leave epoch out: runs end with their last step"))
    stops = [values for values in settings if "early_stopping" in values]
    if stops:
        path = _place(reading, "early_stopping") or within
        found.append((path, "early_stopping", 'write early_stopping = "none", or validation_examples'))
    schedules = {str(values["schedule"]["use"]) for values in settings}
    for name in sorted(use for use in schedules if reading.catalog.find("schedule", use).extra.get("watches")):
        path = _place(reading, "schedule") or within
        found.append((path, f"schedule '{name}'", "take one that follows no metric, or write validation_examples"))
    for index, claim in enumerate(reading.get(("claim",), None) or ()):
        if isinstance(claim, dict) and claim.get("split") == "validation":
            cure = 'write split = "test", or validation_examples in place of validation_within'
            found.append((("claim", index, "split"), f"claim {index + 1}", cure))
    for path, what, cure in found:
        places = reading.source.value(path), *([] if path == within else [reading.source.key(within, "and here")])
        message = f"{what} needs a validation set, and next to validation_within final runs have none"
        reading.add("conflict", message, *places, help=cure)
