"""Problems and arms of a suite: what each changes of [problem], and what it is called."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import names
from harness.diagnostics import Place, quote
from harness.suite import origin, schema
from harness.suite.source import MISSING, Reading, subject
from harness.toml.scan import Path

PLAN_LIMIT = 100_000
"""Runs that a suite may ask for."""


@dataclass(frozen=True)
class Variant:
    """A problem or an arm: its name, and for each key that it changes the path of the value."""

    name: str
    paths: Mapping[str, Path]
    made_at: Path
    """Where the file makes it: its [[arm]], or its value (or values) in [arms]."""


@dataclass(frozen=True)
class Variants:
    """All problems and arms of a suite."""

    problems: tuple[Variant, ...]
    arms: tuple[Variant, ...]
    complete: bool
    """False where an arm may be missing because its part of the file was refused."""

    def places(self, reading: Reading) -> Place:
        """Where arms are made, for messages about names of arms."""
        path = self.arms[0].made_at if self.arms else ()
        # One list of values is best shown whole.
        shown = path[:-1] if path[:1] == ("arms",) and path[-1:] and isinstance(path[-1], int) else path
        return reading.source.value(shown, "arms are made here")


def expand(reading: Reading) -> Variants | None:
    """Problems and arms in the order of the file; None where the plan is too large to be built."""
    problem_axes, arm_axes = _axes(reading, "problems"), _axes(reading, "arms")
    spelled = _spelled(reading)
    if not _affordable(reading, problem_axes, arm_axes, len(spelled)):
        return None
    by_source = {
        "arms": _combinations(reading, arm_axes, _arm_name) if arm_axes else [],
        "arm": spelled,
    }
    arms = [arm for key in reading.source.values if key in by_source for arm in by_source[key]]
    if not arms and not any(key in reading.source.values for key in by_source):
        arms = [_only_arm(reading)]
    varied = {key for arm in arms for key in arm.paths}

    def name(reading: Reading, paths: Mapping[str, Path]) -> str:
        return _problem_name(reading, paths, varied)

    problems = _combinations(reading, problem_axes, name) if problem_axes else []
    if not problems and "problems" not in reading.source.values:
        problems = [Variant(name(reading, {}), {}, ("problem",))]
    _apart(reading, problem_axes, arms)
    complete = not any(path[:1] in (("arms",), ("arm",)) for path in reading.broken)
    return Variants(_named(reading, problems, "problem"), _named(reading, arms, "arm"), complete)


# Axes ----------------------------------------------------------------------------------------------------------------


def _axes(reading: Reading, table: str) -> dict[str, list[Path]]:
    """For each key of [arms] or [problems] the paths of its values, doubled ones once."""
    lists = reading.get((table,), {})
    if not isinstance(lists, dict):
        return {}
    if not lists and table in reading.source.values:
        cure = f'write [{table}] with lists, such as optimizer = ["sgd", "adam"]'
        reading.refuse((table,), "empty", "no lists of values", help=cure)
    axes = {}
    for key in lists:
        path: Path = (table, key)
        if reading.sound(path) and isinstance(lists[key], list):
            items = [(*path, index) for index in range(len(lists[key]))]
            axes[key] = _differing(reading, [item for item in items if reading.sound(item)])
    _one_budget(reading, axes, table)
    return {key: paths for key, paths in axes.items() if paths}


def _differing(reading: Reading, paths: list[Path]) -> list[Path]:
    first: dict[Any, Path] = {}
    for path in paths:
        same = first.setdefault(comparable(reading.source.at(path)), path)
        if same is not path:
            value = _text(reading, path)
            positions = f"(positions {int(same[-1]) + 1}, {int(path[-1]) + 1})"
            message = f"{subject(path[:-1], reading.source)}: doubled value {quote(value)} {positions}"
            places = reading.source.value(path), reading.source.value(same, "first here")
            reading.add("doubled-value", message, *places)
    return list(first.values())


def comparable(value: Any) -> Any:
    """Equal for values that mean the same: 1 and 1.0, tables in any order; apart for true and 1."""
    if isinstance(value, dict):
        return frozenset((key, comparable(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(comparable(item) for item in value)
    return type(value) is bool, value


def _one_budget(reading: Reading, axes: Mapping[str, Any], table: str) -> None:
    if "epochs" in axes and "steps" in axes:
        places = reading.source.key((table, "steps")), reading.source.key((table, "epochs"), "and here")
        reading.add("conflict", f"[{table}] has both epochs and steps; exactly one sets the budget", *places)


def _apart(reading: Reading, problems: Mapping[str, Any], arms: Sequence[Variant]) -> None:
    """What problems vary, no arm may replace: every problem would be the same."""
    for key in problems:
        for path in (arm.paths[key] for arm in arms if key in arm.paths):
            value = reading.source.at(path)
            if not isinstance(value, dict) or "use" in value:
                places = reading.source.value(path), reading.source.key(("problems", key), "problems vary it")
                message = f"{subject(path, reading.source)}: arms replace what problems vary, '{key}'"
                reading.add("conflict", message, *places, help="vary it in one of them")
                break


def _combinations(reading: Reading, axes: Mapping[str, list[Path]], name: Any) -> list[Variant]:
    variants = []
    for paths in itertools.product(*axes.values()):
        chosen = dict(zip(axes, paths, strict=True))
        made_at = paths[0] if len(paths) == 1 else paths[0][:1]
        variants.append(Variant(name(reading, chosen), chosen, made_at))
    return variants


def _affordable(reading: Reading, problems: Mapping[str, Any], arms: Mapping[str, Any], spelled: int) -> bool:
    """False, with a mistake, where the plan has more runs than the limit; counted without building it."""
    of_problems = math.prod(map(len, problems.values()))
    of_arms = (math.prod(map(len, arms.values())) if arms else 0) + spelled
    folds: Path = ("problem", "folds")
    replicates = reading.get(folds, None) or reading.get(("compare", "replicates"), 5)
    trials = reading.get(("tuning", "trials"), 0)
    repeats = reading.get(("tuning", "repeats"), origin.default_repeats(reading))
    finals = 2 if trials and reading.get(("compare", "untuned"), True) else 1
    studies = 1 if reading.get(("compare", "claim"), "method") == "setting" else replicates
    runs = of_problems * max(1, of_arms) * (studies * trials * repeats + replicates * finals)
    if runs <= PLAN_LIMIT:
        return True
    axes = [f"[problems] {key} {len(paths)}" for key, paths in problems.items()]
    axes += [f"[arms] {key} {len(paths)}" for key, paths in arms.items()]
    axes += [f"[[arm]] {spelled}"] if spelled else []
    axes += [f"replicates {replicates:,}", f"trials {trials:,}", f"repeats {repeats:,}", f"final runs {finals}"]
    sizes = {
        ("compare", "replicates") if reading.source.at(folds) is MISSING else folds: replicates,
        ("tuning", "trials"): trials,
        ("tuning", "repeats"): repeats,
    }
    sizes |= {paths[0][:-1]: len(paths) for paths in [*problems.values(), *arms.values()]}
    largest = max(sizes, key=lambda path: sizes[path])
    message = f"the plan has {runs:,} runs: {', '.join(axes)}"
    cure = "take fewer values, trials or replicates, or split the question into several suites"
    allowed = f"{PLAN_LIMIT:,} runs"
    reading.add("plan-too-large", message, reading.source.value(largest), allowed=allowed, help=cure)
    return False


# Arms spelled out ----------------------------------------------------------------------------------------------------


def _spelled(reading: Reading) -> list[Variant]:
    tables = reading.get(("arm",), [])
    found = []
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        path: Path = ("arm", index)
        name = reading.get((*path, "name"), None)
        if not isinstance(table, dict) or not isinstance(name, str):
            continue
        paths: dict[str, Path] = {key: (*path, key) for key in table if key != "name" and reading.sound((*path, key))}
        found.append(Variant(name, paths, (*path, "name")))
    return found


def _only_arm(reading: Reading) -> Variant:
    path: Path = ("problem", "optimizer")
    given = reading.get(path, schema.Problem.model_fields["optimizer"].default)
    name = given.get("use", schema.Problem.model_fields["optimizer"].default) if isinstance(given, dict) else given
    return Variant(names.sanitized(str(name)), {}, path)


# Names ---------------------------------------------------------------------------------------------------------------


def _arm_name(reading: Reading, paths: Mapping[str, Path]) -> str:
    return "+".join(names.sanitized(_text(reading, path)) for path in paths.values())


def _problem_name(reading: Reading, paths: Mapping[str, Path], varied: set[str]) -> str:
    base = []
    for key in ("dataset", "model"):
        value = reading.get(("problem", key), None)
        if key in paths:
            base.append(_text(reading, paths[key]))
        elif key not in varied and isinstance(value, str | dict):
            base.append(value if isinstance(value, str) else str(value.get("use", "")))
    pieces = ["-".join(base)] if any(base) else []
    for key, path in paths.items():
        if key not in ("dataset", "model"):
            text = _text(reading, path)
            pieces.append(text if key in schema.PART_KEYS else f"{key}-{text}")
    return "+".join(map(names.sanitized, pieces)) or "problem"


def _text(reading: Reading, path: Path) -> str:
    """A value as names show it: a part's name and its options, numbers as written."""
    value = reading.source.at(path)
    if isinstance(value, dict):
        options = itertools.chain.from_iterable((key, _text(reading, (*path, key))) for key in value if key != "use")
        return "-".join([*([str(value["use"])] if "use" in value else []), *options])
    if isinstance(value, list):
        return "-".join(_text(reading, (*path, index)) for index in range(len(value)))
    return value if isinstance(value, str) else reading.source.written(path)


def _named(reading: Reading, variants: Sequence[Variant], what: str) -> tuple[Variant, ...]:
    """The variants, after a look at their names: allowed, and different on every disk."""
    first: dict[str, Variant] = {}
    for variant in variants:
        if rule := names.broken_rule(variant.name):
            _bad_name(reading, variant, what, rule)
            continue
        other = first.setdefault(variant.name.lower(), variant)
        if other is not variant:
            _same_name(reading, variant, other, what)
    return tuple(variants)


def _bad_name(reading: Reading, variant: Variant, what: str, rule: str) -> None:
    spelled = variant.made_at[:1] == ("arm",)
    cure = "" if spelled or what == "problem" else 'spell the arm out: [[arm]] with name = "..."'
    message = f"{what} {quote(variant.name)}: {rule}"
    reading.add("bad-name", message, reading.source.value(variant.made_at), allowed=names.RULE, help=cure)


def _same_name(reading: Reading, variant: Variant, other: Variant, what: str) -> None:
    places = reading.source.value(variant.made_at), reading.source.value(other.made_at, "the other one")
    if variant.name == other.name:
        message = f"two {what}s are named {quote(variant.name)}"
    else:
        message = f"{what}s {quote(other.name)} and {quote(variant.name)} collide on disks that do not tell case"
    reading.add("doubled-name", message, *places, help="every name must differ in more than case")
