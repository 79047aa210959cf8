"""The smaller tables: tuning, cost, failures, provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.outcomes import FINE, source_failed
from harness.report import labels, transfer, wording
from harness.report.layout import NONE, Cell, Column, Line, Table, as_float, headed, interval, number, seconds, table
from harness.report.results import train_seconds
from harness.report.view import View
from harness.verdict.format import count, listed
from harness.verdict.summary import optimism as optimism_of

LISTED = 200
"""Failed runs that are listed; the rest is counted and stands in runs.csv."""


def chosen(view: View) -> Table | None:
    """The setting that each study chose; None without studies. Of a strategy without meaning no trial was made."""
    studies = view.table("studies", "study_id", "trials")
    studies = studies[studies["trials"] > 0]
    if studies.empty:
        return None
    settings, measure = _chosen_settings(view), view.measure
    validates = not labels.within(view)
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Replicate", True),
        Column("Chosen setting", code=True, wide=True),
        Column("Trial", True),
        Column(headed("Validation in the study", measure.value_unit), True),
        *([Column(headed("Validation of the final run", measure.value_unit), True)] if validates else []),
        Column("Trials ok"),
    ]
    order = sorted(
        (row for _, row in studies.iterrows()),
        key=lambda row: (view.problems.index(row["problem"]), view.order[row["arm"]], row["replicate"]),
    )
    became = ", and what became of it in the final run" if validates else ""
    return table(
        f"The setting that won each study{became}. (edge) marks a value within 5 % of the range's end: the space may "
        "be too small.",
        columns,
        [_choice(view, row, settings.get(str(row["study_id"]), "no setting"), validates) for row in order],
    )


def _choice(view: View, row: pd.Series, setting: str, validates: bool) -> Line:
    """What a study chose; `validates` says whether final runs have a validation set."""
    best = as_float(row["best_trial"])
    cells: list[Cell | str] = [
        *view.problem_cell(str(row["problem"])),
        view.arm_cell(str(row["arm"])),
        Cell(str(int(row["replicate"])), float(row["replicate"])),
        setting,
        number(f"{best:.0f}", best),
        *(_value(view, row[name]) for name in ("best_value", *(["final_value"] if validates else []))),
        Cell(f"{int(row['complete'])}/{int(row['trials'])}", float(row["complete"])),
    ]
    return str(row["arm"]), cells


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


def _value(view: View, value: Any) -> Cell:
    known = as_float(value)
    return number(view.measure.bare(known, view.measure.places), known)


def optimism(view: View) -> Table | None:
    """By how much the studies looked better than what their settings then reached; None where nothing tells."""
    studies = view.table("studies", "study_id")
    if studies.empty or labels.within(view):
        return None
    shared, measure = transfer.shared_by(view), view.measure
    frame = optimism_of(studies, folds=view.suite.compare.folds, checkpoints=shared)
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("n", True),
        Column(headed("Optimism", measure.difference_unit), True),
        Column("95 % interval", True),
    ]
    order = {name: at for names in (view.problems, view.arms) for at, name in enumerate(names)}
    frame = frame.sort_values(["problem", "arm"], key=lambda names: names.map(order))
    return table(
        "Optimism: by how much the validation value of the winning trial is better than that of the final run with the "
        "same setting and fresh seeds. On average the best of several trials looks better than it is."
        f"{'' if shared is None else ' n counts source checkpoints: the means of their replicates.'}",
        columns,
        [_gap(view, row) for _, row in frame.iterrows()],
    )


def _gap(view: View, row: pd.Series) -> Line:
    mean, lo, hi = (float(row[name]) for name in ("mean", "lo", "hi"))
    places = view.measure.decimals(lo, hi) if math.isfinite(lo) else 2
    cells = [
        *view.problem_cell(str(row["problem"])),
        view.arm_cell(str(row["arm"])),
        Cell(str(int(row["n"])), float(row["n"])),
        number(view.measure.bare(mean, places), mean),
        interval(view.measure, lo, hi, places),
    ]
    return str(row["arm"]), cells


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
    train = train_seconds(view)
    rows = [_spent(view, row, train) for _, row in frame.iterrows()]
    rows.sort(key=lambda row: view.order[row[0]])
    return table(
        f"Seconds on the training clock, which counts training steps only; final runs are those of the main setting "
        f"({view.main_setting}). Memory is the largest resident size of a run's process.",
        columns,
        rows,
    )


def _spent(view: View, row: pd.Series, train: Mapping[tuple[str, str, str], float]) -> Line:
    """Times and memory of an arm; `train` has the seconds of a final run by problem, arm and setting."""
    times = [Cell(NONE)] * 2
    if view.clocks_comparable:
        final = train.get((str(row["problem"]), str(row["arm"]), view.main_setting), math.nan)
        times = [seconds(as_float(row["tune_seconds"])), seconds(final)]
    memory = as_float(row["peak_memory_mb"])
    cells = [
        *view.problem_cell(str(row["problem"])),
        view.arm_cell(str(row["arm"])),
        *times,
        number(f"{memory:,.0f}", memory),
        "yes" if view.clocks_comparable else "no",
    ]
    return str(row["arm"]), cells


def failures(view: View) -> Table | None:
    """Every run that failed, with its reason; None when none did.

    Runs that had no weights to start from stand in one line for each arm, setting and reason.
    """
    runs = view.table("runs", "run_id", "status", "phase", "problem", "arm", "setting", "replicate", "trial", "reason")
    bad = runs[~runs["status"].isin(FINE)]
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
    lost = pd.Series([source_failed(*row) for row in zip(bad["status"], bad["reason"], strict=True)], index=bad.index)
    own, without = bad[~lost.astype(bool)], bad[lost.astype(bool)]
    rows = [_failure(view, row) for _, row in own.head(LISTED).iterrows()]
    rows += [_without_weights(view, group) for _, group in without.groupby(list(_ALIKE), sort=False)]
    more = f" The first {LISTED} of {len(own)} are listed; all are in tables/runs.csv." if len(own) > LISTED else ""
    said = "" if without.empty else " Runs that had no weights to start from are gathered: their arm did not fail."
    return table(
        f"Runs that failed. Failed trials are spent, failed final runs are counted.{said}{more}", columns, rows
    )


_ALIKE = ("problem", "arm", "setting", "phase", "reason")


def _failure(view: View, row: pd.Series) -> Line:
    trial = as_float(row["trial"])
    where: list[Cell | str] = [Cell(str(int(row["replicate"])), float(row["replicate"])), str(row["phase"])]
    return _line(view, row, [*where, number(f"{trial:.0f}", trial)], str(row["run_id"])[:12] or NONE)


def _without_weights(view: View, rows: pd.DataFrame) -> Line:
    """One line for runs of an arm that could not start for one reason."""
    replicates = sorted(set(rows["replicate"].astype(int)))
    shown = Cell(listed(list(map(str, replicates))), float(replicates[0]))
    where: list[Cell | str] = [shown, str(rows["phase"].iat[0]), NONE]
    return _line(view, rows.iloc[0], where, count(len(rows), "run"))


def _line(view: View, row: pd.Series, where: list[Cell | str], run: str) -> Line:
    reason = "" if pd.isna(row["reason"]) else str(row["reason"])
    cells = [
        *view.problem_cell(str(row["problem"])),
        view.arm_cell(str(row["arm"])),
        wording.setting(str(row["setting"])),
        *where,
        str(row["status"]).replace("_", " "),
        reason if len(reason) <= 300 else f"{reason[:299]}…",
        run,
    ]
    return str(row["arm"]), cells


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
