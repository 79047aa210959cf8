"""The main tables: values per arm, and differences to the baseline."""

from __future__ import annotations

import math

import pandas as pd

from harness.report import transfer, wording
from harness.report.counted import interval
from harness.report.forest import GROUPS
from harness.report.forest import comparisons as comparisons_of
from harness.report.layout import (
    NONE,
    Cell,
    Column,
    Line,
    Table,
    as_float,
    headed,
    mean_with_interval,
    number,
    seconds,
    table,
)
from harness.report.layout import interval as interval_cell
from harness.report.view import View
from harness.verdict.format import Measure, p_value, percent
from harness.verdict.numbers import wilson
from harness.verdict.words import roughly


def summary(view: View) -> Table:
    """One row per problem, arm and setting."""
    measure, train = view.measure, train_seconds(view)
    arrow = "" if view.suite.compare.replicates < 2 else " ↑" if measure.sign > 0 else " ↓"
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Setting"),
        Column("Runs ok"),
        Column(f"{headed(f'Mean test {measure.words}', measure.value_unit)}{arrow}", True),
        Column("95 % interval", True),
        Column("Median", True),
        Column("SD", True),
        Column("Failed", True),
        Column("Train, s", True),
    ]
    rows: list[Line] = []
    for row in _summary_rows(view, measure):
        key = (str(row["problem"]), str(row["arm"]), str(row["setting"]))
        spent = seconds(train.get(key, math.nan)) if view.clocks_comparable else Cell(NONE)
        cells = [*view.problem_cell(key[0]), view.arm_cell(key[1]), Cell(wording.setting(key[2]))]
        rows.append((key[1], [*cells, *_numbers(row, measure), spent]))
    counted = (
        "A failed run counts at the metric's floor; the mean of the finished runs then stands in brackets."
        if measure.floor is not None
        else "The metric has no floor, so an arm with a failed run has no mean."
    )
    return table(
        f"Final runs per arm, on the test split. {counted} The mean is shown with its {interval(view)}; SD is the "
        f"spread between replicates.{_rates(view, measure)}{_beyond(view, measure)}",
        columns,
        rows,
    )


def others(view: View) -> Table | None:
    """Means of the further metrics, a column for each; None where the suite names none."""
    measures = [view.measure_of(metric.name) for metric in view.suite.also]
    cells: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for measure in measures:
        for row in _summary_rows(view, measure):
            key = (str(row["problem"]), str(row["arm"]), str(row["setting"]))
            cells.setdefault(key, {})[measure.name] = mean_with_interval(measure, row)
    if not cells:
        return None
    arrows = {1: " ↑", -1: " ↓"} if view.suite.compare.replicates > 1 else {1: "", -1: ""}
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Setting"),
        *(Column(f"{headed(_title(m.words), m.value_unit)}{arrows[m.sign]}", True) for m in measures),
    ]
    rows: list[Line] = []
    for (problem, arm, setting), found in cells.items():
        numbers = [found.get(measure.name, Cell(NONE)) for measure in measures]
        rows.append((arm, [*view.problem_cell(problem), view.arm_cell(arm), wording.setting(setting), *numbers]))
    return table(
        f"Further metrics of the same final runs on the test split: mean and {interval(view)}. No arm was tuned, "
        "chosen or compared by them.",
        columns,
        rows,
    )


def _title(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def _rates(view: View, measure: Measure) -> str:
    """What the interval of a failure rate is; empty where nothing failed."""
    if all(row["n"] == row["n_ok"] for row in _summary_rows(view, measure)):
        return ""
    return " Failed: how many, and the rate with its 95 % Wilson interval."


def _beyond(view: View, measure: Measure) -> str:
    """A word on intervals that reach where a share cannot be; empty where none does."""
    rows = _summary_rows(view, measure)
    if measure.unit != "fraction" or not any(row["lo"] < 0 or row["hi"] > 1 for row in rows):
        return ""
    return " An interval that reaches beyond 0 or 100 % tells of single runs far from the others: read the median."


def _summary_rows(view: View, measure: Measure) -> list[pd.Series]:
    frame = view.table("summary", "problem", "arm", "setting", "metric")
    frame = frame[frame["metric"] == measure.name]
    settings = {setting: at for at, setting in enumerate(view.settings(frame))}
    problems = {problem: at for at, problem in enumerate(view.problems)}
    rows = [row for _, row in frame.iterrows()]
    return sorted(rows, key=lambda row: (problems[row["problem"]], settings[row["setting"]], view.order[row["arm"]]))


def _numbers(row: pd.Series, measure: Measure) -> list[Cell]:
    mean, lo, hi = float(row["mean"]), float(row["lo"]), float(row["hi"])
    places = measure.decimals(lo, hi) if math.isfinite(lo) else measure.places
    failed = int(row["n"]) - int(row["n_ok"])

    def plain(value: float) -> str:
        return measure.bare(value, places)

    text = plain(mean) + (f" ({plain(float(row['mean_ok']))})" if failed and row["n_ok"] else "")
    return [
        Cell(f"{int(row['n_ok'])}/{int(row['n'])}", float(row["n_ok"])),
        number(text, mean),
        interval_cell(measure, lo, hi, places),
        number(plain(float(row["median"])), float(row["median"])),
        number(plain(float(row["sd"])), float(row["sd"])),
        _failures(failed, int(row["n"])),
    ]


def _failures(failed: int, n: int) -> Cell:
    """`0`, or `1, 20 % [4, 62]`: how many, and the rate with its interval."""
    if not failed:
        return Cell("0", 0.0)
    lo, hi = wilson(failed, n)
    return Cell(f"{failed}, {failed / n:.0%} [{lo * 100:.0f}, {hi * 100:.0f}]".replace("%", " %"), float(failed))


def train_seconds(view: View) -> dict[tuple[str, str, str], float]:
    """Median training seconds of the finished final runs by (problem, arm, setting)."""
    runs = view.table("runs", "run_id", "phase", "status", "problem", "arm", "setting")
    timings = view.table("timings", "run_id", "train_seconds")
    final = runs[(runs["phase"] == "final") & (runs["status"] == "ok")].merge(timings, on="run_id")
    medians = final.groupby(["problem", "arm", "setting"])["train_seconds"].median()
    return {(str(key[0]), str(key[1]), str(key[2])): float(value) for key, value in medians.items()}


def differences(view: View) -> Table:
    """One row per comparison, the declared ones first."""
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Against"),
        Column("Setting"),
        Column("n", True),
        Column(headed("Difference", view.measure.difference_unit), True),
        Column("Interval", True),
        Column("Level", True),
        Column("Won"),
        Column("Verdict"),
    ]
    return table(
        "Mean of the paired differences, positive where the arm is better. Levels of declared rows are adjusted for "
        "their number; exploratory rows are not adjusted.",
        columns,
        [_difference(view, row) for row in ordered_comparisons(view)],
    )


def _difference(view: View, row: pd.Series) -> Line:
    measure, margin = view.measure, view.suite.compare.margin or 0.0
    delta, lo, hi = (float(row[name]) for name in ("delta", "lo", "hi"))
    places = measure.decimals(lo, hi, 0.0, margin, -margin) if math.isfinite(lo) else 2
    cells = [
        *_pair(view, row),
        Cell(str(int(row["n"])), float(row["n"])),
        number(measure.bare(delta, places), delta),
        interval_cell(measure, lo, hi, places),
        number(percent(float(row["level"])), lo if math.isnan(lo) else float(row["level"])),
        wins(row),
        Cell(wording.verdict(str(row["verdict"])), tone=wording.tone(str(row["verdict"]))),
    ]
    return str(row["arm"]), cells


def _pair(view: View, row: pd.Series) -> list[Cell | str]:
    """What a comparison is of: problem, both arms and their setting."""
    setting = str(row["setting"]) if row["primary"] else f"{row['setting']}, exploratory"
    return [*view.problem_cell(str(row["problem"])), view.arm_cell(str(row["arm"])), str(row["baseline"]), setting]


def ordered_comparisons(view: View) -> list[pd.Series]:
    """All pairs by problem, in the order of the forest plot."""
    rows = []
    for problem in view.problems:
        rows += [row for _, row in comparisons_of(view, problem).iterrows()]
    return sorted(rows, key=lambda row: (view.problems.index(row["problem"]), GROUPS.index(row["group"])))


def wins(row: pd.Series) -> Cell:
    """`5 of 5`"""
    return (
        Cell(NONE) if pd.isna(row["wins"]) else Cell(f"{int(row['wins'])} of {int(row['wins_n'])}", float(row["wins"]))
    )


def robustness(view: View) -> Table:
    """What other analyses say of each verdict; none of them changes it."""
    unit = "replicate" if transfer.shared_by(view) is None else "checkpoint"
    columns = [
        *view.problem_column(),
        Column("Arm"),
        Column("Against"),
        Column("Setting"),
        Column("Holds in"),
        Column("p, paired t", True),
        Column("p, Holm", True),
        Column("p, sign flip (floor)", True),
        Column("p, equivalence", True),
        Column("Share of wins [95 %]", True),
        Column("P(better)", True),
        Column("Detectable, 80 % power", True),
        Column(f"More {unit}s for the margin", True),
    ]
    return table(
        "“Holds in k of m” counts analyses that end in the same word: Welch's test, sign flips (where their floor "
        f"allows it), the median difference, each {unit} left out, failed replicates left out. The verdict follows "
        "the interval alone. p values test for any difference, whatever the margin; only Holm's is adjusted. That of "
        "equivalence is the larger of two one-sided tests against the margin: equivalent below (1 - level) / 2. The "
        "floor is the smallest p that so few replicates can reach. P(better) is about single runs: the share of all "
        "pairs of one run of each arm in which the arm's is better, ties half. Detectable is the true difference that "
        f"so many {unit}s tell from 0 in 4 of 5 cases, if the spread is the one seen; with so many more {unit}s as the "
        "last column says it would be the margin.",
        columns,
        [_analyses(view, row) for row in ordered_comparisons(view)],
    )


def _analyses(view: View, row: pd.Series) -> Line:
    superior, detectable = as_float(row["p_superior"]), as_float(row["mde80"])
    cells = [
        *_pair(view, row),
        f"{int(row['agree'])} of {int(row['analyses'])} analyses" if row["analyses"] else NONE,
        *(_p(row[name]) for name in ("p_t", "p_holm")),
        _sign_flip(row),
        _p(row["p_tost"]),
        _win_share(row),
        number(f"{superior:.2f}", superior),
        number(view.measure.roughly(detectable), detectable),
        _more(row),
    ]
    return str(row["arm"]), cells


def _p(value: object) -> Cell:
    return number(p_value(as_float(value)).removeprefix("p = ").removeprefix("p "), as_float(value))


def _sign_flip(row: pd.Series) -> Cell:
    p, floor = _p(row["p_signflip"]), _p(row["p_floor"])
    return p if p.sort is None else Cell(f"{p.text} ({floor.text})", p.sort)


def _win_share(row: pd.Series) -> Cell:
    if pd.isna(row["wins"]):
        return Cell(NONE)
    ends = "" if pd.isna(row["wins_lo"]) else f" [{row['wins_lo']:.2f}, {row['wins_hi']:.2f}]"
    return Cell(f"{int(row['wins'])}/{int(row['wins_n'])}{ends}", float(row["wins"]))


def _more(row: pd.Series) -> Cell:
    if pd.isna(row["more"]):
        return Cell(NONE)
    ends = f" ({roughly(int(row['more_lo']))} to {roughly(int(row['more_hi']))})" if not pd.isna(row["more_hi"]) else ""
    return Cell(f"{roughly(int(row['more']))}{ends}", float(row["more"]))
