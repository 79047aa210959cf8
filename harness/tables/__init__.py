"""Records as tidy frames: one row a run, an evaluation, a study, a trial, in the plan's order and never in time's."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from harness import outcomes, tune
from harness.coordinator import Entry, Walk
from harness.hookspecs import Choice, Domain, domain_to_plain
from harness.plan import Label, Plan
from harness.registry.catalog import PartInfo
from harness.tables import columns, per_class

EDGE = 0.05
"""A value lies on an edge within this share of the (log) range from a bound."""
_DTYPES = {"string": "str", "integer": "Int64", "number": "float64", "boolean": "boolean", "datetime": "str"}
Rows = Iterable[Mapping[str, Any]]


def build(plan: Plan, walk: Walk) -> dict[str, pd.DataFrame]:
    """All tables that follow from records alone; `verdict` adds `summary` and `comparisons`."""
    everything = [*walk.sources, *walk.entries]
    unique = list({entry.run_id: entry for entry in everything if entry.record is not None}.values())
    finals_of = _finals_of_studies(walk)
    rows: dict[str, Rows] = {
        "runs": (_run(plan, entry) for entry in everything),
        "evaluations": (row for entry in unique for row in _evaluations(entry)),
        "studies": (_study(plan, study, finals_of) for study in walk.studies),
        "trials": (row for study in walk.studies for row in _trials(study)),
        "trial_parameters": (row for study in walk.studies for row in _trial_parameters(study)),
        "classes": per_class.classes(plan, walk),
        "confusion": per_class.confusion(walk),
        "blocks": (row for entry in walk.entries for row in _blocks(entry)),
        "metrics": (_metric(plan, metric) for metric in _all_metrics(plan)),
        "timings": (_timing(entry) for entry in unique),
        "epoch_timings": (row for entry in unique for row in _epoch_timings(entry)),
        "cost": _costs(plan, walk),
    }
    return {name: frame(name, made) for name, made in rows.items()}


def frame(table: str, rows: Rows) -> pd.DataFrame:
    """Rows as a frame with the table's declared columns and types."""
    values: dict[str, list[Any]] = {name: [] for name in columns.names(table)}
    for row in rows:
        for name, column in values.items():
            column.append(row.get(name))
    made = {}
    for name, type_, *_ in columns.TABLES[table][1]:
        column = pd.Series(values.pop(name), dtype=object)
        made[name] = column.astype(_DTYPES[type_]) if type_ in ("integer", "number", "boolean") else column
    return pd.DataFrame(made)


def finals(plan: Plan, walk: Walk) -> pd.DataFrame:
    """Test values of the final runs, one row a (problem, arm, setting, replicate, metric).

    `value` is missing where the run failed; `counted` then holds the metric's floor, if it has one. A run that says
    nothing of its arm (`outcomes.set_aside`) has neither.
    """
    rows = []
    for entry in walk.entries:
        if entry.label.phase == "final":
            for metric in plan.metrics(entry.label.problem):
                rows.append(_final(plan, entry, metric))
    names = ["problem", "arm", "setting", "replicate", "metric", "value", "counted", "status"]
    names += ["reason", "run_id", "weights_hash", "n_examples"]
    made = pd.DataFrame(rows, columns=names, dtype=object)
    types = {"value": "float64", "counted": "float64", "replicate": "int64", "n_examples": "int64"}
    return made.astype(types)


def _final(plan: Plan, entry: Entry, metric: PartInfo) -> dict[str, Any]:
    value = next((row[5] for row in entry.result["evaluations"] if row[3] == "test" and row[4] == metric.name), None)
    ok = entry.result["status"] == "ok" and value is not None
    aside = outcomes.set_aside(entry.result["status"], entry.result["reason"])
    floor = None if aside else plan.floor(entry.label.problem, metric)
    return {
        "problem": entry.label.problem,
        "arm": entry.label.arm,
        "setting": entry.label.setting,
        "replicate": entry.label.replicate,
        "metric": metric.name,
        "value": value if ok else None,
        "counted": value if ok else floor,
        "status": entry.result["status"],
        "reason": entry.result["reason"],
        "run_id": entry.run_id,
        "weights_hash": entry.result.get("weights_hash"),
        "n_examples": plan.tested(entry.label.problem),
    }


def _run(plan: Plan, entry: Entry) -> dict[str, Any]:
    label, result = entry.label, entry.result
    seeds: Mapping[str, int] = {} if entry.record is None else entry.record["spec"]["seeds"]
    transfer = result.get("transfer") or {}
    kept = ("status", "reason", "selected_epoch", "parameters", "trainable_parameters", "init_hash", "weights_hash")
    return {
        "run_id": entry.run_id,
        "phase": label.phase,
        "problem": label.problem,
        "arm": label.arm,
        "replicate": label.replicate,
        "setting": label.setting,
        "trial": label.trial,
        "repeat": label.repeat if label.phase == "tune" else None,
        **{name: result.get(name) for name in kept},
        **{name: result.get(name, 0) for name in ("epochs", "steps", "examples")},
        "stopped_early": bool(result.get("stopped_early", False)),
        "epoch_rule": "last" if label.phase == "source" else plan.epoch_rule(label.problem, label.arm),
        "validation": plan.validation(label),
        **{f"seed_{stream}": value for stream, value in seeds.items()},
        "hyperparameters": json.dumps(dict(entry.hyperparameters), sort_keys=True),
        **transfer,
        "phases": json.dumps(transfer["phases"]) if transfer else None,
    }


def _blocks(entry: Entry) -> Iterator[dict[str, Any]]:
    label = entry.label
    for row in (entry.result.get("transfer") or {}).get("blocks") or ():
        yield {
            "run_id": entry.run_id,
            "problem": label.problem,
            "arm": label.arm,
            "setting": label.setting,
            "replicate": label.replicate,
            **row,
            "multipliers": json.dumps(row["multipliers"]),
        }


def _evaluations(entry: Entry) -> Iterator[dict[str, Any]]:
    selected = entry.result.get("selected_epoch")
    for epoch, step, examples, split, metric, value, n_examples in entry.result["evaluations"]:
        yield {
            "run_id": entry.run_id,
            "epoch": epoch,
            "step": step,
            "examples": examples,
            "split": split,
            "metric": metric,
            "value": value,
            "n_examples": n_examples,
            "selected": selected is not None and epoch == selected,
        }


def _finals_of_studies(walk: Walk) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Results of the tuned final runs, by problem, arm and replicate."""
    tuned = [entry for entry in walk.entries if entry.label.phase == "final" and entry.label.setting == "tuned"]
    return {(e.label.problem, e.label.arm, e.label.replicate): e.result for e in tuned}


def _study(plan: Plan, study: tune.Study, finals_of: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    tuning, metric, best = plan.suite.tuning, plan.suite.metric, study.best
    place = Label(study.problem, study.arm, study.replicate, "final", "tuned")
    final = _validation_of_final(plan, place, finals_of.get((study.problem, study.arm, study.replicate)))
    sign = 1.0 if metric.extra["direction"] == "maximize" else -1.0
    known = best is not None and best.value is not None and final is not None
    states = [trial.state for trial in study.trials]
    return {
        "study_id": study.id,
        "problem": study.problem,
        "arm": study.arm,
        "replicate": study.replicate,
        "sampler": tuning.sampler,
        "pruner": tuning.pruner,
        "metric": metric.name,
        "validation": plan.validation(replace(place, phase="tune")),
        "direction": metric.extra["direction"],
        "trials": len(study.trials),
        **{state: states.count(state) for state in ("complete", "pruned", "failed")},
        "batch": tuning.batch,
        "repeats": tuning.repeats,
        "dimensions": len(study.space),
        "space_hash": tune.space_hash(study.space),
        "space": json.dumps({name: domain_to_plain(domain) for name, domain in study.space.items()}, sort_keys=True),
        "best_trial": None if best is None else best.number,
        "best_value": None if best is None else best.value,
        "final_value": final,
        "optimism": sign * (best.value - final) if known else None,  # type: ignore[union-attr,operator]
        "edges": 0 if best is None else sum(on_edge(study.space[n], v) for n, v in best.hyperparameters.items()),
    }


def _validation_of_final(plan: Plan, place: Label, result: Mapping[str, Any] | None) -> float | None:
    if result is None or result["status"] != "ok" or not tune.curve(plan, result):
        return None  # there is no validation set where a share of the labels validates
    return tune.validation_value(plan, place, result)


def _trials(study: tune.Study) -> Iterator[dict[str, Any]]:
    for trial in study.trials:
        yield {
            "study_id": study.id,
            "trial": trial.number,
            "batch": trial.batch,
            "state": trial.state,
            "value": trial.value,
            "told": trial.told,
            "pruned_epoch": trial.pruned_epoch,
            "run_ids": " ".join(trial.run_ids),
            "reason": trial.reason,
        }


def _trial_parameters(study: tune.Study) -> Iterator[dict[str, Any]]:
    for trial in study.trials:
        for name, value in trial.hyperparameters.items():
            domain = study.space[name]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            bounds = {} if isinstance(domain, Choice) else {"low": domain.low, "high": domain.high, "log": domain.log}
            yield {
                "study_id": study.id,
                "trial": trial.number,
                "name": name,
                "value": value if number else None,
                "text": None if number else json.dumps(value),
                **bounds,
                "on_edge": None if isinstance(domain, Choice) else on_edge(domain, value),
            }


def on_edge(domain: Domain, value: Any) -> bool:
    """Whether the value lies within 5 % of the (log) range of a bound; never for a choice."""
    if isinstance(domain, Choice):
        return False
    scale = math.log if domain.log else float
    low, high, here = scale(domain.low), scale(domain.high), scale(value)
    return min(here - low, high - here) <= EDGE * (high - low)


def _all_metrics(plan: Plan) -> list[PartInfo]:
    found = {metric.name: metric for problem in plan.suite.problems for metric in plan.metrics(problem)}
    return list(found.values())


def _metric(plan: Plan, metric: PartInfo) -> dict[str, Any]:
    floors = {plan.floor(problem, metric) for problem in plan.suite.problems}
    unit = metric.extra["unit"]
    return {
        "metric": metric.name,
        "direction": metric.extra["direction"],
        "unit": unit,
        "display": "%" if unit == "fraction" else unit,
        "floor": floors.pop() if len(floors) == 1 else None,
        "ceiling": metric.extra["ceiling"],
        "description": metric.summary,
        "plugin": str(metric.origin),
    }


def _timing(entry: Entry) -> dict[str, Any]:
    assert entry.record is not None
    observed, environment = entry.record["observed"], entry.record["environment"]
    timings = observed.get("timings", {})
    words = (environment.get("device"), environment.get("capability"), f"torch {environment.get('torch')}")
    clocks = ("train_seconds", "evaluate_seconds", "data_seconds", "step_milliseconds", "peak_memory_mb")
    return {
        "run_id": entry.run_id,
        "started": observed.get("started"),
        "ended": _ended(observed),
        "attempt": observed.get("attempt"),
        "total_seconds": observed.get("total_seconds"),
        **{name: timings.get(name) for name in clocks},
        "overlapped": observed.get("overlapped"),
        "environment": ", ".join(map(str, (*words, f"{environment.get('threads')} threads"))) if environment else "",
    }


def _ended(observed: Mapping[str, Any]) -> str | None:
    if "started" not in observed:
        return None
    ended = datetime.fromisoformat(observed["started"]) + timedelta(seconds=observed["total_seconds"])
    return ended.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _epoch_timings(entry: Entry) -> Iterator[dict[str, Any]]:
    assert entry.record is not None
    for epoch, seconds in entry.record["observed"].get("timings", {}).get("epochs", ()):
        yield {"run_id": entry.run_id, "epoch": epoch, "train_seconds": seconds}


def _costs(plan: Plan, walk: Walk) -> Iterator[dict[str, Any]]:
    for problem, arm in plan.settings:
        here = [e for e in walk.entries if (e.label.problem, e.label.arm) == (problem, arm) and e.record is not None]
        mine = {entry.run_id: entry for entry in here}.values()  # a setting that was tried again took no time
        timings = [_timing(entry) for entry in mine]
        tuned = [t["train_seconds"] or 0.0 for e, t in zip(mine, timings, strict=True) if e.label.phase == "tune"]
        final = [t["train_seconds"] for e, t in zip(mine, timings, strict=True) if e.label.phase == "final"]
        final = [seconds for seconds in final if seconds is not None]
        memory = [t["peak_memory_mb"] for t in timings if t["peak_memory_mb"] is not None]
        yield {
            "problem": problem,
            "arm": arm,
            "tune_seconds": math.fsum(tuned),
            "train_seconds_median": statistics.median(final) if final else None,
            "target_seconds_median": None,
            "peak_memory_mb": max(memory) if memory else None,
            "comparable": not any(t["overlapped"] for t in timings) and len({t["environment"] for t in timings}) <= 1,
        }
