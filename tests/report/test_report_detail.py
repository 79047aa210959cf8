"""The section on mistakes: what is drawn follows from what final runs kept, and is small, dark and readable."""

from __future__ import annotations

import base64
import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from matplotlib.collections import PathCollection

from harness import details
from harness.registry.catalog import Origin, PartInfo
from harness.report import confusion, methods, mistakes, residuals, results, roc, write
from harness.report.plotting import look
from harness.report.scope import scope as scope_of
from harness.report.sections import detail_lead, sections
from harness.report.view import View
from harness.suite import Report
from harness.suite.origin import SuiteSource
from harness.tables import frame, per_class
from harness.train.feed import Resident

torch.set_num_threads(1)
PROBLEM, ARMS, REPLICATES = "mnist-cnn", ("sgd", "adam"), 3


def outcome(classes, *, seed, skill, n=200, channels=1, side=8):
    """What a run keeps whose outputs are right as often as its skill allows."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(n, channels, side, side, generator=generator)
    if classes is None:
        targets = 10 * torch.randn(n, generator=generator)
        outputs = targets[:, None] + (6 - skill) * torch.randn(n, 1, generator=generator)
    else:
        targets = torch.arange(n) % classes
        one_hot = torch.nn.functional.one_hot(targets, classes)
        outputs = torch.randn(n, classes, generator=generator) + skill * one_hot
    weights = torch.randn(classes or 1, channels * side * side, generator=generator)
    examples = Resident((inputs, targets), torch.device("cpu"))
    made = details.of(
        outputs, targets, classes=classes, examples=examples, forward=lambda given: given.flatten(1) @ weights.T
    )
    assert made is not None
    return made


def findings(classes: int | None = 4, *, names: tuple[str, ...] = (), asked: str | None = None, **options):
    """The made-up findings, with details of final runs: adam is better than sgd."""
    few = {"arms": ARMS, "replicates": REPLICATES, "trials": 0, "untuned": False, "epochs": 1, **options}
    made = synthetic.findings(**few)
    kept = {
        (problem, arm, replicate): outcome(classes, seed=10 * at + replicate, skill=2.0 + at)
        for problem in made.suite.problems
        for at, arm in enumerate(made.suite.arms)
        for replicate in range(few["replicates"])
    }
    entries = [
        SimpleNamespace(
            label=SimpleNamespace(problem=problem, arm=arm, replicate=replicate, setting="given", phase="final"),
            result={"details": found},
        )
        for (problem, arm, replicate), found in kept.items()
    ]
    walk = SimpleNamespace(entries=entries)
    facts = {problem: SimpleNamespace(class_names=names) for problem in made.suite.problems}
    made.tables["classes"] = frame("classes", per_class.classes(SimpleNamespace(facts=facts), walk))
    made.tables["confusion"] = frame("confusion", per_class.confusion(walk))
    suite = dataclasses.replace(made.suite, report=Report(arm=asked))
    return dataclasses.replace(made, suite=suite, details=kept)


@pytest.fixture(scope="module")
def view() -> View:
    return View(findings())


def drawn(draw, frame, view):
    with look():
        return draw(frame, view)


# Which arm


def test_the_arm_with_the_best_mean_is_shown_unless_the_suite_asks_for_another(view: View) -> None:
    assert view.detail_arm(PROBLEM) == "adam"
    assert detail_lead(view).startswith("Shown of one arm: adam, the best by mean test accuracy.")
    asked = View(findings(asked="sgd"))
    assert asked.detail_arm(PROBLEM) == "sgd"
    assert detail_lead(asked).startswith("Shown of one arm: sgd, as the suite asks.")


def test_an_arm_of_which_nothing_was_kept_is_not_chosen(view: View) -> None:
    kept = {key: found for key, found in view.findings.details.items() if key[1] != "adam"}
    assert View(dataclasses.replace(view.findings, details=kept)).detail_arm(PROBLEM) == "sgd"


def test_records_without_details_leave_the_section_out() -> None:
    plain = View(synthetic.findings(arms=ARMS, replicates=3, trials=0, untuned=False, epochs=1))
    assert "detail" not in [section.slug for section in sections(plain)]


# Classes


def test_the_confusion_matrix_is_summed_over_the_replicates_of_the_arm(view: View) -> None:
    made = confusion.confusion_frame(view, PROBLEM)
    due = sum(np.array(view.findings.details[PROBLEM, "adam", replicate]["confusion"]) for replicate in range(3))
    found = np.zeros((4, 4), int)
    found[made["true"].astype(int), made["predicted"].astype(int)] = made["count"].astype(int)
    assert (found == due).all()
    shares = due / due.sum(1, keepdims=True)
    assert np.allclose(made["share"], shares[made["true"].astype(int), made["predicted"].astype(int)])


def test_every_count_stands_in_its_cell(view: View) -> None:
    made = confusion.confusion_frame(view, PROBLEM)
    axes = drawn(confusion._draw, made, view).axes[0]
    found = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    due = {(t + 0.5, p + 0.5): str(c) for t, p, c in made[["true", "predicted", "count"]].itertuples(index=False)}
    assert found == due
    assert axes.get_ylim() == (4, 0)


@pytest.mark.parametrize("classes", [2, 10, 47])
def test_a_matrix_fits_the_page_and_its_numbers_can_be_read(classes: int) -> None:
    view = View(findings(classes, names=tuple(f"class of {at}" for at in range(classes)), replicates=1))
    made = confusion.confusion(view, PROBLEM)
    assert made is not None
    width = float(ET.fromstring(made.svg).attrib["width"])
    height = float(ET.fromstring(made.svg).attrib["height"])
    assert height < 1.15 * width
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', made.svg)]
    assert min(sizes) >= confusion.SMALLEST_FONT
    assert len(made.svg) < 150_000
    named = re.findall(r">(class of \d+)<", made.svg)
    assert len(named) == 2 * classes


def test_mistakes_are_another_colour_than_right_answers_and_all_follow_the_page(view: View) -> None:
    made = confusion.confusion(view, PROBLEM)
    assert made is not None
    painted = re.findall(r'<[^>]*(?:fill|stroke)="#[0-9a-f]{6}"[^>]*>', made.svg)
    assert all(re.search(r'class="[^"]*\b[fs]-(ink|muted|rule|band|paper|c\d)', tag) for tag in painted)
    shaded = set(re.findall(r'class="f-(c\d)"', made.svg))
    assert shaded == {"c1", "c2"}


def test_the_most_frequent_confusions_are_listed_the_largest_first(view: View) -> None:
    table = confusion.frequent(view, PROBLEM)
    made = confusion.confusion_frame(view, PROBLEM)
    wrong = sorted(made[made["true"] != made["predicted"]]["count"], reverse=True)
    assert table is not None
    assert [row.cells[2].sort for row in table.rows] == wrong[:10]


def test_the_table_of_classes_holds_means_over_the_final_runs_of_all_arms(view: View) -> None:
    table = confusion.per_class(view, PROBLEM)
    rows = view.findings.tables["classes"]
    assert table is not None
    assert [column.label for column in table.columns][-1] == "F1 of sgd, %"
    for row in table.rows:
        at = int(row.cells[0].sort)
        own = rows[(rows["arm"] == "adam") & (rows["class"] == at)]
        assert row.cells[1].text == "50"
        due = [own[name].mean() for name in ("precision", "recall", "f1", "auc")]
        assert [cell.sort for cell in row.cells[2:6]] == pytest.approx(due)
        other = rows[(rows["arm"] == "sgd") & (rows["class"] == at)]["f1"].mean()
        assert row.cells[6].sort == pytest.approx(other)


def test_of_many_classes_those_with_the_lowest_f1_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusion, "MOST_ROWS", 6)
    view = View(findings(10, replicates=2))
    table = confusion.per_class(view, PROBLEM)
    means = view.findings.tables["classes"].query("arm == 'adam'").groupby("class")["f1"].mean().sort_values()
    assert table is not None
    assert [row.cells[0].text for row in table.rows] == [str(at) for at in means.index[:3]]
    assert "The 3 of 10 classes with the lowest F1" in table.caption


# Curves


def test_curves_are_means_of_the_replicates_and_the_thick_one_of_the_classes(view: View) -> None:
    kept = [outcome(4, seed=replicate, skill=2.0, n=80) for replicate in range(3)]
    few = dict(zip([(PROBLEM, "adam", replicate) for replicate in range(3)], kept, strict=True))
    made = roc.roc_frame(View(dataclasses.replace(view.findings, details=few)), PROBLEM)
    assert list(made["mark"].unique()) == ["class", "mean"]
    mean = made[made["mark"] == "mean"]
    due = np.mean([found["roc"]["macro"] for found in kept], axis=0)
    assert mean["tpr"].to_numpy(float)[1:] == pytest.approx(due)
    # Curves of so few points are kept whole, so both ways agree; each begins with (0, 0).
    of_classes = [made.loc[made["class"] == at, "tpr"].to_numpy(float)[1:] for at in range(4)]
    assert np.mean(of_classes, axis=0) == pytest.approx(due, abs=1e-5)
    areas = np.mean([found["auc"] for found in kept], axis=1)
    low, high = synthetic.interval(areas)
    assert mean[["auc", "lo", "hi"]].iloc[0].tolist() == pytest.approx([areas.mean(), low, high])


def test_the_area_has_the_interval_of_checkpoint_means_where_replicates_share_them() -> None:
    found = findings(replicates=6)
    suite = dataclasses.replace(found.suite, source=SuiteSource(3, "mnist"))
    made = roc.roc(View(dataclasses.replace(found, suite=suite)), PROBLEM)
    assert made is not None
    areas = [np.mean(found.details[PROBLEM, "adam", replicate]["auc"]) for replicate in range(6)]
    low, high = synthetic.interval(np.array([(areas[at] + areas[at + 3]) / 2 for at in range(3)]))
    mean = made.frame[made.frame["mark"] == "mean"].iloc[0]
    assert mean[["auc", "lo", "hi", "n"]].tolist() == pytest.approx([np.mean(areas), low, high, 3])
    assert "that of the mean with its t-interval of checkpoint means." in made.caption


def test_the_classes_with_the_smallest_areas_have_a_colour_and_a_name(view: View) -> None:
    made = roc.roc_frame(view, PROBLEM)
    figure = drawn(roc._draw, made, view)
    order = made[made["mark"] == "class"].drop_duplicates("class").sort_values("auc")["class"]
    said = [text.get_text().split(":")[0] for text in figure.legends[0].get_texts()]
    assert said == ["mean", *(f"class {at}" for at in order[:3])]
    drawn_lines = figure.axes[0].lines
    assert len(drawn_lines) == 1 + 4 + 1
    assert np.allclose(drawn_lines[-1].get_ydata(), made[made["mark"] == "mean"]["tpr"])


def test_two_classes_have_one_curve() -> None:
    view = View(findings(2, names=("healthy", "ill")))
    made = roc.roc(view, PROBLEM)
    assert made is not None
    assert set(made.frame["mark"]) == {"mean"}
    assert made.caption.startswith("The line is class ill")
    due = np.mean([view.findings.details[PROBLEM, "adam", replicate]["auc"][1] for replicate in range(3)])
    assert made.frame["auc"].iat[0] == pytest.approx(due)


def test_more_than_twenty_classes_have_a_mean_curve_only() -> None:
    made = roc.roc(View(findings(21, replicates=2)), PROBLEM)
    assert made is not None
    assert set(made.frame["mark"]) == {"mean"}
    assert "interval" not in made.caption


@pytest.mark.parametrize(("skill", "corner"), [(0.0, False), (8.0, True)])
def test_only_curves_that_crowd_the_corner_are_shown_there_again(skill: float, corner: bool) -> None:
    kept = {(PROBLEM, arm, at): outcome(4, seed=at, skill=skill, n=2000) for arm in ARMS for at in range(2)}
    view = View(dataclasses.replace(findings(), details=kept))
    made = roc.roc_frame(view, PROBLEM)
    figure = drawn(roc._draw, made, view)
    assert len(figure.axes) == 1 + corner
    if corner:
        assert figure.axes[1].get_xlim()[1] <= 0.2


# Pictures


def test_pictures_are_drawn_pixel_by_pixel(view: View) -> None:
    made = mistakes.mistakes_frame(view, PROBLEM)
    kept = view.findings.details[PROBLEM, "adam", 0]
    assert made["test_index"].tolist() == [row["index"] for row in kept["mistakes"]]
    assert made["image"].tolist() == kept["pictures"]["images"]
    figure = drawn(mistakes._draw, made, view)
    assert len(figure.axes) == 2 * len(made)
    pixels = np.frombuffer(base64.b64decode(made["image"].iat[0]), np.uint8).reshape(8, 8)
    assert (np.asarray(figure.axes[0].images[0].get_array())[:, :, 0] == pixels).all()
    strength = np.frombuffer(base64.b64decode(made["saliency"].iat[0]), np.uint8).reshape(8, 8)
    assert (np.asarray(figure.axes[1].images[0].get_array())[:, :, 3] == strength).all()
    row = made.iloc[0]
    assert figure.axes[0].get_title(loc="left") == f"{row['true']} → {row['predicted']}"


def test_colour_pictures_keep_their_channels() -> None:
    kept = {(PROBLEM, "sgd", 0): outcome(3, seed=0, skill=1.0, channels=3)}
    view = View(dataclasses.replace(findings(3, asked="sgd"), details=kept))
    made = mistakes.mistakes_frame(view, PROBLEM)
    figure = drawn(mistakes._draw, made, view)
    pixels = np.frombuffer(base64.b64decode(made["image"].iat[0]), np.uint8).reshape(8, 8, 3)
    assert (np.asarray(figure.axes[0].images[0].get_array()) == pixels).all()


def test_pictures_lie_in_the_drawing_and_ask_no_network(view: View) -> None:
    made = mistakes.mistakes(view, PROBLEM)
    assert made is not None
    links = re.findall(r'href="([^"]+)"', made.svg)
    pictures = [link for link in links if link.startswith("data:image/png;base64,")]
    assert len(pictures) == 2 * len(made.frame)
    assert all(link.startswith("#") for link in links if link not in pictures)
    assert all(base64.b64decode(link.partition(",")[2], validate=True).startswith(b"\x89PNG") for link in pictures)
    assert made.svg.count('image-rendering="pixelated"') == len(pictures)
    assert "style=" not in made.svg
    assert not made.listed


def test_inputs_that_are_no_images_are_listed_in_words(view: View) -> None:
    found = {
        key: {name: part for name, part in kept.items() if name != "pictures"}
        for key, kept in view.findings.details.items()
    }
    plain = View(dataclasses.replace(view.findings, details=found))
    assert mistakes.mistakes(plain, PROBLEM) is None
    table = mistakes.surest(plain, PROBLEM)
    assert table is not None
    kept = found[PROBLEM, "adam", 0]["mistakes"]
    assert [row.cells[0].text for row in table.rows] == [str(row["index"]) for row in kept]
    assert [row.cells[3].sort for row in table.rows] == [row["probability"] for row in kept]


def test_a_mistake_is_never_said_to_be_certain() -> None:
    assert [mistakes.certainty(share) for share in (1.0, 0.99995, 0.9999, 0.5)] == [
        "over 99.99 %",
        "over 99.99 %",
        "99.99 %",
        "50.00 %",
    ]


def test_saliency_cites_its_source_and_curves_theirs(view: View) -> None:
    cited = " ".join(text for text, _ in methods.references(view))
    assert "Simonyan" in cited
    assert "Fawcett" in cited
    plain = synthetic.findings(arms=ARMS, trials=0, untuned=False)
    assert "Simonyan" not in " ".join(text for text, _ in methods.references(View(plain)))


# Values


@pytest.fixture(scope="module")
def values() -> View:
    return View(findings(None, metric="loss", margin=None))


def test_predicted_values_are_drawn_against_true_ones(values: View) -> None:
    made = residuals.residuals_frame(values, PROBLEM)
    pairs = made[made["mark"] == "pair"]
    kept = values.findings.details[PROBLEM, "adam", 0]["pairs"]
    first = pairs[pairs["replicate"] == 0]
    assert first["target"].tolist() == kept["target"]
    assert first["output"].tolist() == kept["output"]
    axes = drawn(residuals._draw, made, values).axes[0]
    points = next(c for c in axes.collections if isinstance(c, PathCollection)).get_offsets()
    assert np.allclose(points, pairs[["target", "output"]].to_numpy(float))
    assert axes.get_xlim() == axes.get_ylim()


def test_the_histogram_counts_every_pair_that_was_kept(values: View) -> None:
    made = residuals.residuals_frame(values, PROBLEM)
    bins = made[made["mark"] == "bin"]
    gaps = np.concatenate(
        [np.subtract(kept["pairs"]["output"], kept["pairs"]["target"]) for _, kept in values.details(PROBLEM, "adam")]
    )
    assert bins["count"].sum() == len(gaps) == 600
    low, high, counted = bins[["low", "high", "count"]].iloc[10]
    assert counted == ((gaps >= low) & (gaps < high)).sum()
    axes = drawn(residuals._draw, made, values).axes[1]
    assert [bar.get_height() for bar in axes.patches] == bins["count"].tolist()


def test_many_pairs_are_thinned_evenly_and_the_caption_says_so(values: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "MOST_POINTS", 100)
    made = residuals.residuals(values, PROBLEM)
    assert made is not None
    assert (made.frame["mark"] == "pair").sum() == 100
    assert "100 of 600 drawn" in made.caption


def test_quantiles_are_listed_for_all_arms(values: View) -> None:
    table = residuals.quantiles(values, PROBLEM)
    assert table is not None
    assert [row.cells[0].text for row in table.rows] == list(ARMS)
    kept = [dict(map(tuple, found["residuals"])) for _, found in values.details(PROBLEM, "sgd")]
    due = [np.mean([run[share] for run in kept]) for share in residuals.SHOWN]
    assert [cell.sort for cell in table.rows[0].cells[2:]] == pytest.approx(due)


def test_a_regression_has_no_classes_in_its_report(values: View) -> None:
    (section,) = [one for one in sections(values) if one.slug == "detail"]
    assert [chart.name for chart in section.charts] == ["residuals"]
    assert len(section.tables) == 1


# Further metrics


def measured(name: str, **extra: object) -> PartInfo:
    told = {"direction": "maximize", "unit": "", "floor": None, "ceiling": None, **extra}
    return PartInfo("metric", name, Origin("harness", "0.1.0", "metrics", "", ""), extra=told)


def test_further_metrics_have_a_table_of_their_own() -> None:
    made = synthetic.findings(arms=ARMS, trials=0, untuned=False)
    summary = made.tables["summary"]
    loss = summary.assign(metric="loss", mean=0.31, lo=0.294, hi=0.326)
    loss.loc[loss["arm"] == "adam", ["mean", "lo", "hi"]] = float("nan")
    made.tables["summary"] = pd.concat([summary, loss], ignore_index=True)
    assert results.others(View(made)) is None
    suite = dataclasses.replace(made.suite, also=(measured("loss", direction="minimize", unit="nats"),))
    table = results.others(View(dataclasses.replace(made, suite=suite)))
    assert table is not None
    assert [column.label for column in table.columns] == ["Arm", "Setting", "Loss, nats ↓"]
    assert [row.cells[2].text for row in table.rows] == ["0.310 [0.294, 0.326]", "–"]
    scope = dict(scope_of(View(dataclasses.replace(made, suite=suite))))
    assert scope["Also measured"] == "loss"


# The whole page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detail")
    write(findings(names=("<b>cat</b>", "$x$", "=dog", "a_b")), made)
    return made


def test_the_page_stays_whole_small_and_without_network(folder: Path) -> None:
    text = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    assert "<b>cat</b>" not in text
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "img-src data:" in text
    targets = re.findall(r'(?:href|src)="([^"]+)"', text)
    away = [one for one in targets if not one.startswith(("#", "figures/", "data:image/png;base64,"))]
    assert all(one.startswith("https://arxiv.org/abs/") for one in away)
    drawings = re.findall(r"<figure.*?</figure>", text, re.S)
    assert all(re.search(r"<title id=[^>]*>[^<]{20,}</title>", drawing) for drawing in drawings)
    assert text.index('id="detail"') < text.index('id="cost"')


def test_the_page_lists_no_bytes_of_pictures_among_the_plotted_numbers(folder: Path) -> None:
    text = (folder / "report" / "report.html").read_text(encoding="utf-8")
    image = pd.read_csv(folder / "report" / "figures" / "mistakes.csv")["image"].iat[0]
    assert image not in text


def test_figures_and_their_numbers_lie_beside_the_page(folder: Path, view: View) -> None:
    for name in ("confusion", "roc", "mistakes"):
        assert (folder / "report" / "figures" / f"{name}.svg").exists()
    back = pd.read_csv(folder / "report" / "figures" / "roc.csv")
    made = roc.roc_frame(view, PROBLEM)
    for column in ("fpr", "tpr", "auc", "lo", "hi"):
        assert np.array_equal(back[column].to_numpy(float), made[column].to_numpy(float)), column
    markdown = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "## Detail per problem" in markdown
    assert "![The mistakes that adam was surest of](figures/mistakes.svg)" in markdown


def test_building_twice_gives_equal_bytes(folder: Path, tmp_path: Path) -> None:
    write(findings(names=("<b>cat</b>", "$x$", "=dog", "a_b")), tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)
