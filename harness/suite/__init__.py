"""From a TOML file to a typed `Suite`, or to every mistake in it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from harness import names, toml
from harness.diagnostics import Mistake, MistakesError, Place, quote
from harness.hookspecs import KINDS, Plain
from harness.registry.catalog import Catalog, PartInfo
from harness.suite import checks, declaration, idle, labels, origin, schema, tables
from harness.suite.arms import Variant, Variants, expand
from harness.suite.claims import Claim, read_claims
from harness.suite.parts import Chosen, Parts, canonical
from harness.suite.shape import check_shape
from harness.suite.source import MISSING, Reading, check_leaves, combine
from harness.suite.space import Space
from harness.suite.typed import Compare, Execution, Report, Setting, Suite, Tuning
from harness.toml.scan import Path


def load(path: FilePath, catalog: Catalog, overrides: Sequence[str] = ()) -> Suite:
    """The suite in the file, with each `key.path=value` of the overrides laid over it.

    Raises:
        MistakesError: a SuiteError whose text shows every mistake and whose `mistakes` are data.
    """
    document = toml.read(path)
    if document.mistakes:
        raise MistakesError(document.mistakes, document.name)
    source, mistakes = combine(document, overrides)
    if mistakes:
        raise MistakesError(mistakes, document.name)
    reading = Reading(source, catalog)
    suite = _read(reading, path)
    if reading.mistakes or suite is None:
        raise MistakesError(reading.mistakes, document.name)
    return suite


def json_schema(catalog: Catalog) -> dict[str, Any]:
    """JSON Schema of a suite file, with the names of the installed parts."""
    return declaration.json_schema({kind: catalog.names(kind) for kind in KINDS})


def _read(reading: Reading, path: FilePath) -> Suite | None:
    """The suite, or None where that could not be made for the mistakes that `reading` now has."""
    _check_file_name(reading, path)
    check_leaves(reading)
    check_shape(reading)
    variants = expand(reading)
    parts = Parts(reading)
    metric, also = _metric(reading, parts), _also(reading, parts)
    _check_parts(reading, parts)
    executor = _executor(reading, parts)
    space = Space(reading)
    settings = _settings(reading, variants, parts, space) if variants else []
    if settings and variants and variants.complete and len(settings) == len(variants.problems) * len(variants.arms):
        space.check_used()
        _check_idle(reading, variants, parts, settings)
    checks.check(reading, variants, [setting.values for setting in settings])
    idle.check_stepless(reading, settings)
    if metric is not None:
        checks.within_unit(reading, ("compare", "margin"), metric)
    claims = read_claims(reading, variants, metric) if variants else ()
    if reading.mistakes or variants is None or metric is None or executor is None:
        return None
    return _build(reading, path, variants, tuple(settings), (metric, *also), executor, claims)


def _check_file_name(reading: Reading, path: FilePath) -> None:
    if rule := names.broken_rule(path.stem):
        message = f"the file's name {quote(path.stem)} cannot name a suite: {rule}"
        reading.add("bad-name", message, reading.source.file.whole(), allowed=names.RULE)


def _metric(reading: Reading, parts: Parts, path: Path = ("compare", "metric")) -> PartInfo | None:
    """The metric that is named there, with its options as the suite has them."""
    value = reading.source.at(path)
    if isinstance(value, dict) and "use" not in value:
        reading.refuse(path, "missing-key", "a table of options lacks 'use', the name of the metric")
    chosen = None if value is MISSING else parts.choose("metric", (path,))
    if chosen is None:
        return None
    return replace(chosen.info, options=chosen.values) if chosen.fixed else chosen.info


def _also(reading: Reading, parts: Parts) -> list[PartInfo]:
    """The further metrics, each once: a second one of the same name would have the same rows."""
    first: dict[str, Path] = {}
    if (compared := _metric(reading, parts)) is not None:
        first[compared.name] = ("compare", "metric")
    found = []
    for index in range(len(reading.get(("compare", "also"), []))):
        path: Path = ("compare", "also", index)
        metric = _metric(reading, parts, path)
        if metric is None:
            continue
        if (earlier := first.setdefault(metric.name, path)) != path:
            where = "it is compared already" if earlier[1] == "metric" else f"position {int(earlier[2]) + 1} has it"
            reading.refuse(path, "doubled-value", f"doubled metric {quote(metric.name)}: {where}")
            continue
        found.append(metric)
    return found


def _executor(reading: Reading, parts: Parts) -> Chosen | None:
    path: Path = ("execution", "executor")
    return parts.choose("executor", () if reading.source.at(path) is MISSING else (path,))


_OTHER_KEYS = {*schema.PART_KEYS, *schema.PARTS_KEYS, *schema.TABLE_KEYS}
_PLAIN_KEYS = tuple(key for key in schema.Problem.model_fields if key not in _OTHER_KEYS)
"""Keys of [problem] whose value is a number or a word."""


# Settings ------------------------------------------------------------------------------------------------------------


def _check_parts(reading: Reading, parts: Parts) -> None:
    """Look at every part that stands somewhere in the suite."""
    for kind in (*schema.PART_KEYS, *schema.PARTS_KEYS):
        for table in ("problem", "problems", "arms"):
            value = reading.source.at((table, kind))
            if table == "problem":
                parts.check(kind, (table, kind))
            elif isinstance(value, list):
                for index in range(len(value)):
                    parts.check(kind, (table, kind, index))
        arms = reading.source.at(("arm",))
        for index in range(len(arms)) if isinstance(arms, list) else ():
            parts.check(kind, ("arm", index, kind))


def _check_idle(reading: Reading, variants: Variants, parts: Parts, settings: Sequence[Setting]) -> None:
    layers = {
        kind: [_layers(reading, kind, problem, arm) for problem in variants.problems for arm in variants.arms]
        for kind in schema.PART_KEYS
    }
    idle.check_taken(reading, parts, layers)
    by_arm: dict[str, list[Setting]] = {}
    for setting in settings:
        by_arm.setdefault(setting.arm, []).append(setting)
    idle.check_apart(reading, variants, by_arm)


def _settings(reading: Reading, variants: Variants, parts: Parts, space: Space) -> list[Setting]:
    tuned = reading.get(("tuning", "trials"), 0) > 0
    checks.check_budget(reading)
    settings = []
    for problem in variants.problems:
        for arm in variants.arms:
            layers = {key: _layers(reading, key, problem, arm) for key in schema.Problem.model_fields}
            chosen = {kind: parts.choose(kind, layers[kind]) for kind in schema.PART_KEYS}
            there = {kind: part for kind, part in chosen.items() if part is not None}
            extras = tables.extras(reading, parts, layers)
            if len(there) < len(chosen) or extras is None:
                continue
            keys = {key: paths[-1] for key, paths in layers.items() if paths and key in _PLAIN_KEYS}
            searched = space.of({**there, "regularisation": extras.penalties}, keys)
            searched = searched if tuned else {}
            origins = {kind: part.info.origin for kind, part in there.items()} | extras.origins
            values = _values(reading, there, keys) | extras.values(searched)
            values |= origin.transfer_values(reading, keys)
            watched = tables.watched(there["schedule"], extras)
            source = origin.origins(reading, parts, layers["model"])
            beside = _beside(there["strategy"].info)
            given = frozenset(keys) | tables.given(there.values(), extras)
            places = _places(reading, layers, arm)
            settings.append(
                Setting(problem.name, arm.name, values, searched, origins, watched, source, beside, given, places)
            )
    return settings


def _places(reading: Reading, layers: Mapping[str, tuple[Path, ...]], arm: Variant) -> dict[str, Place]:
    found = {key: reading.source.value(paths[-1]) for key, paths in layers.items() if paths}
    return {**found, "": reading.source.value(arm.made_at)}


def _beside(strategy: PartInfo) -> tuple[str, ...]:
    """What a strategy has beside the choice of what learns, as `Setting.beside` lists it."""
    extra = strategy.extra
    start = [f"start {extra['start']}"] if extra.get("start", "source") != "source" else []
    return (*extra.get("hooks", ()), *start, *(() if extra.get("weight_decay", True) else ("no decay",)))


def _layers(reading: Reading, key: str, problem: Variant, arm: Variant) -> tuple[Path, ...]:
    """Where the key has values, the one that counts last."""
    base: Path = ("problem", key)
    paths = [base] if reading.source.at(base) is not MISSING else []
    return (*paths, *(variant.paths[key] for variant in (problem, arm) if key in variant.paths))


def _values(reading: Reading, parts: Mapping[str, Chosen], keys: Mapping[str, Path]) -> dict[str, Plain]:
    fields = schema.Problem.model_fields
    values: dict[str, Plain] = {kind: {"use": part.use, **part.values} for kind, part in parts.items()}
    for key in _PLAIN_KEYS:
        if key not in schema.TRANSFER and (key in keys or key not in schema.LATER_KEYS):
            values[key] = reading.get(keys[key], None) if key in keys else fields[key].default
    if labels.WITHIN in keys:
        values["validation_examples"] = 0
    # A budget of [problems] takes the place of the one in [problem], whichever of the two it is.
    if "epochs" in keys and "steps" in keys:
        values["epochs" if keys["steps"][0] == "problems" else "steps"] = None
    elif "steps" not in keys and "epochs" not in keys:
        values["epochs"] = schema.DEFAULT_EPOCHS
    return values


# Building ------------------------------------------------------------------------------------------------------------


def _build(
    reading: Reading,
    path: FilePath,
    variants: Variants,
    settings: tuple[Setting, ...],
    metrics: tuple[PartInfo, ...],
    executor: Chosen,
    claims: tuple[Claim, ...],
) -> Suite:
    file = schema.SuiteFile.model_validate(reading.source.values)
    arms = tuple(arm.name for arm in variants.arms)
    baseline = file.compare.baseline or arms[0]
    others = tuple(arm for arm in arms if arm != baseline)
    primary = others if file.compare.primary is None else tuple(file.compare.primary)
    metric, *also = metrics
    names_of: dict[str, Any] = {"metric": canonical(reading.catalog, metric), "baseline": baseline, "primary": primary}
    names_of["nested"] = tuple((inner, outer) for inner, outer in file.compare.nested or ())
    names_of["also"] = tuple(canonical(reading.catalog, one) for one in also)
    folds = file.problem.folds
    replicates = {"folds": folds, "replicates": folds or file.compare.replicates}
    source = origin.read(reading, folds or file.compare.replicates)
    of_source = {"repeats": file.tuning.repeats or origin.default_repeats(reading)}
    last = source is not None or labels.asked(reading)
    names_of["epoch"] = file.compare.epoch or ("last" if last else "best_validation")
    chosen = {"executor": executor.use, "options": dict(executor.values), "origin": executor.info.origin}
    return Suite(
        path=path,
        name=path.stem,
        text=reading.source.file.text,
        question=file.question,
        seed=file.seed,
        schema=file.schema_,
        problems=tuple(problem.name for problem in variants.problems),
        arms=arms,
        settings=settings,
        tuning=Tuning(**{**file.tuning.model_dump(exclude={"space"}), **of_source}),
        compare=Compare(**{**file.compare.model_dump(), **names_of, **replicates}),
        execution=Execution(**{**file.execution.model_dump(), **chosen}),
        metric=metric,
        claims=claims,
        also=tuple(also),
        report=Report(**file.report.model_dump()),
        source=source,
    )


__all__ = [
    "Claim",
    "Compare",
    "Execution",
    "Mistake",
    "MistakesError",
    "Report",
    "Setting",
    "Suite",
    "Tuning",
    "json_schema",
    "load",
]
