"""What is drawn is what the CSV says, and what the tables say."""

from __future__ import annotations

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

from harness.report import cost, curves, forest, tuning, values, write
from harness.report.plotting import look, power_text, swatch
from harness.report.svg import refine
from harness.report.view import View, short

PROBLEM = "mnist-cnn"
DRAWN = {
    "forest": (lambda view: forest.forest(view, PROBLEM).frame, forest._draw),
    "values": (lambda view: values.values_frame(view, PROBLEM), values._draw_values),
    "slopes": (lambda view: values.slopes_frame(view, PROBLEM), values._draw_slopes),
    "curves": (lambda view: curves.curves_frame(view, PROBLEM), curves._draw),
    "history": (lambda view: tuning.history_frame(view, PROBLEM), tuning._draw_history),
    "sensitivity": (lambda view: tuning.sensitivity_frame(view, PROBLEM), tuning._draw_sensitivity),
    "cost": (lambda view: cost.cost_frame(view, PROBLEM), cost._draw),
}


@pytest.fixture(scope="module")
def view() -> View:
    return View(synthetic.findings())


def drawn(name: str, view: View) -> tuple[pd.DataFrame, Figure]:
    frame_of, draw = DRAWN[name]
    frame = frame_of(view)
    with look():
        return frame, draw(frame, view)


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
    every = frame[(frame["mark"] == "replicate") & (frame["arm"] == "momentum")]["difference"]
    leader = frame[(frame["mark"] == "replicate") & (frame["group"] == "leader")]["difference"]
    assert np.allclose(sorted(dots(figure.axes[0], "arm-1")[:, 0]), sorted([*every, *leader]))


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
    view = View(synthetic.findings(failed=frozenset({("adam", 2)})))
    frame, figure = drawn("forest", view)
    row = frame.query("group == 'primary' and arm == 'adam' and replicate == 2").iloc[0]
    baseline = view.findings.finals.query("setting == 'tuned' and arm == 'sgd' and replicate == 2")["value"].iat[0]
    assert row["failed"]
    assert row["difference"] == pytest.approx(100 * (0.1 - baseline))
    crossed = [c for c in figure.axes[0].collections if c.get_gid() == "arm-2" and len(c.get_offsets()) == 1]
    assert any(np.allclose(np.asarray(c.get_offsets())[:, 0], row["difference"]) for c in crossed)


def test_unpaired_comparison_shows_no_replicate_differences() -> None:
    findings = synthetic.findings()
    findings.tables["comparisons"]["paired"] = False
    frame = forest.forest(View(findings), PROBLEM).frame  # type: ignore[union-attr]
    assert set(frame["mark"]) == {"mean", "margin"}


def test_values_draws_every_final_run_in_percent(view: View) -> None:
    _, figure = drawn("values", view)
    expected = 100 * view.findings.finals.query("arm == 'adam'")["value"]
    assert np.allclose(sorted(dots(figure.axes[0], "arm-2")[:, 0]), sorted(expected))


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


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_has_a_name_and_a_unit(name: str, view: View) -> None:
    _, figure = drawn(name, view)
    named = re.compile(r"^arm$|^.+ \(.+\)$")
    assert all(named.match(axes.get_xlabel()) for axes in figure.axes)
    # Panels of a row share the label of the first; forest and values have names in place of a scale.
    assert all(named.match(axes.get_ylabel()) for axes in figure.axes[:1]) or not len(figure.axes[0].get_yticks())


def test_metric_without_unit_says_so() -> None:
    findings = synthetic.findings(metric="loss", margin=None)
    findings.tables["metrics"]["unit"] = ""
    _, figure = drawn("forest", View(findings))
    assert figure.axes[0].get_xlabel() == "difference in test loss (no unit)"


def test_csv_on_disk_reads_back_as_the_plotted_frame(tmp_path: Path) -> None:
    findings = synthetic.findings()
    write(findings, tmp_path)
    folder = tmp_path / "report" / "figures"
    assert {p.stem for p in folder.glob("*.csv")} == {p.stem for p in folder.glob("*.svg")} == set(DRAWN)
    for name, (frame_of, _) in DRAWN.items():
        frame = frame_of(View(findings)).reset_index(drop=True)
        back = pd.read_csv(folder / f"{name}.csv")
        assert list(back.columns) == list(frame.columns)
        for column in frame:
            if pd.api.types.is_numeric_dtype(back[column]):
                expected = frame[column].astype("Float64").to_numpy(float, na_value=np.nan)
                assert np.array_equal(back[column].to_numpy(float), expected, equal_nan=True), (name, column)


def test_figure_files_are_svg_that_any_reader_parses(tmp_path: Path) -> None:
    write(synthetic.findings(arms=("<b>&", "$x$", "c")), tmp_path)
    for path in (tmp_path / "report" / "figures").glob("*.svg"):
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
