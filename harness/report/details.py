"""The smaller tables: tuning, cost, failures, provenance."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.outcomes import NOT_APPLICABLE
from harness.report import labels, wording
from harness.report.layout import NONE, Cell, Column, Line, Table, number, seconds, table
from harness.report.results import train_seconds
from harness.report.view import View
from harness.verdict.summary import optimism as optimism_of

LISTED = 200
"""Failed runs that are listed; the rest is counted and stands in runs.csv."""


def chosen(view: View) -> Table | None:
    """The setting that each study chose; None without studies."""
    studies = view.table("studies", "study_id")
    if studies.empty:
        return None
    settings, measure = _chosen_settings(view), view.measure
    validates = not labels.within(view)
    unit = f", {measure.value_unit}" if measure.value_unit else ""
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Replicate", True),
        Column("Chosen setting", code=True, wide=True),
        Column("Trial", True),
        Column(f"Validation in the study{unit}", True),
        *([Column(f"Validation of the final run{unit}", True)] if validates else []),
        Column("Trials ok"),
    ]
    places = {arm: at for at, arm in enumerate(view.arms)}
    order = sorted(
        (row for _, row in studies.iterrows()),
        key=lambda row: (view.problems.index(row["problem"]), places[row["arm"]], row["replicate"]),
    )
    rows: list[Line] = []
    for row in order:
        best = _optional(row["best_trial"])
        rows.append(
            (
                str(row["arm"]),
                [
                    *view.problem_cell(str(row["problem"])),
                    view.arm_cell(str(row["arm"])),
                    Cell(str(int(row["replicate"])), float(row["replicate"])),
                    settings.get(str(row["study_id"]), "no setting"),
                    number(f"{best:.0f}", best),
                    _value(view, row["best_value"]),
                    *([_value(view, row["final_value"])] if validates else []),
                    Cell(f"{int(row['complete'])}/{int(row['trials'])}", float(row["complete"])),
                ],
            )
        )
    became = ", and what became of it in the final run" if validates else ""
    return table(
        f"The setting that won each study{became}. (edge) marks a value within 5 % of the range's end: the space may "
        "be too small.",
        columns,
        rows,
    )


def _chosen_settings(view: View) -> dict[str, str]:
    """By study: `batch_size=64, optimizer.lr=0.0123`."""
    studies = view.table("studies", "study_id", "best_trial")[["study_id", "best_trial"]].dropna()
    parameters = view.table("trial_parameters", "study_id", "trial", "name", "value", "text", "on_edge")
    rows = parameters.merge(studies, left_on=["study_id", "trial"], right_on=["study_id", "best_trial"])
    found: dict[str, list[str]] = {}
    for _, row in rows.sort_values(["study_id", "name"]).iterrows():
        value = row["text"] if isinstance(row["text"], str) else f"{float(row['value']):.4g}"
        edge = " (edge)" if not pd.isna(row["on_edge"]) and bool(row["on_edge"]) else ""
        found.setdefault(str(row["study_id"]), []).append(f"{row['name']}={value}{edge}")
    return {study: ", ".join(parts) for study, parts in found.items()}


def _optional(value: Any) -> float:
    return math.nan if pd.isna(value) else float(value)


def _value(view: View, value: Any) -> Cell:
    measure, known = view.measure, _optional(value)
    places = 2 if measure.unit == "fraction" else 4
    return number(measure.value(known, places).removesuffix(measure.value_unit).strip(), known)


def optimism(view: View) -> Table | None:
    """By how much the studies looked better than what their settings then reached; None where nothing tells."""
    studies = view.table("studies", "study_id")
    if studies.empty or labels.within(view):
        return None
    frame, measure = optimism_of(studies, folds=view.suite.compare.folds), view.measure
    unit = f", {measure.difference_unit}" if measure.difference_unit else ""
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("n", True),
        Column(f"Optimism{unit}", True),
        Column("95 % interval", True),
    ]
    rows: list[Line] = []
    for _, row in frame.sort_values(
        "arm", key=lambda arms: arms.map({a: i for i, a in enumerate(view.arms)})
    ).iterrows():
        mean, lo, hi = (float(row[name]) for name in ("mean", "lo", "hi"))
        places = measure.decimals(lo, hi) if math.isfinite(lo) else 2
        text = measure.difference(mean, places).removesuffix(measure.difference_unit).strip()
        rows.append(
            (
                str(row["arm"]),
                [
                    *view.problem_cell(str(row["problem"])),
                    view.arm_cell(str(row["arm"])),
                    Cell(str(int(row["n"])), float(row["n"])),
                    number(text, mean),
                    Cell(measure.interval(lo, hi, places), lo) if math.isfinite(lo) else Cell(NONE),
                ],
            )
        )
    return table(
        "Optimism: by how much the validation value of the winning trial is better than that of the final run with the "
        "same setting and fresh seeds. The best of several trials always looks better than it is.",
        columns,
        rows,
    )


def cost(view: View) -> Table | None:
    """Seconds and memory per arm; blank where they must not be compared, None without records of it."""
    frame = view.table("cost", "problem", "arm")
    if frame.empty:
        return None
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("All tuning runs, s", True),
        Column("A final run, s (median)", True),
        Column("Peak memory, MB", True),
        Column("Comparable"),
    ]
    rows: list[Line] = []
    train = train_seconds(view)
    for _, row in frame.iterrows():
        times = [Cell(NONE)] * 2
        if view.clocks_comparable:
            final = train.get((str(row["problem"]), str(row["arm"]), view.main_setting), math.nan)
            times = [seconds(_optional(row["tune_seconds"])), seconds(final)]
        memory = _optional(row["peak_memory_mb"])
        rows.append(
            (
                str(row["arm"]),
                [
                    *view.problem_cell(str(row["problem"])),
                    view.arm_cell(str(row["arm"])),
                    *times,
                    number(f"{memory:,.0f}", memory),
                    "yes" if view.clocks_comparable else "no",
                ],
            )
        )
    places = {arm: at for at, arm in enumerate(view.arms)}
    rows.sort(key=lambda row: places[row[0]])
    return table(
        f"Seconds on the training clock, which counts training steps only; final runs are those of the main setting "
        f"({view.main_setting}). Memory is the largest resident size of a run's process.",
        columns,
        rows,
    )


def failures(view: View) -> Table | None:
    """Every run that failed, with its reason; None when none did."""
    runs = view.table("runs", "run_id", "status", "phase", "problem", "arm", "setting", "replicate", "trial", "reason")
    bad = runs[~runs["status"].isin(["ok", "pruned", NOT_APPLICABLE])]
    if bad.empty:
        return None
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Setting"),
        Column("Replicate", True),
        Column("Phase"),
        Column("Trial", True),
        Column("Status"),
        Column("Reason", wide=True),
        Column("Run", code=True),
    ]
    rows: list[Line] = []
    for _, row in bad.head(LISTED).iterrows():
        trial, reason = _optional(row["trial"]), "" if pd.isna(row["reason"]) else str(row["reason"])
        rows.append(
            (
                str(row["arm"]),
                [
                    *view.problem_cell(str(row["problem"])),
                    view.arm_cell(str(row["arm"])),
                    wording.setting(str(row["setting"])),
                    Cell(str(int(row["replicate"])), float(row["replicate"])),
                    str(row["phase"]),
                    number(f"{trial:.0f}", trial),
                    str(row["status"]).replace("_", " "),
                    reason if len(reason) <= 300 else f"{reason[:299]}…",
                    str(row["run_id"])[:12] or NONE,
                ],
            )
        )
    more = f" The first {LISTED} of {len(bad)} are listed; all are in tables/runs.csv." if len(bad) > LISTED else ""
    return table(f"Runs that failed. Failed trials are spent, failed final runs are counted.{more}", columns, rows)


def environment(view: View) -> Table:
    """Versions and device of the machine, without its name."""
    rows = [
        ("", [str(name), NONE if value is None else str(value)]) for name, value in view.findings.environment.items()
    ]
    return table("Environment", [Column("What"), Column("Value", wide=True)], rows)


def parts(view: View) -> Table:
    """The parts that the suite uses, with the version and source hash that are part of every run's id."""
    columns = [Column("Kind"), Column("Part"), Column("From"), Column("Source SHA-256", code=True)]
    return table("Parts", columns, [("", list(part)) for part in view.findings.parts])
