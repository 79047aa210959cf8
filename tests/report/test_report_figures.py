"""What is drawn is what the CSV says, and what the tables say."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from harness.report import cost, curves, forest, sensitivity, tuning, values
from harness.report.plotting import look, power_text, swatch
from harness.report.rows import reach
from harness.report.scale import Scale, scale_of, stretched
from harness.report.svg import refine
from harness.report.view import View, short, value_axis
from harness.verdict.format import Measure

PROBLEM = "mnist-cnn"
DRAWN = {
    "forest": (lambda view: forest._frame(view, forest.comparisons(view, PROBLEM)), forest._draw),
    "values": (lambda view: values.values_frame(view, PROBLEM), values._draw_values),
    "slopes": (lambda view: values.slopes_frame(view, PROBLEM), values._draw_slopes),
    "curves": (lambda view: curves.curves_frame(view, PROBLEM), curves._draw),
    "history": (lambda view: tuning.history_frame(view, PROBLEM), tuning._draw_history),
    "sensitivity": (lambda view: sensitivity.sensitivity_frame(view, PROBLEM), sensitivity._draw),
    "cost": (lambda view: cost.cost_frame(view, PROBLEM), cost._draw),
}


@pytest.fixture(scope="module")
def view() -> View:
    return View(synthetic.findings())


MADE: dict[tuple[str, int], tuple[View, pd.DataFrame, Figure]] = {}


def drawn(name: str, view: View) -> tuple[pd.DataFrame, Figure]:
    """Each figure of a view is drawn once; the view is kept, so that no other gets its id."""
    key = (name, id(view))
    if key not in MADE:
        frame_of, draw = DRAWN[name]
        frame = frame_of(view)
        with look():
            MADE[key] = (view, frame, draw(frame, view))
    return MADE[key][1:]


def dots(axes: Axes, gid: str) -> np.ndarray:
    """x and y of all scattered points of an arm."""
    found = [c.get_offsets() for c in axes.collections if isinstance(c, PathCollection) and c.get_gid() == gid]
    return np.vstack([np.asarray(offsets) for offsets in found])


def points(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """x and y of all line vertices of an arm."""
    lines = [line for line in axes.lines if line.get_gid() == gid]
    return sorted((float(x), float(y)) for line in lines for x, y in line.get_xydata())


def test_forest_draws_each_difference_of_the_final_runs(view: View) -> None:
    frame, figure = drawn("forest", view)
    finals = view.findings.finals.query("setting == 'tuned'").pivot(index="replicate", columns="arm", values="value")
    expected = 100 * (finals["momentum"] - finals["sgd"])
    rows = frame[(frame["mark"] == "replicate") & (frame["group"] == "primary") & (frame["arm"] == "momentum")]
    assert np.allclose(rows["difference"].to_numpy(float), expected.to_numpy(float), atol=1e-12)
    leader = frame[(frame["mark"] == "replicate") & (frame["group"] == "leader")]["difference"]
    assert np.allclose(sorted(dots(figure.axes[0], "arm-1")[:, 0]), sorted([*rows["difference"], *leader]))
    untuned = frame.query("mark == 'replicate' and group == 'untuned' and arm == 'momentum'")["difference"]
    assert np.allclose(sorted(dots(figure.axes[1], "arm-1")[:, 0]), sorted(untuned))


def test_forest_draws_mean_interval_and_margin_of_the_comparison(view: View) -> None:
    frame, figure = drawn("forest", view)
    row = view.primary.set_index("arm").loc["adam"]
    xs = [x for x, _ in points(figure.axes[0], "arm-2")]
    assert all(any(abs(x - 100 * row[name]) < 1e-12 for x in xs) for name in ("delta", "lo", "hi"))
    margin = frame[frame["mark"] == "margin"].iloc[0]
    assert (margin["lo"], margin["hi"]) == pytest.approx((-0.2, 0.2))
    band = figure.axes[0].patches[0].get_extents().transformed(figure.axes[0].transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.2, 0.2))


def test_forest_turns_a_minimised_metric_so_that_right_is_better() -> None:
    view = View(synthetic.findings(metric="loss", margin=None))
    frame, _ = drawn("forest", view)
    finals = view.findings.finals.query("setting == 'tuned' and replicate == 0").set_index("arm")["value"]
    row = frame.query("group == 'primary' and arm == 'adam' and replicate == 0").iloc[0]
    assert row["difference"] == pytest.approx(finals["sgd"] - finals["adam"])
    assert row["difference"] > 0


def test_forest_counts_a_failed_run_at_the_floor_and_crosses_it() -> None:
    lost = frozenset({("momentum", 2)})
    view = View(synthetic.findings(arms=("sgd", "momentum"), trials=0, untuned=False, failed=lost))
    frame, figure = drawn("forest", view)
    row = frame.query("arm == 'momentum' and replicate == 2").iloc[0]
    baseline = view.findings.finals.query("arm == 'sgd' and replicate == 2")["value"].iat[0]
    assert row["failed"]
    assert row["difference"] == pytest.approx(100 * (0.1 - baseline))
    crossed = [c for c in figure.axes[0].collections if c.get_gid() == "arm-1" and len(c.get_offsets()) == 1]
    assert any(np.allclose(np.asarray(c.get_offsets())[:, 0], row["difference"]) for c in crossed)


def test_untuned_rows_do_not_stretch_the_axis_of_the_declared_ones() -> None:
    findings = synthetic.findings()
    limits = drawn("forest", View(findings))[1].axes[0].get_xlim()
    untuned = findings.tables["comparisons"]["setting"] == "untuned"
    findings.tables["comparisons"].loc[untuned, ["delta", "lo", "hi"]] += 0.7
    declared, apart = drawn("forest", View(findings))[1].axes
    assert declared.get_xlim() == limits
    assert apart.get_xlim()[1] > 70
    assert "an axis of its own" in " ".join(text.get_text() for text in apart.texts)


def test_a_replicate_far_beyond_all_intervals_is_an_arrow_with_its_value() -> None:
    lost = frozenset({("momentum", 3)})
    findings = synthetic.findings(arms=("sgd", "momentum"), replicates=20, trials=0, untuned=False, failed=lost)
    view = View(findings)
    made = forest.forest(view, PROBLEM)
    assert made is not None
    assert "An arrow at the edge stands for what lies beyond it" in made.caption
    value = made.frame.query("mark == 'replicate' and replicate == 3")["difference"].iat[0]
    axes = drawn("forest", view)[1].axes[0]
    assert value < axes.get_xlim()[0]
    assert f"{value:.3g}" in [text.get_text() for text in axes.texts]
    assert [line.get_marker() for line in axes.lines].count("<") == 1
    assert len(dots(axes, "arm-1")) == 19


def test_no_arrow_where_all_replicates_are_in_sight(view: View) -> None:
    made = forest.forest(view, PROBLEM)
    assert made is not None
    assert "arrow" not in made.caption


def test_an_interval_widened_by_a_failure_does_not_squash_the_other_rows() -> None:
    view = View(synthetic.findings(failed=frozenset({("adam", 2)})))
    frame, figure = drawn("forest", view)
    axes = figure.axes[0]
    narrow = frame.query("mark == 'mean' and group == 'primary' and arm == 'momentum'").iloc[0]
    low, high = axes.get_xlim()
    assert low < narrow["lo"] < narrow["hi"] < high
    assert high - low < 20 * (narrow["hi"] - narrow["lo"])
    wide = frame.query("mark == 'mean' and group == 'primary' and arm == 'adam'").iloc[0]
    assert wide["lo"] < low < high < wide["hi"]
    arrows = [line for line in axes.lines if line.get_gid() == "arm-2" and line.get_marker() in ("<", ">")]
    # The interval at both ends, and the failed replicate.
    assert sorted(line.get_marker() for line in arrows) == ["<", "<", ">"]


def test_values_of_a_failed_run_do_not_squash_the_other_arms() -> None:
    view = View(synthetic.findings(failed=frozenset({("adam", 2)})))
    made = values.values(view, PROBLEM)
    assert made is not None
    assert "An arrow at the edge stands for what lies beyond it" in made.caption
    axes = drawn("values", view)[1].axes[0]
    assert axes.get_xlim()[0] > 90
    assert "10" in [text.get_text() for text in axes.texts]


def test_an_axis_holds_dots_as_far_off_as_its_bars_are_wide() -> None:
    assert reach([(1.0, 3.0)], [4.9, 5.1], []) == pytest.approx((1 - 0.05 * 3.9, 4.9 + 0.05 * 3.9))
    assert reach([(1.0, 3.0)], [], [0.0]) == pytest.approx((-0.15, 3.15))


def test_an_axis_holds_bars_up_to_ten_times_as_wide_as_those_before() -> None:
    assert reach([(-4.0, 6.0)], [], [-0.2, 0.2]) == pytest.approx((-4.5, 6.5))
    assert reach([(0.0, 1.0), (-4.0, 6.0)], [], []) == pytest.approx((-4.5, 6.5))
    assert reach([(0.0, 1.0), (-4.1, 6.0)], [], []) == pytest.approx((-0.05, 1.05))
    assert reach([(-4.1, 6.0), (0.0, 1.0)], [], []) == pytest.approx((-4.605, 6.505))
    assert reach([(0.0, 0.0), (-4.0, 6.0)], [], [0.0]) == pytest.approx((-4.5, 6.5))


def test_one_bar_far_narrower_than_all_others_does_not_leave_these_out_where_half_are_held() -> None:
    bars = [(59.0, 61.0), (50.0, 100.0), (20.0, 80.0), (10.0, 110.0)]
    assert reach(bars, [], [], least=2) == pytest.approx((5.0, 115.0))
    assert reach(bars, [], []) == pytest.approx((58.9, 61.1))


def test_a_wide_bar_that_lies_elsewhere_is_a_difference_and_stays_in_sight() -> None:
    assert reach([(90.0, 90.5), (10.0, 16.0)], [], []) == pytest.approx((10 - 0.05 * 80.5, 90.5 + 0.05 * 80.5))


def test_without_an_interval_every_dot_is_held() -> None:
    assert reach([(np.nan, np.nan)], [90.0], [0.0]) == pytest.approx((-4.5, 94.5))


def test_unpaired_comparison_shows_no_replicate_differences() -> None:
    findings = synthetic.findings()
    findings.tables["comparisons"]["paired"] = False
    frame = forest.forest(View(findings), PROBLEM).frame  # type: ignore[union-attr]
    assert set(frame["mark"]) == {"mean", "margin"}


def test_values_draws_every_final_run_in_percent(view: View) -> None:
    _, figure = drawn("values", view)
    finals = view.findings.finals.query("arm == 'adam'")
    for axes, setting in zip(figure.axes, ("tuned", "untuned"), strict=True):
        expected = 100 * finals.loc[finals["setting"] == setting, "value"]
        assert np.allclose(sorted(dots(axes, "arm-2")[:, 0]), sorted(expected))


def test_slopes_draws_a_line_per_replicate(view: View) -> None:
    frame, figure = drawn("slopes", view)
    lines = [line for line in figure.axes[0].lines if line.get_gid() is None]
    assert len(lines) == 5
    wanted = frame.pivot(index="replicate", columns="arm", values="value")[list(view.arms)].to_numpy(float)
    assert np.allclose(np.array(sorted(tuple(line.get_ydata()) for line in lines)), sorted(map(tuple, wanted)))


def test_curves_draw_each_run_and_the_median(view: View) -> None:
    frame, figure = drawn("curves", view)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "Validation accuracy")
    rows = frame.query("metric == 'accuracy' and split == 'validation' and arm == 'sgd'")
    assert np.allclose(points(axes, "arm-0"), sorted(zip(rows["x"], rows["value"], strict=True)), rtol=1e-12)
    runs, median = (rows[rows["mark"] == mark] for mark in ("run", "median"))
    by_epoch = runs.pivot(index="replicate", columns="x", values="value").to_numpy(float)
    assert np.allclose(np.sort(by_epoch, axis=0)[2], median["value"].to_numpy(float))


def test_curves_never_show_the_test_split_or_untuned_runs(view: View) -> None:
    frame, _ = drawn("curves", view)
    assert set(frame["split"]) == {"validation", "train"}
    assert set(frame["setting"]) == {"tuned"}


def test_curves_of_one_epoch_are_visible_points() -> None:
    view = View(synthetic.findings(epochs=1))
    _, figure = drawn("curves", view)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert lines
    assert all(line.get_marker() not in (None, "None", "") for line in lines)


def test_curves_of_a_suite_in_steps_run_over_steps() -> None:
    findings = synthetic.findings()
    for setting in findings.suite.settings:
        setting.values.update(epochs=None, steps=282)
    frame = curves.curves_frame(View(findings), PROBLEM)
    assert sorted(set(frame["x"])) == [94.0, 188.0, 282.0]
    assert set(frame["x_unit"]) == {"steps"}


def test_the_caption_of_curves_counts_the_final_runs_that_early_stopping_ended() -> None:
    findings = synthetic.findings()
    runs = findings.tables["runs"]
    runs["stopped_early"] = (runs["arm"] == "adam") & runs["replicate"].isin([0, 3])
    tuned = (runs["phase"] == "final") & (runs["setting"] == "tuned") & (runs["problem"] == PROBLEM)
    assert runs[tuned & runs["stopped_early"]].shape[0] == 2  # the flag is also set in runs that are not drawn
    drawn = curves.curves(View(findings), PROBLEM)
    assert drawn is not None
    words = "Early stopping ended 2 of 5 runs of adam; from there on a median is over the runs that went on."
    assert words in drawn.caption
    runs["stopped_early"] = False
    drawn = curves.curves(View(findings), PROBLEM)
    assert drawn is not None
    assert "Early stopping" not in drawn.caption


def test_history_draws_trials_and_the_best_so_far(view: View) -> None:
    frame, figure = drawn("history", view)
    axes, rows = figure.axes[2], frame[frame["arm"] == "adam"]
    seen = rows.dropna(subset=["value"])
    assert np.allclose(sorted(map(tuple, dots(axes, "arm-2"))), sorted(zip(seen["trial"], seen["value"], strict=True)))
    for _, study in rows.groupby("replicate"):
        finite = study["value"].to_numpy(float)
        expected = [np.nanmax(finite[: k + 1]) if np.isfinite(finite[: k + 1]).any() else np.nan for k in range(6)]
        assert np.allclose(study["best"].to_numpy(float), expected, equal_nan=True)


def test_history_of_a_minimised_metric_falls() -> None:
    frame = tuning.history_frame(View(synthetic.findings(metric="loss")), PROBLEM)
    falls = frame.groupby(["arm", "replicate"])["best"].apply(lambda best: (best.dropna().diff().dropna() <= 0).all())
    assert falls.all()


def test_sensitivity_is_logarithmic_where_the_domain_is_and_rings_the_chosen(view: View) -> None:
    frame, figure = drawn("sensitivity", view)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_xscale()) == ("optimizer.lr (log scale)", "log")
    rows = frame.query("arm == 'sgd' and parameter == 'optimizer.lr'")
    assert np.allclose(sorted(map(tuple, dots(axes, "arm-0"))), sorted(zip(rows["x"], rows["value"], strict=True)))
    rings = next(line for line in axes.lines if line.get_markersize() == 8.5)
    chosen = rows[rows["chosen"].astype(bool)]
    assert len(chosen) == 5
    assert np.allclose(sorted(rings.get_xdata()), sorted(chosen["x"].astype(float)))
    edges = sorted(line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert edges == pytest.approx([1e-4, 0.3162])


def one_hyperparameter(**options: object) -> View:
    findings = synthetic.findings(**options)  # type: ignore[arg-type]
    rows = findings.tables["trial_parameters"]
    findings.tables["trial_parameters"] = rows[rows["name"] == "optimizer.lr"]
    return View(findings)


def test_sensitivity_stands_abreast_where_each_arm_has_one_hyperparameter() -> None:
    view = one_hyperparameter(arms=("sgd", "momentum", "adam", "lion"), replicates=2, trials=3)
    _, figure = drawn("sensitivity", view)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["sgd", "momentum", "adam", "lion"]
    tops = [round(axes.get_position().y1, 6) for axes in figure.axes]
    assert tops[0] == tops[1] == tops[2] > tops[3]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_sensitivity_has_a_row_per_arm_where_there_are_more(view: View) -> None:
    _, figure = drawn("sensitivity", view)
    assert len({round(axes.get_position().y1, 6) for axes in figure.axes}) == 3


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("tpe", "the sampler follows what went well"),
        ("gp", "the sampler follows what went well"),
        ("random", "evenly at random, whatever their values"),
        ("qmc", "evenly, quasi-randomly, whatever their values"),
    ],
)
def test_sensitivity_says_how_its_sampler_spreads_trials(sampler: str, words: str, view: View) -> None:
    suite = dataclasses.replace(view.suite, tuning=dataclasses.replace(view.suite.tuning, sampler=sampler))
    other = View(dataclasses.replace(view.findings, suite=suite))
    assert words in sensitivity._caption(sensitivity.sensitivity_frame(other, PROBLEM), other)


def test_sensitivity_shows_options_in_their_order(view: View) -> None:
    _, figure = drawn("sensitivity", view)
    axes = next(axes for axes in figure.axes if axes.get_xlabel() == "batch_size (option)")
    figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32", "64", "128"]


def test_trials_without_a_value_are_crosses_not_gaps(view: View) -> None:
    frame, figure = drawn("sensitivity", view)
    failed = frame.query("arm == 'adam' and parameter == 'optimizer.lr' and state == 'failed'")
    assert len(failed) > 0
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "adam")
    crosses = next(line for line in axes.lines if line.get_marker() == "x")
    assert np.allclose(sorted(crosses.get_xdata()), sorted(failed["x"].astype(float)))


def test_cost_draws_seconds_against_the_mean(view: View) -> None:
    frame, figure = drawn("cost", view)
    rows = frame[(frame["clock"] == "train_seconds") & (frame["arm"] == "adam")]
    assert dots(figure.axes[0], "arm-2").tolist() == [pytest.approx([rows["seconds"].iat[0], rows["value"].iat[0]])]


def test_cost_counts_final_runs_of_the_main_setting_only(view: View) -> None:
    runs = view.findings.tables["runs"].query("phase == 'final' and setting == 'tuned' and arm == 'adam'")
    timings = view.findings.tables["timings"].set_index("run_id")["train_seconds"]
    frame, _ = drawn("cost", view)
    shown = frame[(frame["clock"] == "train_seconds") & (frame["arm"] == "adam")]["seconds"].iat[0]
    assert shown == sorted(timings[runs["run_id"]])[2]


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_has_a_name_and_a_unit(name: str, view: View) -> None:
    _, figure = drawn(name, view)
    named = re.compile(r"^arm$|^.+\s\(.+\)$")
    assert all(named.match(axes.get_xlabel()) for axes in figure.axes)
    # Panels of a row share the label of the first; forest and values have names in place of a scale.
    assert all(named.match(axes.get_ylabel()) for axes in figure.axes[:1]) or not len(figure.axes[0].get_yticks())


def test_metric_without_unit_says_what_its_number_is() -> None:
    findings = synthetic.findings(metric="loss", margin=None)
    findings.tables["metrics"]["unit"] = ""
    _, figure = drawn("forest", View(findings))
    assert figure.axes[0].get_xlabel() == "difference in test loss (per example)"
    assert "mean [95 % interval]" in [text.get_text() for text in figure.axes[0].texts]
    assert value_axis(Measure("f1", "maximize"), "test") == "test F1 (no unit)"
    assert value_axis(Measure("mse", "minimize"), "test") == "test MSE (target's unit squared)"
    assert value_axis(Measure("mae", "minimize")) == "MAE (target's unit)"


def test_notes_beside_a_long_axis_label_stand_below_it() -> None:
    def heights(metric: str) -> tuple[float, float]:
        findings = synthetic.findings(metric="loss", margin=None, trials=0, untuned=False)
        for name in ("metrics", "summary", "comparisons"):
            findings.tables[name]["metric"] = findings.tables[name]["metric"].replace("loss", metric)
        suite = dataclasses.replace(
            findings.suite,
            compare=dataclasses.replace(findings.suite.compare, metric=metric),
            metric=dataclasses.replace(findings.suite.metric, name=metric),
        )
        _, figure = drawn("forest", View(dataclasses.replace(findings, suite=suite)))
        note = next(text for text in figure.axes[0].texts if "the arm is worse" in text.get_text())
        return note.get_position()[1], len(figure.axes[0].get_xlabel())

    assert heights("loss") == (-22, 30)
    assert heights("mean_absolute_percentage_error")[0] < -30


ACCURACY = Measure("accuracy", "maximize", "fraction")
LOSS = Measure("loss", "minimize")


@pytest.mark.parametrize(
    ("measure", "values"),
    [
        (ACCURACY, [90.0, 92.0, 95.0]),
        (LOSS, [0.2, 0.3, 0.4]),
        (LOSS, [-1.0, 0.1, 90.0]),
        (ACCURACY, [100.0, 100.0, 10.0]),
        (Measure("reward", "maximize"), [1.0, 2.0, 900.0]),
        (ACCURACY, []),
    ],
)
def test_axis_is_even_where_nothing_is_squashed_or_no_best_value_is_known(
    measure: Measure, values: list[float]
) -> None:
    scale = scale_of(measure, values)
    assert not scale.step
    assert stretched(scale) == ""
    assert "log" not in scale.label()


@pytest.mark.parametrize(
    ("measure", "values", "label"),
    [
        (ACCURACY, [10.0, 90.0, 95.0, 96.0, 98.0, 100.0], "validation accuracy\n(%, log of error)"),
        (LOSS, [2.3, 0.2, 0.1, 0.05, 0.0], "validation loss\n(per example, log scale)"),
    ],
)
def test_axis_is_stretched_where_bad_runs_squash_good_ones(measure: Measure, values: list[float], label: str) -> None:
    scale = scale_of(measure, values)
    assert scale.label("validation") == label
    axes = Figure().add_subplot()
    scale.apply(axes, values)
    heights = axes.transAxes.inverted().transform(axes.transData.transform([(0.0, value) for value in values]))[:, 1]
    assert ((heights >= 0) & (heights <= 1)).all()
    assert (np.sign(np.diff(heights)) == np.sign(np.diff(values))).all()
    ticks = sorted(axes.get_yticks())
    assert len(ticks) >= 3
    assert min(values) * 0.5 <= ticks[0]
    assert ticks[-1] <= max(values)


def test_halving_the_error_is_as_high_anywhere_on_a_stretched_axis() -> None:
    scale = Scale(ACCURACY, step=0.01)
    places = scale._place(np.array([60.0, 80.0, 90.0, 95.0]))
    assert np.diff(places) == pytest.approx(np.log(2), abs=1e-4)
    assert scale._value(places) == pytest.approx([60.0, 80.0, 90.0, 95.0])


def test_captions_tell_of_stretched_axes() -> None:
    assert stretched(Scale(ACCURACY, 1.0), Scale(LOSS, 0.1)) == (
        "So that bad runs do not squash good ones, axes are stretched: accuracy towards 100 %, about as the logarithm "
        "of the error; loss towards 0, about as a logarithm."
    )


def test_csv_on_disk_reads_back_as_the_plotted_frame(base_folder: Path, view: View) -> None:
    folder = base_folder / "report" / "figures"
    assert {p.stem for p in folder.glob("*.csv")} == {p.stem for p in folder.glob("*.svg")} == set(DRAWN)
    for name, (frame_of, _) in DRAWN.items():
        frame = frame_of(view).reset_index(drop=True)
        back = pd.read_csv(folder / f"{name}.csv")
        assert list(back.columns) == list(frame.columns)
        for column in frame:
            if pd.api.types.is_numeric_dtype(back[column]):
                expected = frame[column].astype("Float64").to_numpy(float, na_value=np.nan)
                assert np.array_equal(back[column].to_numpy(float), expected, equal_nan=True), (name, column)


def test_figure_files_are_svg_that_any_reader_parses(hostile_folder: Path) -> None:
    for path in (hostile_folder / "report" / "figures").glob("*.svg"):
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].tag.endswith("title")
        assert "style=" not in path.read_text(encoding="utf-8")


def test_figures_ignore_the_readers_matplotlibrc(view: View) -> None:
    import matplotlib

    def text() -> str:
        made = values.slopes(view, PROBLEM)
        assert made is not None
        return made.svg

    plain = text()
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "path", "font.size": 30}):
        assert text() == plain


def test_no_pyplot_figure_is_left_open(view: View) -> None:
    from matplotlib import pyplot

    assert values.values(view, PROBLEM) is not None
    assert pyplot.get_fignums() == []


def test_swatches_are_closed_paths_in_their_box(view: View) -> None:
    for style in view.styles.values():
        path = swatch(style)
        assert path.startswith("M")
        assert path.endswith("Z")
        assert max(abs(float(x)) for x in re.findall(r"-?\d+\.\d+", path)) <= 1.0


def test_forty_two_arms_look_different() -> None:
    view = View(synthetic.findings(arms=tuple(f"arm{i}" for i in range(43)), replicates=1, trials=0, untuned=False))
    assert len({(style.colour, style.marker) for style in view.styles.values()}) == 43


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.01"), (1000, "1000"), (1e-5, "1e-5"), (2e6, "2e6"), (0.0001, "0.0001"), (0.0, "0")]
)
def test_ticks_of_log_axes_are_plain_text(value: float, text: str) -> None:
    assert power_text(value) == text


def test_long_names_keep_head_and_tail_in_figures() -> None:
    assert short("a" * 20 + "b" * 20, 11) == "aaaaa…bbbbb"
    assert short("two\nlines\x00") == "two lines"
    assert short("\n") == "?"


def test_refining_understands_the_font_shorthand_of_older_matplotlib() -> None:
    raw = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 5"><g id="text_1"><text style="font: 700 9.5px '
        '\'DejaVu Sans\', sans-serif; text-anchor: middle; fill: #1d2329" x="1.23456" y="2">a &lt; b</text></g></svg>'
    )
    made = refine(raw, name="n", title="t & u", colours={"#1d2329": "ink"})
    text = ET.fromstring(made)[1][0]
    assert text.attrib["font-size"] == "9.5px"
    assert text.attrib["font-weight"] == "700"
    assert (text.attrib["x"], text.attrib["class"], text.text) == ("1.23", "f-ink", "a < b")
    assert "id=" not in made.replace('id="n-title"', "")
