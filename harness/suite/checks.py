"""Rules between the keys of a suite: what one of them makes of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness import pruning
from harness.diagnostics import Place, quote
from harness.registry.catalog import PartInfo, few_names
from harness.suite import labels, origin
from harness.suite.arms import Variant, Variants
from harness.suite.parts import did_you_mean
from harness.suite.source import MISSING, Reading, subject
from harness.toml.scan import Path

CONTROLS = ("scratch", "linear_probe", "full")
"""Strategies without which nothing can be said of another: no transfer, no training of the backbone, all of it."""


def lacking_controls(settings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The controls that no arm is; `settings` are the values of each (problem, arm)."""
    uses = {str(values["strategy"]["use"]).rpartition(":")[2] for values in settings}
    return tuple(name for name in CONTROLS if name not in uses)


def unmatched(stepless: Sequence[str]) -> str:
    """What every answer about an arm says that takes no steps; empty where none of these arms is one."""
    if not stepless:
        return ""
    verb = "is" if len(stepless) == 1 else "are"
    return f"{' and '.join(stepless)} {verb} not matched in steps: the head is fitted to its optimum."


def check(reading: Reading, variants: Variants | None, settings: Sequence[Mapping[str, Any]]) -> None:
    """Report what contradicts: pruner and budget, folds and replicates, label budgets and sizes, arms, controls.

    `settings` are the values of each (problem, arm).
    """
    _check_pruner(reading, settings)
    _check_folds(reading)
    labels.check(reading, settings)
    origin.check(reading, settings)
    if variants:
        _check_compare(reading, variants)
        _check_controls(reading, variants, settings)


def check_budget(reading: Reading) -> None:
    """Epochs or steps, not both."""
    both: tuple[Path, Path] = (("problem", "epochs"), ("problem", "steps"))
    if all(reading.source.at(path) is not MISSING for path in both):
        epochs, steps = (reading.source.key(path) for path in both)
        later, earlier = (epochs, steps) if epochs.order > steps.order else (steps, epochs)
        message = "[problem] has both epochs and steps; exactly one sets the budget"
        reading.add("conflict", message, later, earlier, help="leave one of them out")


def _check_folds(reading: Reading) -> None:
    """Folds are the replicates, and each must have a study of its own: another's has seen its test examples."""
    path: Path = ("problem", "folds")
    if (folds := reading.get(path, None)) is None or not reading.sound(path):
        return
    replicates: Path = ("compare", "replicates")
    if reading.get(replicates, folds) != folds and reading.sound(replicates):
        places = reading.source.value(path), reading.source.value(replicates, "and here")
        message = f"folds = {folds} makes {folds} replicates, one for each fold"
        reading.add("conflict", message, *places, help="leave replicates out")
    if reading.get(("compare", "claim"), "method") == "setting" and reading.get(("tuning", "trials"), 0):
        places = reading.source.value(path), reading.source.value(("compare", "claim"), "and here")
        message = 'folds with claim = "setting": the one study would be tuned on what other folds test on'
        reading.add("conflict", message, *places, help="leave claim out, which tunes anew in each fold")


def _check_pruner(reading: Reading, settings: Sequence[Mapping[str, Any]]) -> None:
    """A pruner must be able to stop something: between evaluations of a run, or between repeats of a trial."""
    path: Path = ("tuning", "pruner")
    pruner = reading.get(path, "none")
    repeats = reading.get(("tuning", "repeats"), origin.default_repeats(reading))
    # A budget that was refused is in no setting.
    sound = [values for values in settings if values["epochs"] is not None or values["steps"] is not None]
    times = min(map(pruning.evaluations, sound), default=2)
    if not reading.sound(path) or (why := pruning.why_never(pruner, times=times, repeats=repeats)) is None:
        return
    if pruner == "wilcoxon":
        other: Path = ("tuning", "repeats")
        allowed, cure = f"repeats of {pruning.WILCOXON_PAIRS + 1} or more", 'raise repeats, or write pruner = "none"'
    else:
        budgets: list[Path] = [(table, key) for table in ("problems", "problem") for key in ("steps", "epochs")]
        other = next((one for one in budgets if reading.source.at(one) is not MISSING), ("problem",))
        allowed, cure = "epochs or steps of 2 or more", 'raise the budget, or write pruner = "none"'
    places = reading.source.value(path), reading.source.value(other)
    reading.add("conflict", f"[tuning] pruner: {why}", *places, allowed=allowed, help=cure)


# Comparison ----------------------------------------------------------------------------------------------------------


def _check_compare(reading: Reading, variants: Variants) -> None:
    arms = [arm.name for arm in variants.arms]
    if not (variants.complete and arms and reading.sound(("compare",))):
        return
    path: Path = ("compare", "baseline")
    baseline = reading.get(path, None)
    refused = [str(other[1]) for other in reading.broken if other[0] == "compare" and len(other) > 1]
    misspelt = any(did_you_mean(key, ["baseline"]) for key in refused)
    if isinstance(baseline, str):
        _check_arm(reading, path, variants)
    elif len(arms) > 1 and reading.source.at(path) is MISSING and not misspelt and "compare" in reading.source.values:
        place, cure = reading.source.value(("compare",)), f'write baseline = "{arms[0]}"'
        message = "[compare] lacks the key 'baseline': which arm the others are compared with"
        reading.add("missing-key", message, place, allowed=few_names("", arms), help=cure)
    _check_primary(reading, variants, baseline)
    _check_nested(reading, variants)
    if reading.get(("report", "arm"), None) is not None:
        _check_arm(reading, ("report", "arm"), variants)


def _check_primary(reading: Reading, variants: Variants, baseline: str | None) -> None:
    path: Path = ("compare", "primary")
    first: dict[str, int] = {}
    for index, name in enumerate(reading.get(path, [])):
        at: Path = (*path, index)
        if not reading.sound(at):
            continue
        if name == baseline:
            message = f"'{name}' is the baseline, which is not compared with itself"
            reading.refuse(at, "conflict", message)
        elif first.setdefault(name, index) != index:
            message = f"doubled value {quote(name)} (positions {first[name] + 1}, {index + 1})"
            reading.refuse(at, "doubled-value", message)
        else:
            _check_arm(reading, at, variants)


def _check_nested(reading: Reading, variants: Variants) -> None:
    """Each pair names two arms, and stands once."""
    path: Path = ("compare", "nested")
    first: dict[tuple[str, ...], int] = {}
    for index, pair in enumerate(reading.get(path, [])):
        at: Path = (*path, index)
        sides: list[Path] = [(*at, side) for side in range(2)]
        known = [reading.sound(side) and _check_arm(reading, side, variants) for side in sides]
        if not all(known):
            continue
        if pair[0] == pair[1]:
            reading.refuse(at, "conflict", f"{quote(pair[0])} is paired with itself; a pair is [special, general]")
        elif first.setdefault(tuple(pair), index) != index:
            message = (
                f"doubled pair {quote(pair[0])}, {quote(pair[1])} (positions {first[tuple(pair)] + 1}, {index + 1})"
            )
            reading.refuse(at, "doubled-value", message)


def _check_controls(reading: Reading, variants: Variants, settings: Sequence[Mapping[str, Any]]) -> None:
    """A fine-tuning suite has the controls, or says that it has not."""
    path: Path = ("compare", "controls")
    if not reading.sound(path):
        return
    moves = origin.asked(reading)
    if not moves and reading.get(path, True) is False:
        message = "controls = false says nothing without [source]: controls are strategies of fine-tuning"
        reading.add("conflict", message, reading.source.value(path), help="leave controls out")
    whole = variants.complete and len(settings) == len(variants.problems) * len(variants.arms)
    lacks = lacking_controls(settings) if whole and settings else ()
    if moves and lacks and reading.get(path, True):
        message = f"no arm has the {'strategies' if len(lacks) > 1 else 'strategy'} {' and '.join(lacks)}"
        message += ", without which nothing can be said of another strategy"
        cure = "add them to [arms], or write [compare] controls = false, which every output then says"
        made = variants.places(reading)
        reading.add("no-controls", message, made, allowed=f"all of {', '.join(CONTROLS)}", help=cure)


def _check_arm(reading: Reading, path: Path, variants: Variants) -> bool:
    """Whether the value at the path is the name of an arm; a mistake if not."""
    made = variants.places(reading)
    return check_name(reading, path, "arm", variants.arms, *([made] if made.line else []))


def within_unit(reading: Reading, path: Path, metric: PartInfo) -> bool:
    """Whether the number at the path can be a value of the metric; a mistake, if it is a percentage of a fraction."""
    number = reading.source.at(path)
    if metric.extra.get("unit") != "fraction" or not isinstance(number, int | float) or 0 <= number <= 1:
        return True
    cure = f"{number:g} % is {number / 100:g}" if 1 < number <= 100 else ""
    reading.refuse(path, "out-of-range", f"'{metric.name}' is a fraction", allowed="0 to 1", help=cure)
    return False


def check_name(reading: Reading, path: Path, what: str, known: Sequence[Variant], *made: Place) -> bool:
    """Whether the value at the path names one of the arms or problems; a mistake, with where they are made, if not."""
    name, names = reading.source.at(path), [variant.name for variant in known]
    if name in names:
        return True
    message = f"{subject(path, reading.source)}: no {what} named {quote(name)}"
    places = reading.source.value(path), *made
    reading.add("unknown-name", message, *places, allowed=few_names(name, names), help=did_you_mean(name, names))
    return False
