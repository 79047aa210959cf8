"""What the tables say of fine-tuning, run by run; every page and figure of it starts here."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from harness.outcomes import NOT_APPLICABLE, source_failed
from harness.report.view import UNTUNED, View
from harness.verdict.judgement import averaged_over, checkpoints_of

MEASURES = ("trainable_share", "forgetting_kept", "forgetting_refit", "stored_bytes", "saved_bytes")
"""Columns of `runs` that only runs with a source have."""
_RUN = ("run_id", "arm", "replicate", "status", "reason", "hyperparameters", "trainable_parameters", *MEASURES)


def moved(view: View) -> bool:
    """Whether some final run says what fine-tuning did."""
    runs = view.table("runs", "phase").reindex(columns=["phase", *MEASURES])
    return bool(runs.loc[runs["phase"] == "final", list(MEASURES)].notna().any(axis=None))


def runs_of(view: View, problem: str, setting: str) -> pd.DataFrame:
    """Final runs of a problem and setting, arms in declared order: what `runs` and `timings` say, and the value.

    Columns: those of `runs`, `step_milliseconds`, `value` and `counted` (stored unit), `checkpoint` (number from 0).
    """
    runs = view.table("runs", "phase", "problem", "setting")
    runs = runs[(runs["phase"] == "final") & (runs["problem"] == problem) & (runs["setting"] == setting)]
    clocks = view.table("timings", "run_id").reindex(columns=["run_id", "step_milliseconds"])
    values = view.finals(problem, setting)[["arm", "replicate", "value", "counted"]]
    made = runs.reindex(columns=list(_RUN)).merge(clocks.drop_duplicates("run_id"), on="run_id", how="left")
    made = made.astype({"replicate": "int64"}).merge(values, on=["arm", "replicate"], how="left")
    made = made.assign(checkpoint=made["replicate"] % (checkpoints(view) or 1), place=made["arm"].map(view.order))
    return made.sort_values(["place", "replicate"]).drop(columns="place").reset_index(drop=True)


def checkpoints(view: View) -> int | None:
    """Trained networks that replicates start from; None where they start from chance."""
    return checkpoints_of(view.suite)


def shared_by(view: View) -> int | None:
    """Checkpoints, where several replicates start from each of several; else None."""
    return averaged_over(checkpoints(view), replicates=view.suite.compare.replicates)


def use_of(view: View, arm: str, problem: str) -> str:
    """The name of the arm's strategy, without its distribution."""
    for setting in view.suite.settings:
        if (setting.arm, setting.problem) == (arm, problem):
            strategy: Any = setting.values.get("strategy") or {}
            return str(strategy.get("use", "")).rpartition(":")[2]
    return ""


def summary_row(view: View, problem: str, arm: str, setting: str) -> pd.Series | None:
    """The arm's row of `summary` for the compared metric."""
    rows = view.table("summary", "problem", "arm", "setting", "metric")
    rows = rows[(rows["problem"] == problem) & (rows["arm"] == arm) & (rows["setting"] == setting)]
    rows = rows[rows["metric"] == view.measure.name]
    return rows.iloc[0] if len(rows) else None


def verdict_row(view: View, problem: str, arm: str) -> pd.Series | None:
    """The comparison of the arm with the baseline in the main setting."""
    rows = view.pairs
    rows = rows[(rows["problem"] == problem) & (rows["arm"] == arm) & (rows["setting"] == view.main_setting)]
    rows = rows[rows["baseline"] == view.baseline]
    return rows.iloc[0] if len(rows) else None


def note(runs: pd.DataFrame) -> str:
    """Why an arm has no value, or fewer runs than planned: `not applicable: the model has no norm layer`."""
    why = runs[runs["status"] == NOT_APPLICABLE]["reason"]
    texts = [f"not applicable: {reason}" for reason in dict.fromkeys(map(str, why))]
    lost = [source_failed(*row) for row in zip(runs["status"], runs["reason"], strict=True)]
    texts += [f"no weights to start from in {sum(lost)} of {len(runs)}: their source run failed"] if any(lost) else []
    failed = (~runs["status"].isin(["ok", NOT_APPLICABLE])) & ~pd.Series(lost, index=runs.index, dtype=bool)
    texts += [f"{int(failed.sum())} failed"] if failed.any() else []
    return "; ".join(texts)


def rates(view: View, problem: str, arm: str, runs: pd.DataFrame) -> list[float]:
    """Learning rates that the runs had, by replicate: chosen by their studies, or given."""
    chosen = [json.loads(text).get("optimizer.lr") for text in runs["hyperparameters"] if isinstance(text, str)]
    found = [float(rate) for rate in chosen if rate is not None]
    if found:
        return found
    settings = [s for s in view.suite.settings if (s.problem, s.arm) == (problem, arm) and not s.exact]
    values = settings[0].values if settings else {}
    optimizer: Any = values.get("optimizer") or {}
    given = optimizer.get("lr") if isinstance(optimizer, dict) else None
    return [float(given)] if isinstance(given, int | float) and len(runs) else []


def mean(column: pd.Series) -> float:
    """The mean of what is there; nan where nothing is."""
    known = pd.to_numeric(column).dropna()
    return float(known.mean()) if len(known) else math.nan


def size(number: float, *, whole: bool = False) -> str:
    """Bytes in words: `512 B`, `36.2 KiB`, `7.77 MiB`; a `whole` number of them has no decimals."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 999.5 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" or whole else f"{_three(number)} {unit}"


def _three(number: float) -> str:
    """Three digits: `7.77`, `36.2`, `815`."""
    places = max(0, 2 - len(str(int(abs(number)))) + 1)
    return f"{number:,.{places}f}"


def percent(share: float) -> str:
    """A share of the parameters with two digits at least: `0.36`, `12.0`, `100`."""
    shown = 100 * share
    return f"{shown:.0f}" if shown >= 99.95 else f"{shown:.2g}" if shown < 1 else f"{shown:.1f}"


def defaults_setting(view: View) -> str | None:
    """The setting of runs at their defaults, where the suite has such runs."""
    return UNTUNED if UNTUNED in set(view.table("summary", "setting")["setting"]) else None
