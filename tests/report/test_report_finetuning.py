"""The section on fine-tuning: its numbers follow from the runs, and its figures from the numbers."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

import finetuned
import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from scipy import stats

from harness.outcomes import set_aside
from harness.report import (
    Findings,
    cost,
    curves,
    details,
    drift,
    finetuning,
    forest,
    forgetting,
    markdown,
    memory,
    methods,
    over,
    starts,
    transfer,
    tuning,
    values,
    write,
)
from harness.report.chart import Chart
from harness.report.forgotten import forgotten
from harness.report.inclusion import inclusion
from harness.report.layout import Table
from harness.report.plotting import MUTED, PAPER, look
from harness.report.scope import scope as scope_of
from harness.report.sections import sections
from harness.report.view import View
from harness.sizes import Shared
from harness.suite.origin import Origins, SuiteSource

ONE = {"few": 10}
FEW = ("full", "scratch", "linear_probe", "lp_ft")


@pytest.fixture(scope="module")
def view() -> View:
    return View(finetuned.findings(budgets=ONE, senseless=True))


@pytest.fixture(scope="module")
def budgets() -> View:
    return View(finetuned.findings(arms=FEW))


def drawn(draw, frame: pd.DataFrame, view: View) -> Figure:
    with look():
        return draw(frame, view)


def column(table: Table, label: str) -> list[str]:
    (at,) = [at for at, one in enumerate(table.columns) if one.label.startswith(label)]
    return [row.cells[at].text for row in table.rows]


def caption(chart: Chart | None) -> str:
    """With breaking spaces."""
    assert chart is not None
    return chart.caption.replace("\xa0", " ")


def tuned(view: View, arm: str, problem: str = "few") -> pd.DataFrame:
    """The final runs of an arm, found by another way than the report's."""
    runs = view.findings.tables["runs"]
    return runs[(runs.phase == "final") & (runs.setting == "tuned") & (runs.arm == arm) & (runs.problem == problem)]


# Where it appears ----------------------------------------------------------------------------------------------------


def test_a_suite_without_source_has_no_section_on_fine_tuning(undrawn: None) -> None:
    plain = View(synthetic.findings(arms=("sgd", "adam"), trials=0, replicates=3, epochs=1))
    slugs = {section.slug for section in sections(plain)}
    assert not {"finetuning", "forgetting"} & slugs
    assert starts.finetuned(plain) == []


def test_figures_whose_columns_are_empty_are_left_out(undrawn: None) -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, trials=0)
    names = [f"forgetting_{head}" for head in ("kept", "refit")]
    runs = found.tables["runs"].assign(**dict.fromkeys(names, np.nan))
    kept = {name: table for name, table in found.tables.items() if name != "blocks"} | {"runs": runs}
    made = finetuning.charts(View(dataclasses.replace(found, tables=kept)))
    assert [chart.name for chart in made] == ["memory"]


def test_before_a_run_says_what_it_moved_there_is_no_section() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, trials=0)
    runs = found.tables["runs"].drop(columns=list(transfer.MEASURES))
    view = View(dataclasses.replace(found, tables={**found.tables, "runs": runs}))
    assert not transfer.moved(view)
    assert len(forgetting.forgetting_frame(view, "few")) == len(memory.memory_frame(view, "few")) == 0


# What was forgotten --------------------------------------------------------------------------------------------------


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % t-interval in percentage points, by scipy's own test."""
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return 100 * float(np.mean(values)), 100 * low, 100 * high


def numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, re.findall(r"-?[\d.]+", text)))


def test_forgetting_has_t_intervals_and_paired_differences_to_the_baseline(view: View) -> None:
    table = forgotten(view, "few")
    assert column(table, "Arm") == ["full", "linear_probe", "lp_ft", "bitfit", "lora"]
    assert column(table, "n") == ["5"] * 5
    at = column(table, "Arm").index("lora")
    for name, label in (("forgetting_kept", "Kept head"), ("forgetting_refit", "Refitted head")):
        own, base = (tuned(view, arm).sort_values("replicate")[name].to_numpy() for arm in ("lora", "full"))
        assert numbers(column(table, f"{label}, pp")[at]) == pytest.approx(interval(own), abs=0.06)
        assert numbers(column(table, f"{label}, against full")[at]) == pytest.approx(interval(own - base), abs=0.06)
        assert column(table, f"{label}, against full")[0] == "baseline"


def test_forgetting_is_averaged_within_checkpoints_that_replicates_share() -> None:
    shared = View(finetuned.findings(arms=FEW, budgets=ONE, replicates=6, checkpoints=3, trials=0))
    table = forgotten(shared, "few")
    assert set(column(table, "n")) == {"3"}
    runs = shared.findings.tables["runs"]
    runs = runs[(runs.phase == "final") & (runs.setting == shared.main_setting) & (runs.arm == "full")]
    means = runs.groupby(runs["replicate"] % 3)["forgetting_kept"].mean().to_numpy()
    assert numbers(column(table, "Kept head, pp")[0]) == pytest.approx(interval(means), abs=0.06)
    assert "over n checkpoints" in table.caption


def test_where_nothing_could_be_forgotten_there_is_no_such_table() -> None:
    assert forgotten(View(finetuned.findings(arms=("scratch",), budgets=ONE, trials=0)), "few") is None


# Main table ----------------------------------------------------------------------------------------------------------


def test_the_main_table_has_the_arms_in_declared_order_with_what_their_runs_recorded(view: View) -> None:
    table = finetuning.main(view, "few")
    assert column(table, "Arm") == [*finetuned.ARMS, finetuned.SENSELESS]
    assert column(table, "Trains") == ["100", "100", "1.2", "100", "0.36", "5.0", "–"]
    assert column(table, "Saved") == ["8.15 MiB", "8.15 MiB", "20.5 KiB", "8.15 MiB", "7.77 MiB", "9.75 MiB", "–"]
    assert column(table, "Runs ok") == ["5/5"] * 6 + ["0/5"]
    assert column(table, "Step")[:6] == ["4.25"] * 6
    # Rates are drawn as 0.1 times replicate + 1.
    assert column(table, "Learning rate")[0] == "0.1 to 0.5"
    lost = [tuned(view, arm)["forgetting_kept"].mean() for arm in finetuned.ARMS]
    assert column(table, "Forgetting, kept")[:6] == [f"{100 * x:.2f}" if np.isfinite(x) else "–" for x in lost]


def test_clocks_that_were_disturbed_are_shown_with_their_range(view: View) -> None:
    timings = view.findings.tables["timings"].merge(view.findings.tables["runs"][["run_id", "arm", "replicate"]])
    slow = {"lora": [4.0, 4.5, 5.0, 5.5, 6.0], "full": [4.0, 4.5, 5.0, 5.5, 6.1]}
    steps = [slow.get(row.arm, [4.25] * 5)[row.replicate] for row in timings.itertuples()]
    timings = timings.assign(step_milliseconds=steps).drop(columns=["arm", "replicate"])
    made = View(dataclasses.replace(view.findings, tables={**view.findings.tables, "timings": timings}))
    shown = dict(zip(column(table := finetuning.main(made, "few"), "Arm"), column(table, "Step"), strict=True))
    assert (shown["lora"], shown["full"], shown["bitfit"]) == ("5", "5 (4 to 6.1)", "4.25")
    assert "no other work on the machine" in table.caption


def test_value_and_difference_of_the_main_table_are_t_intervals_over_replicates(view: View) -> None:
    finals = view.findings.finals.query("setting == 'tuned' and problem == 'few'")
    values = 100 * finals.pivot(index="replicate", columns="arm", values="value")
    table = finetuning.main(view, "few")
    mean, (lo, hi) = values["lora"].mean(), stats.t.interval(0.95, 4, values["lora"].mean(), stats.sem(values["lora"]))
    assert column(table, "Test accuracy")[5] == f"{mean:.2f} [{lo:.2f}, {hi:.2f}]"
    d = values["lora"] - values["full"]
    lo, hi = stats.t.interval(0.95, 4, d.mean(), stats.sem(d))
    shown = column(table, "Difference to full")[5]
    numbers = [float(text) for text in re.findall(r"-?[\d.]+", shown)]
    assert numbers == pytest.approx([d.mean(), lo, hi], abs=0.006)
    assert column(table, "Difference")[0] == "baseline"
    assert column(table, "P(better)")[0] == "–"


def test_an_arm_without_meaning_stands_with_its_reason_and_is_no_failure(view: View) -> None:
    table = finetuning.main(view, "few")
    assert column(table, "Note")[-1] == f"not applicable: {finetuned.WHY}"
    assert column(table, "Note")[:-1] == [""] * 6
    listed = details.failures(view)
    assert listed is None or finetuned.SENSELESS not in column(listed, "Arm")
    assert "5 not applicable" in dict(scope_of(view))["Runs"]


def test_figures_leave_an_arm_without_meaning_out_or_say_so(view: View) -> None:
    compared = view.findings.tables["comparisons"]
    one = compared[(compared["arm"] == "lora") & compared["primary"]].assign(
        arm=finetuned.SENSELESS, n=0, delta=np.nan, lo=np.nan, hi=np.nan, verdict="not_compared"
    )
    tables = {**view.findings.tables, "comparisons": pd.concat([compared, one])}
    made = View(dataclasses.replace(view.findings, tables=tables))
    assert finetuned.SENSELESS not in set(values.values_frame(made, "few")["arm"])
    chart = forest.forest(made, "few")
    texts = [text.get_text() for text in drawn(forest._draw, chart.frame, made).axes[0].texts]  # type: ignore[union-attr]
    assert texts.count("not applicable") == 1
    assert "no mean difference" not in texts
    assert "n = 5 replicates per row." in caption(chart)


def test_without_a_remark_there_is_no_column_of_notes(budgets: View) -> None:
    assert "Note" not in [one.label for one in finetuning.main(budgets, "few").columns]


def test_runs_without_weights_to_start_from_are_counted_and_said() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, trials=0)
    runs = found.tables["runs"]
    lost = (runs["arm"] == "lp_ft") & (runs["replicate"] == 2)
    reason = "source_failed: diverged"
    tables = {**found.tables, "runs": runs.assign(status=runs["status"].where(~lost, "crashed"), reason=None)}
    tables["runs"].loc[lost, "reason"] = reason
    table = finetuning.main(View(dataclasses.replace(found, tables=tables)), "few")
    assert column(table, "Runs ok")[3] == "4/5"
    assert column(table, "Note")[3] == "no weights to start from in 1 of 5: their source run failed"


def test_times_are_blank_where_they_cannot_be_compared(view: View) -> None:
    remark = synthetic.remark("H008", "W", "runs overlapped", "run again")
    blank = View(dataclasses.replace(view.findings, remarks=(remark,)))
    assert set(column(finetuning.main(blank, "few"), "Step")) == {"–"}
    assert "Milliseconds are blank" in finetuning.main(blank, "few").caption


def test_the_lead_says_that_trained_share_is_not_memory_by_an_arm_that_shows_it(view: View) -> None:
    text = finetuning.lead(view)
    assert text.startswith("The share of parameters that train is not the share of memory")
    assert text.endswith("Here bitfit trains 0.36 % of the parameters and saves 7.77 MiB, where full saves 8.15 MiB.")
    assert "Here" not in finetuning.lead(View(finetuned.findings(arms=FEW, budgets=ONE, trials=0)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (5140, "5.02 KiB"),
        (37069, "36.2 KiB"),
        (834_560, "815 KiB"),
        (8_147_435, "7.77 MiB"),
        (3 * 2**30, "3.00 GiB"),
    ],
)
def test_bytes_have_three_digits(number: float, text: str) -> None:
    assert transfer.size(number) == text


@pytest.mark.parametrize(("share", "text"), [(1.0, "100"), (0.0036, "0.36"), (0.00012, "0.012"), (0.125, "12.5")])
def test_shares_have_two_digits_at_least(share: float, text: str) -> None:
    assert transfer.percent(share) == text


# Forgetting ----------------------------------------------------------------------------------------------------------


def test_each_run_stands_where_target_and_source_put_it_marked_by_its_checkpoint(view: View) -> None:
    frame = forgetting.forgetting_frame(view, "few")
    figure = drawn(forgetting._draw, frame, view)
    runs = tuned(view, "lora").set_index("replicate")["forgetting_kept"]
    values = view.findings.finals.query("setting == 'tuned' and arm == 'lora'").set_index("replicate")["value"]
    style = view.styles["lora"].gid
    texts = [text for text in figure.axes[0].texts if text.get_gid() == style]
    found = {text.get_text(): text.get_position() for text in texts}
    for replicate in range(5):
        assert found[str(replicate)] == pytest.approx((-100 * runs[replicate], 100 * values[replicate]))
    mean = next(line for line in figure.axes[0].lines if line.get_gid() == style)
    assert (mean.get_xdata()[0], mean.get_ydata()[0]) == pytest.approx((-100 * runs.mean(), 100 * values.mean()))


def test_of_many_arms_each_has_a_panel_with_the_baseline_in_grey(view: View, monkeypatch: Any) -> None:
    monkeypatch.setattr(View, "alike", lambda self, arms: True)
    frame = forgetting.forgetting_frame(view, "few")
    figure = drawn(forgetting._draw, frame, view)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["full", "linear_probe", "lp_ft", "bitfit", "lora"]
    lost = 100 * tuned(view, "full")["forgetting_kept"]
    for arm, axes in zip(("full", "linear_probe", "lp_ft", "bitfit", "lora"), figure.axes, strict=True):
        mine = [line for line in axes.lines if line.get_gid() == view.styles[arm].gid]
        grey = [line for line in axes.lines if line.get_color() == MUTED and line.get_gid() == view.styles["full"].gid]
        # Runs and mean with either head; in grey those of the baseline with the head that it had.
        assert (len(mine), len(grey)) == (4, 0 if arm == "full" else 2)
        hollow = [line.get_markerfacecolor() == PAPER for line in mine]
        assert hollow == [False, False, True, True]
        if grey:
            assert sorted(grey[0].get_xdata()) == pytest.approx(sorted(-lost))
    assert "A panel for each arm, and full in grey." in caption(forgetting.forgetting(view, "few"))


@pytest.mark.parametrize(("largest", "scale"), [(9.0, "linear"), (11.0, "symlog")])
def test_one_run_that_forgot_everything_does_not_pile_the_others_up_at_0(
    view: View, largest: float, scale: str
) -> None:
    frame = forgetting.forgetting_frame(view, "few")
    runs = frame["source_change"] / frame["source_change"].abs().max() * largest
    frame = frame.assign(source_change=runs)
    axes = drawn(forgetting._draw, frame, view).axes[0]
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < runs.min() < 0 < high
    assert ("logarithmic beyond" in forgetting._spread_said(frame, many=False)) == (scale == "symlog")


@pytest.mark.parametrize(("head", "panel"), [("kept", 0), ("refit", 1)])
def test_the_caption_names_the_panel_whose_axis_alone_is_logarithmic(view: View, head: str, panel: int) -> None:
    frame = forgetting.forgetting_frame(view, "few")
    change = frame["source_change"] / frame["source_change"].abs().max()
    frame = frame.assign(source_change=change.where(frame["head"] != head, 50 * change))
    figure = drawn(forgetting._draw, frame, view)
    scales = [axes.get_xscale() for axes in figure.axes]
    assert (scales[panel], scales[1 - panel]) == ("symlog", "linear")
    assert f"The axis of the {('left', 'right')[panel]} panel is even" in forgetting._spread_said(frame, many=False)


def test_what_cannot_forget_is_named_and_not_drawn(view: View, undrawn: None) -> None:
    made = forgetting.forgetting(view, "few")
    assert made is not None
    assert "scratch" not in set(made.frame["arm"])
    assert "nothing could be forgotten: scratch." in made.caption


def test_replicates_of_one_checkpoint_share_its_digit_and_one_checkpoint_has_none() -> None:
    shared = View(finetuned.findings(arms=FEW, budgets=ONE, replicates=6, checkpoints=3, trials=0))
    frame = forgetting.forgetting_frame(shared, "few").query("mark == 'run' and arm == 'full' and head == 'kept'")
    assert frame["checkpoint"].tolist() == [0, 1, 2, 0, 1, 2]
    single = View(finetuned.findings(arms=FEW, budgets=ONE, checkpoints=1, trials=0))
    made = forgetting.forgetting_frame(single, "few")
    assert not drawn(forgetting._draw, made, single).axes[0].texts


# Memory --------------------------------------------------------------------------------------------------------------


def test_the_front_is_what_no_other_arm_beats_in_both() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, value = rng.integers(0, 5, 8).astype(float), rng.integers(0, 5, 8).astype(float)
        beaten = [
            any((c <= mine and v >= own) and (c < mine or v > own) for c, v in zip(cost, value, strict=True))
            for mine, own in zip(cost, value, strict=True)
        ]
        assert memory.on_front(cost, value).tolist() == [not one for one in beaten]


def test_memory_draws_mean_and_interval_at_the_bytes_that_were_recorded(view: View) -> None:
    frame = memory.memory_frame(view, "few")
    row = frame[(frame["cost"] == "stored_bytes") & (frame["arm"] == "lora")].iloc[0]
    summary = view.findings.tables["summary"].query("setting == 'tuned' and arm == 'lora'").iloc[0]
    assert row["size"] == tuned(view, "lora")["stored_bytes"].mean()
    assert (row["value"], row["lo"]) == pytest.approx((100 * summary["mean"], 100 * summary["lo"]))
    panels = drawn(memory._draw, frame, view).axes
    assert [one.get_xlabel() for one in panels] == list(memory.COSTS.values())
    axes = panels[2]
    marker = next(line for line in axes.lines if line.get_gid() == view.styles["lora"].gid)
    assert marker.get_ydata()[0] == pytest.approx(row["value"])
    # Arms stand aside by less than a twelfth of the axis.
    assert marker.get_xdata()[0] == pytest.approx(row["size"], rel=0.3)
    assert all(text.get_text().endswith(("KiB", "MiB", "B")) for text in axes.get_xticklabels())
    assert {text.get_text() for text in panels[0].get_xticklabels()} <= {"1,000", "10,000", "100,000", "1,000,000"}


def test_the_front_of_a_minimised_metric_goes_down() -> None:
    view = View(finetuned.findings(arms=FEW, budgets=ONE, trials=0))
    measure = dataclasses.replace(view.measure, direction="minimize")
    view.__dict__["measure"] = measure
    frame = memory.memory_frame(view, "few").query("cost == 'stored_bytes'")
    front = frame[frame["front"]]
    assert frame["value"].idxmin() in front.index
    assert frame["size"].idxmin() in front.index


# Drift ---------------------------------------------------------------------------------------------------------------


def test_drift_is_the_median_over_replicates_in_percent_and_frozen_cells_are_hatched(view: View) -> None:
    found = view.findings
    blocks = found.tables["blocks"].copy()
    some = (blocks["arm"] == "lora") & (blocks["block"] == 0) & (blocks["setting"] == "tuned")
    blocks.loc[some, "drift"] = [0.5, 0.01, 0.02, 0.03, 0.9]
    other = View(dataclasses.replace(found, tables={**found.tables, "blocks": blocks}))
    frame = drift.drift_frame(other, "few")
    row = frame[(frame["arm"] == "lora") & (frame["block"] == 0)].iloc[0]
    assert (row["drift"], row["low"], row["high"], row["n"]) == pytest.approx((3.0, 1.0, 90.0, 5))
    axes = drawn(drift._draw, frame, other).axes[0]
    texts = {text.get_text() for text in axes.texts if text.get_gid() == other.styles["lora"].gid}
    assert "3" in texts
    hatched = [patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_facecolor()[3] == 0]
    # All blocks of the probe but the head.
    assert [patch.get_gid() for patch in hatched] == [other.styles["linear_probe"].gid] * 4
    assert {int(patch.get_path().vertices[:, 0].min()) for patch in hatched} == {0, 1, 2, 3}


def test_hatching_stays_inside_its_cell() -> None:
    vertices = drift._hatching(3, 2, lines=5).vertices
    assert vertices.min(axis=0).tolist() == [3, 2]
    assert vertices.max(axis=0).tolist() == [4, 3]


@pytest.mark.parametrize(("change", "eighths"), [(100.0, 8), (10.0, 6), (1.0, 3), (0.1, 1), (0.0001, 1), (0.0, 1)])
def test_shades_go_by_the_logarithm_over_three_powers_of_ten(change: float, eighths: int) -> None:
    assert drift.shade_of(change, 100.0) == pytest.approx(eighths / 8 * 0.95)


def test_an_arm_without_a_start_has_dashes(view: View) -> None:
    axes = drawn(drift._draw, drift.drift_frame(view, "few"), view).axes[0]
    assert {text.get_text() for text in axes.texts if text.get_gid() == view.styles["scratch"].gid} == {"–"}


def test_many_blocks_fit_the_page_without_numbers(view: View) -> None:
    found = view.findings
    one = found.tables["blocks"]
    blocks = pd.concat([one.assign(block=one["block"] + 5 * at) for at in range(24)])
    other = View(dataclasses.replace(found, tables={**found.tables, "blocks": blocks}))
    figure = drawn(drift._draw, drift.drift_frame(other, "few"), other)
    box = figure.axes[0].get_position()
    assert box.x1 <= 1
    assert not figure.axes[0].texts
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()][:7] == ["0", "", "", "", "", "5", ""]


# Label budgets and phases --------------------------------------------------------------------------------------------


def test_all_labels_stand_at_how_many_there_are(budgets: View) -> None:
    (one,) = over.series(budgets)
    frame = over.over_frame(budgets, one)
    assert sorted(set(frame["x"])) == [10, 50, finetuned.EVERY]
    axes = drawn(over._draw, frame, budgets).axes[0]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "50", "all: 5,881"]


def test_what_learns_from_scratch_is_dashed_in_line_and_legend(budgets: View, undrawn: None) -> None:
    (one,) = over.series(budgets)
    figure = drawn(over._draw, over.over_frame(budgets, one), budgets)
    for arm in FEW:
        lines = [line for line in figure.axes[0].lines if line.get_gid() == budgets.styles[arm].gid]
        assert (lines[0].get_linestyle() == "--") == (arm == "scratch")
    (made,) = over.over(budgets)
    assert "Dashed: trained from scratch (scratch)." in made.caption


def test_of_many_arms_over_labels_each_has_a_panel_with_the_baseline_in_grey(budgets: View, monkeypatch: Any) -> None:
    monkeypatch.setattr(View, "alike", lambda self, arms: True)
    (one,) = over.series(budgets)
    frame = over.over_frame(budgets, one)
    figure = drawn(over._draw, frame, budgets)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(FEW)
    for arm, axes in zip(FEW, figure.axes, strict=True):
        rows = {name: frame[frame["arm"] == name]["mean"].tolist() for name in (arm, "full")}
        drawn_in = {
            colour: [line.get_ydata().tolist() for line in axes.lines if line.get_color() == colour]
            for colour in (budgets.styles[arm].colour, MUTED)
        }
        assert drawn_in[budgets.styles[arm].colour] == [rows[arm]] * 2  # a line, and its markers
        assert drawn_in[MUTED] == ([] if arm == "full" else [rows["full"]] * 2)
        assert (axes.get_xlim(), axes.get_ylim()) == (figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
    assert "A panel for each arm, and full in grey." in caption(over.over(budgets)[0])


def test_without_knowing_how_many_all_are_budgets_stand_in_their_order(budgets: View) -> None:
    found = budgets.findings
    tables = {name: table for name, table in found.tables.items() if name != "classes"}
    other = View(dataclasses.replace(found, tables=tables))
    frame = over.over_frame(other, over.series(other)[0])
    assert sorted(set(frame["x"])) == [0, 1, 2]
    assert set(frame["x_text"]) == {"10", "50", "all"}


def test_borders_of_phases_stand_in_every_panel_in_the_arms_colour(view: View) -> None:
    frame = curves.curves_frame(view, "few")
    borders = frame[frame["mark"] == "border"]
    # The second phase of lp_ft begins at half of two epochs.
    assert set(borders["arm"]) == {"lp_ft"}
    assert set(borders["x"]) == {1.0}
    assert len(borders) == 4
    for axes in drawn(curves._draw, frame, view).axes:
        dotted = [line for line in axes.lines if list(line.get_xdata()) == [1.0, 1.0]]
        assert [line.get_gid() for line in dotted] == [view.styles["lp_ft"].gid]
        assert dotted[0].get_color() == view.styles["lp_ft"].colour


def test_the_caption_of_curves_names_the_phases(view: View, undrawn: None) -> None:
    made = curves.curves(view, "few")
    assert made is not None
    assert "Dotted: where an arm's next phase begins (lp_ft: probe, all)." in made.caption
    plain = curves.curves(View(synthetic.findings()), "mnist-cnn")
    assert plain is not None
    assert "Dotted" not in plain.caption


# Scope, spread, inclusion --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicates", "checkpoints", "says"),
    [
        (5, 5, "5, one for each replicate: intervals cover the checkpoint"),
        (5, 1, "1, from which all 5 replicates start: what is said holds for this checkpoint only"),
        (6, 3, "3, from each of which 2 replicates start: averaged within a checkpoint first, so that n = 3"),
    ],
)
def test_scope_names_pair_checkpoints_and_validation(replicates: int, checkpoints: int, says: str) -> None:
    made = View(finetuned.findings(arms=FEW, replicates=replicates, checkpoints=checkpoints, trials=0))
    scope = dict(scope_of(made))
    assert scope["Pair"] == "mnist (classes [0, 1, 2, 3, 4]) → mnist (classes [5, 6, 7, 8, 9])"
    assert scope["Checkpoints"] == says
    assert scope["Validated on"] == (
        "1,000 examples, the same for all arms; more than the labels that train on few (50) and some (250)"
    )
    assert ("the source checkpoint" in scope["Varied between replicates"]) == (checkpoints > 1)
    assert ("the source checkpoint" in scope["Not varied"]) == (checkpoints == 1)
    assert ("one source checkpoint" in scope["Unit of n"]) == (checkpoints == 3)
    assert "Controls" not in scope


def without_validation() -> Findings:
    """A part of the labels validates: final runs have no validation set, and studies no optimism."""
    found = finetuned.findings(arms=FEW, budgets=ONE)
    settings = tuple(
        dataclasses.replace(one, values={**one.values, "validation_examples": 0, "validation_within": 0.2})
        for one in found.suite.settings
    )
    runs, evaluations = found.tables["runs"], found.tables["evaluations"]
    finals = evaluations["run_id"].isin(runs.loc[runs["phase"] == "final", "run_id"])
    tables = {
        **found.tables,
        "runs": runs.assign(steps_to_95=pd.NA, curve_area=np.nan),
        "evaluations": evaluations[~(finals & (evaluations["split"] == "validation"))],
        "studies": found.tables["studies"].assign(final_value=np.nan, optimism=np.nan),
    }
    return dataclasses.replace(found, tables=tables, suite=dataclasses.replace(found.suite, settings=settings))


@pytest.fixture(scope="module")
def within() -> View:
    return View(without_validation())


def test_scope_says_which_labels_validate(within: View) -> None:
    scope = dict(scope_of(within))
    assert scope["Validated on"].startswith(
        "20 % of the labels (2 of 10 a class) validate in tuning runs, which train on"
    )
    assert "validation" not in scope["Held equal"] + scope["Split"]


def test_scope_says_where_tuning_and_final_runs_share_labels(view: View) -> None:
    assert "Label blocks" not in dict(scope_of(view))
    shared = [Shared("few", 10, 8, 4, within=False), Shared("every", "all", 8, 4, within=False)]
    said = dict(scope_of(View(dataclasses.replace(view.findings, shared=shared))))["Label blocks"]
    assert said == "; ".join(map(str, shared))


def test_without_validation_training_curves_stand_beside_each_other_and_the_caption_says_why(within: View) -> None:
    made = curves.curves(within, "few")
    assert made is not None
    assert set(made.frame["split"]) == {"train"}
    assert "There is no curve on validation: final runs train on all their labels" in made.caption
    axes = drawn(curves._draw, made.frame, within).axes
    assert [one.get_title(loc="left") for one in axes] == ["Training accuracy", "Training loss"]
    assert len({round(one.get_position().y0, 6) for one in axes}) == 1


def test_without_validation_a_panel_per_arm_has_solid_lines_and_no_word_of_dashes(
    within: View, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "alike", lambda self, arms: True)
    made, plain = curves.curves(within, "few"), curves.curves(view, "few")
    assert made is not None
    assert plain is not None
    assert "dashed" not in made.caption
    assert "training dashed" in plain.caption
    for axes in drawn(curves._draw_many, made.frame[made.frame["mark"] != "border"], within).axes:
        assert {line.get_linestyle() for line in axes.lines if len(line.get_xdata())} == {"-"}


def test_without_validation_no_optimism_is_claimed(within: View, undrawn: None) -> None:
    (section,) = [one for one in sections(within) if one.slug == "tuning"]
    assert section.lead == (
        "How much better studies look than their final runs cannot be said: these have no validation set."
    )
    assert details.optimism(within) is None
    chosen = details.chosen(within)
    assert chosen is not None
    assert not any("final run" in column.label for column in chosen.columns)
    assert "final run" not in chosen.caption
    assert {len(row.cells) for row in chosen.rows} == {len(chosen.columns)}


def test_methods_say_that_the_chosen_setting_was_trained_on_all_labels(within: View, view: View) -> None:
    assert "trained again with fresh seeds, on all labels of its subset" in methods.methods(within)
    assert "on all labels" not in methods.methods(view)


def test_published_weights_are_named_as_what_runs_start_from() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, checkpoints=1, trials=0)
    suite = dataclasses.replace(found.suite, source=SuiteSource(1, weights="IMAGENET1K_V1"))
    assert dict(scope_of(View(dataclasses.replace(found, suite=suite))))["Pair"] == (
        "published weights IMAGENET1K_V1 → mnist"
    )


def test_missing_controls_stand_in_the_scope() -> None:
    made = View(finetuned.findings(arms=("full", "lora"), budgets=ONE, trials=0, controls=False))
    said = dict(scope_of(made))["Controls"]
    assert said == "No arm is the control scratch or linear_probe (controls = false)"


def test_spread_within_and_between_checkpoints_has_a_table_where_replicates_share_them() -> None:
    shared = View(finetuned.findings(arms=FEW, budgets=ONE, replicates=6, checkpoints=3, trials=0))
    table = finetuning.tables(shared)[-1]
    values = shared.findings.finals.query("setting == 'given'").pivot(index="replicate", columns="arm", values="value")
    means = [values["full"][[at, at + 3]].mean() for at in range(3)]
    assert column(table, "SD between checkpoints, pp: value")[0] == f"{100 * np.std(means, ddof=1):.2g}"
    within = np.sqrt(np.mean([np.var(values["full"][[at, at + 3]], ddof=1) for at in range(3)]))
    assert column(table, "SD within one, pp: value")[0] == f"{100 * within:.2g}"
    assert column(table, "SD within one, pp: difference")[0] == "–"
    alone = finetuning.tables(View(finetuned.findings(arms=FEW, budgets=ONE, trials=0)))
    assert not [table for table in alone if table.caption.startswith("Where the spread")]


@pytest.fixture(scope="module")
def shared() -> View:
    """Three checkpoints with two replicates each, two trials a study."""
    return View(finetuned.findings(arms=FEW, budgets=ONE, replicates=6, checkpoints=3))


def test_dots_of_the_main_figure_are_checkpoints_where_replicates_share_them(shared: View, undrawn: None) -> None:
    values = shared.findings.finals.query("setting == 'tuned'").pivot(index="replicate", columns="arm", values="value")
    d = 100 * (values["lp_ft"] - values["full"])
    chart = forest.forest(shared, "few")
    assert chart is not None
    dots = chart.frame.query("mark == 'checkpoint' and arm == 'lp_ft' and group == 'primary'")
    assert dots["difference"].tolist() == pytest.approx([d[[at, at + 3]].mean() for at in range(3)])
    assert dots["checkpoint"].tolist() == [0, 1, 2]
    assert "replicate" not in set(chart.frame["mark"])
    assert "the differences of single checkpoints, means of their replicates" in chart.caption


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (values.values, "95 % t-interval of checkpoint means. n = 3 checkpoints per arm, the means of 6 runs."),
        (memory.memory, "n = 3 checkpoints per arm, the means of 6 replicates."),
        (cost.cost, "n = 3 checkpoints per arm, the means of 6 replicates."),
        (forgetting.forgetting, "n = 6 replicates per arm."),
    ],
)
def test_captions_say_what_one_of_n_is_where_replicates_share_checkpoints(draw, says, shared, undrawn) -> None:
    assert says in caption(draw(shared, "few"))


def test_the_axis_of_budgets_has_intervals_of_checkpoint_means(undrawn: None) -> None:
    made = View(finetuned.findings(arms=FEW, replicates=6, checkpoints=3, trials=0))
    (chart,) = over.over(made)
    assert "with its 95 % t-interval of checkpoint means" in chart.caption
    assert "n = 3 checkpoints per arm and point, the means of 6 replicates." in caption(chart)


def test_optimism_counts_checkpoints_where_replicates_share_them(shared: View, view: View) -> None:
    table = details.optimism(shared)
    assert table is not None
    assert column(table, "n") == ["3"] * len(FEW)
    assert table.caption.endswith("n counts source checkpoints: the means of their replicates.")
    assert set(column(details.optimism(view), "n")) == {"5"}


def test_runs_without_weights_stand_in_one_line_an_arm_and_reason() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE)
    runs = found.tables["runs"]
    lost = (runs["arm"] == "lp_ft") & runs["replicate"].isin([1, 2]) & (runs["setting"] == "tuned")
    own = (runs["arm"] == "full") & (runs["replicate"] == 0) & (runs["phase"] == "final") & (runs["setting"] == "tuned")
    status = runs["status"].where(~lost, "crashed").where(~own, "oom")
    runs = runs.assign(status=status, reason=None)
    runs.loc[lost, "reason"] = "source_failed: diverged"
    table = details.failures(View(dataclasses.replace(found, tables={**found.tables, "runs": runs})))
    assert table is not None
    said = list(zip(*(column(table, name) for name in ("Arm", "Replicate", "Phase", "Run")), strict=True))
    tuning = int((lost & (runs["phase"] == "tune")).sum())
    assert said[0][:3] == ("full", "0", "final")
    assert said[1:] == [("lp_ft", "1 and 2", "tune", f"{tuning} runs"), ("lp_ft", "1 and 2", "final", "2 runs")]


def test_captions_count_the_replicates_that_had_weights_to_start_from(undrawn: None) -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, trials=0)
    lost = (found.finals["arm"] == "lp_ft") & (found.finals["replicate"] < 2)
    finals = found.finals.assign(reason=None)
    finals.loc[lost, ["status", "reason", "value", "counted"]] = ["crashed", "source_failed: oom", np.nan, np.nan]
    made = View(dataclasses.replace(found, finals=finals))
    assert "n = 3 to 5 runs per arm." in caption(values.values(made, "few"))
    assert "n = 3 to 5 replicates per arm." in caption(memory.memory(made, "few"))


def test_trials_that_had_no_weights_to_start_from_are_in_no_figure_of_tuning(view: View, undrawn: None) -> None:
    studies, trials = view.findings.tables["studies"], view.findings.tables["trials"]
    lost = studies.loc[(studies["arm"] == "lora") & (studies["replicate"] < 2), "study_id"]
    mine = trials["study_id"].isin(set(lost))
    trials = trials.assign(reason=trials["reason"].where(~mine, "crashed: source_failed: oom: no room"))
    made = View(dataclasses.replace(view.findings, tables={**view.findings.tables, "trials": trials}))
    frame = tuning.history_frame(made, "few")
    assert set(frame.loc[frame["arm"] == "lora", "replicate"]) == {2, 3, 4}
    assert "n = 3 to 5 replicates per arm, a study of 2 trials each." in caption(tuning.history(made, "few"))


def test_the_scope_says_how_sources_were_trained_and_what_they_reached() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, replicates=3, trials=0)
    trained = {**finetuned.ORIGIN.values, "epochs": 2, "batch_size": 64, "optimizer": {"use": "momentum", "lr": 0.05}}
    settings = tuple(dataclasses.replace(one, source=Origins(trained)) for one in found.suite.settings)
    same = {"phase": "source", "status": "ok", "setting": "source"}
    runs = pd.DataFrame([{**same, "run_id": f"s{at}"} for at in range(2)])
    scores = pd.DataFrame({"run_id": ["s0", "s1"], "split": "test", "metric": "accuracy", "value": [0.98, 0.9735]})
    tables = {**found.tables, "runs": pd.concat([found.tables["runs"], runs]), "evaluations": scores}
    made = dataclasses.replace(found, suite=dataclasses.replace(found.suite, settings=settings), tables=tables)
    said = dict(scope_of(View(made)))["Source runs"]
    assert said == "epochs 2, batch size 64, optimizer momentum (lr 0.05); test accuracy 97.35 to 98.00 %"


def test_inclusion_is_shown_for_declared_pairs_alone() -> None:
    nested = (("full", "lp_ft"), ("lp_ft", "full"))
    view = View(finetuned.findings(arms=FEW, budgets=ONE, trials=0, nested=nested))
    table = inclusion(view)
    assert table is not None
    values = view.findings.finals.query("setting == 'given'").pivot(index="replicate", columns="arm", values="value")
    d = 100 * (values["lp_ft"] - values["full"])
    assert column(table, "Difference") == [f"{d.mean():.2f}", f"{-d.mean():.2f}"]
    assert column(table, "Inclusion") == ["holds", "violated"]
    assert inclusion(View(finetuned.findings(arms=FEW, budgets=ONE, trials=0))) is None


def test_inclusion_is_undecided_where_the_interval_shows_neither_a_loss_nor_that_there_is_none() -> None:
    found = finetuned.findings(arms=FEW, budgets=ONE, trials=0, nested=(("full", "lp_ft"),), margin=0.02)
    finals = found.finals.copy()
    for replicate, d in enumerate((-0.06, 0.05, -0.03, 0.02, -0.04)):
        there = (finals["replicate"] == replicate) & (finals["setting"] == "given")
        full = finals.loc[there & (finals["arm"] == "full"), "value"].item()
        finals.loc[there & (finals["arm"] == "lp_ft"), ["value", "counted"]] = full + d
    table = inclusion(View(dataclasses.replace(found, finals=finals)))
    assert table is not None
    # mean -1.2, half width 2.776 x 4.55 / sqrt(5) = 5.6 pp
    assert column(table, "95 % interval") == ["[-6.8, 4.4]"]
    assert column(table, "Inclusion") == ["undecided"]


# Files ---------------------------------------------------------------------------------------------------------------


def test_page_and_markdown_say_the_same_and_each_figure_has_its_numbers(tmp_path: Path, undrawn: None) -> None:
    found: Findings = finetuned.findings(arms=FEW, budgets=ONE, senseless=True, trials=0)
    write(found, tmp_path)
    report, view = tmp_path / "report", View(found)
    page, text = html.unescape((report / "report.html").read_text()), (report / "report.md").read_text()
    for table in finetuning.tables(view):
        assert markdown.markdown_table(table) in text
        assert table.caption in page
        assert all(cell.text in page for row in table.rows for cell in row.cells)
    assert finetuning.lead(view) in page
    assert finetuning.lead(view) in text
    for name, frame_of in {
        "forgetting": forgetting.forgetting_frame,
        "memory": memory.memory_frame,
        "drift": drift.drift_frame,
    }.items():
        kept = pd.read_csv(report / "figures" / f"{name}.csv")
        frame = frame_of(view, "few")
        assert list(kept.columns) == list(frame.columns)
        numeric = frame.select_dtypes("number").columns
        assert np.allclose(
            kept[numeric].to_numpy(float), frame[numeric].to_numpy(float, na_value=np.nan), equal_nan=True
        )
        assert (report / "figures" / f"{name}.svg").exists()


def test_figures_of_fine_tuning_are_readable_alone_and_follow_dark_mode(view: View) -> None:
    for chart in finetuning.charts(view):
        assert "style=" not in chart.svg
        used = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', chart.svg)) - {"#ffffff"}
        classed = re.findall(r'class="[^"]*[fs]-[a-z0-9]+[^"]*"', chart.svg)
        assert classed
        for colour in used:
            bare = re.findall(rf'<[a-z]+(?![^>]*class=)[^>]*"{colour}"', chart.svg)
            assert not bare, (chart.name, colour)


# Outcomes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "aside"),
    [
        ("not_applicable", "no norm layer", True),
        ("crashed", "source_failed: diverged", True),
        ("crashed", "signal 9", False),
        ("crashed", None, False),
        ("diverged", "source_failed", False),
        ("ok", None, False),
    ],
)
def test_only_runs_that_say_nothing_of_their_arm_are_set_aside(status: str, reason: str | None, aside: bool) -> None:
    assert set_aside(status, reason) == aside
