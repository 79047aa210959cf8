"""The page as a reader, a browser and a screen reader meet it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from statsmodels.stats.proportion import proportion_confint

from harness.report import methods, results, write
from harness.report.scope import scope as scope_of
from harness.report.view import View
from harness.tables import frame

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect"}


class Page(HTMLParser):
    """Start tags with their attributes, and the text outside script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.inside = ""
        self.raw: dict[str, str] = {"script": "", "style": ""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.inside = tag if tag in self.raw else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def base(base_folder: Path) -> str:
    return (base_folder / "report" / "report.html").read_text(encoding="utf-8")


def built(folder: Path, **options: object) -> str:
    return write(synthetic.findings(**options), folder).read_text(encoding="utf-8")  # type: ignore[arg-type]


def test_page_begins_with_the_question_and_its_answer(base: str) -> None:
    body = Page(base[base.index("<body>") :])
    question = "Tuned alike, which optimizer trains the article's CNN best on MNIST?"
    assert body.text.startswith(f"{question} On mnist-cnn, momentum and adam are better than sgd in test accuracy.")
    assert "<h1>On mnist-cnn" in base


def test_every_verdict_sentence_stands_in_page_and_markdown(base: str, base_folder: Path) -> None:
    page = Page(base)
    markdown = (base_folder / "report" / "report.md").read_text(encoding="utf-8")
    sentences = synthetic.findings().tables["comparisons"]["sentence"]
    assert len(sentences) == 5
    assert all(sentence in page.text and sentence in markdown for sentence in sentences)


def test_primary_verdicts_carry_a_word_and_a_colour(base: str) -> None:
    page = Page(base)
    badges = [attributes["class"] for attributes in page.all("span") if attributes.get("class", "").startswith("badge")]
    assert badges[:2] == ["badge good", "badge good"]
    assert base.index(">better</span>") < base.index('id="scope"')


def test_hiding_an_arm_leaves_its_verdict(base: str) -> None:
    verdicts = [item["class"] for item in Page(base).all("li") if "class" in item]
    assert verdicts.count("good") == 5
    assert not any("arm-" in classes for classes in verdicts)


def test_page_asks_no_network_for_anything(base: str) -> None:
    page = Page(base)
    assert not page.values("src")
    assert not page.all("link")
    assert "@import" not in base
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", base))
    external = [link for link in page.values("href") if not link.startswith(("#", "figures/"))]
    assert external
    assert all(link.startswith("https://arxiv.org/abs/") for link in external)
    assert external == [a["href"] for a in page.all("a") if a["href"].startswith("https")]


def test_content_security_policy_allows_exactly_the_one_style_and_script(base: str) -> None:
    page = Page(base)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
        assert len(page.all(name)) == 1
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_nothing_needs_what_the_policy_forbids(base: str) -> None:
    page = Page(base)
    assert not page.values("style")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_script_is_small_and_the_page_is_whole_without_it(base: str) -> None:
    page = Page(base)
    assert len(page.raw["script"]) < 2300
    assert all(word in page.text for word in ("Scope", "Robustness", "Provenance", "Methods", "harness run suites/"))
    hidden = [attributes.get("id") for _, attributes in page.tags if "hidden" in attributes]
    assert hidden == ["arms"]


def test_ids_are_unique_and_every_reference_meets_one(base: str) -> None:
    page = Page(base)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = [link[1:] for link in page.values("href") if link.startswith("#")]
    wanted += re.findall(r"url\(#([^)]+)\)", base) + page.values("aria-labelledby")
    assert set(wanted) <= set(ids)


def test_figure_ids_carry_the_figures_name(base: str) -> None:
    for drawing in re.findall(r"<svg xmlns.*?</svg>", base, re.S):
        ids = re.findall(r'\bid="([^"]+)"', drawing)
        name = ids[0].removesuffix("-title")
        assert name.startswith("fig-")
        assert all(identity.startswith(f"{name}-") for identity in ids)


def test_figures_have_a_title_a_role_and_a_caption_with_n(base: str) -> None:
    drawings = re.findall(r"<figure.*?</figure>", base, re.S)
    assert len(drawings) == 7
    for drawing in drawings:
        assert 'role="img"' in drawing
        assert re.search(r"<title id=[^>]*>[^<]{20,}</title>", drawing)
        assert "n\u00a0=\u00a0" in drawing[drawing.index("<figcaption>") :]


def test_forest_plot_reads_out_the_primary_sentences(base: str) -> None:
    title = re.search(r'<title id="fig-forest-title">([^<]+)', base)
    assert title is not None
    primary = synthetic.findings().tables["comparisons"].query("primary")["sentence"]
    assert all(sentence in html.unescape(title[1]) for sentence in primary)


def test_colours_of_figures_follow_the_page(base: str) -> None:
    drawings = "".join(re.findall(r"<svg xmlns.*?</svg>", base, re.S))
    painted = re.findall(r'<[^>]*(?:fill|stroke)="(#[0-9a-f]{6})"[^>]*>', drawings)
    assert painted
    for tag in re.findall(r'<[^>]*(?:fill|stroke)="#[0-9a-f]{6}"[^>]*>', drawings):
        assert re.search(r'class="[^"]*\b[fs]-(ink|muted|rule|band|paper|c\d)', tag), tag
    # Text and markers of matplotlib's default black would vanish on a dark page.
    assert all("fill=" in tag for tag in re.findall(r"<text[^>]*>", drawings))
    assert "prefers-color-scheme: dark" in base
    assert "@media print" in base


def test_tables_have_scopes_and_sort_keys(base: str) -> None:
    page = Page(base)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert "aria-sort" in page.raw["script"]
    assert len(page.values("data-v")) > 50


def test_scope_box_says_what_was_done(base: str) -> None:
    text = Page(base).text
    for said in (
        "6,000 training examples",
        "10,000 test examples",
        "6 trials per arm and replicate",
        "0.20 pp",
        "120 runs planned: 117 ok, 3 failed",
        "the tuning study and the setting it chose",
    ):
        assert said in text


@pytest.mark.usefixtures("undrawn")
def test_partial_results_say_so_at_the_top(tmp_path: Path) -> None:
    page = Page(built(tmp_path, missing=frozenset({("momentum", 4), ("adam", 4)})))
    assert page.text.index("Partial results: 116 of 120 runs done") < page.text.index("momentum against sgd")
    assert "Partial results" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_finished_results_have_no_banner(base: str) -> None:
    assert "Partial results" not in base


def test_failed_final_run_is_listed_counted_and_crossed(tmp_path: Path) -> None:
    text = Page(built(tmp_path, failed=frozenset({("adam", 2)}))).text
    assert "4/5" in text
    assert "diverged loss is nan at step 17" in text
    assert "A failed final run counts as the metric's floor (10.00 %)." in text


def test_a_failure_rate_has_its_wilson_interval() -> None:
    made = results.summary(View(synthetic.findings(failed=frozenset({("adam", 2), ("adam", 4)}))))
    lo, hi = proportion_confint(2, 5, method="wilson")
    texts = {cell.text for row in made.rows for cell in row.cells}
    assert f"2, 40 % [{100 * lo:.0f}, {100 * hi:.0f}]" in texts
    assert "Failed: how many, and the rate with its 95 % Wilson interval." in made.caption
    assert "Wilson" not in results.summary(View(synthetic.findings())).caption


@pytest.mark.usefixtures("undrawn")
def test_without_failures_the_page_says_none(tmp_path: Path) -> None:
    assert "None: no run failed." in Page(built(tmp_path, arms=("sgd", "momentum"))).text


def test_one_arm_makes_no_comparison_and_no_arrow(tmp_path: Path) -> None:
    page = Page(built(tmp_path, arms=("sgd",), replicates=1, trials=0, untuned=False, margin=None, epochs=1))
    assert "There is nothing to compare" in page.text
    assert "Nothing was tuned" in page.text
    assert "↑" not in page.text
    assert not [c for c in page.values("class") if c.startswith("badge")]


def test_one_replicate_has_no_coloured_verdict(tmp_path: Path) -> None:
    page = Page(built(tmp_path, replicates=1))
    badges = {value for value in page.values("class") if value.startswith("badge")}
    assert badges == {"badge none"}
    assert "no interval" in page.text
    assert not re.search(r"\bbars?\b|declared comparisons? (is|form)", page.text)


def test_minimised_metric_in_its_own_unit(tmp_path: Path) -> None:
    text = Page(built(tmp_path, metric="loss", margin=0.01)).text
    assert "test loss (lower is better), in nats" in text
    assert "Mean test loss, nats ↓" in text
    assert "difference in test loss (nats)" in text


def test_before_the_first_run_the_page_says_what_is_missing(tmp_path: Path) -> None:
    full = synthetic.findings()
    tables = {name: frame(name, []) for name in full.tables if name != "metrics"}
    counts = {"planned": 120, "ok": 0, "pruned": 0, "failed": 0, "missing": 120}
    for kept in (tables, {}):
        findings = dataclasses.replace(full, tables=kept, finals=full.finals.iloc[:0], counts=counts)
        text = Page(write(findings, tmp_path).read_text(encoding="utf-8")).text
        assert "0 of 120 runs done" in text
        assert "No final run has a value yet." in text
        assert "No trial is done yet." in text


def test_an_arm_that_always_fails_is_shown_as_such(tmp_path: Path) -> None:
    findings = synthetic.findings(failed=frozenset(("adam", i) for i in range(5)))
    studies, trials = findings.tables["studies"], findings.tables["trials"]
    lost = studies["arm"] == "adam"
    studies.loc[lost, ["best_trial", "best_value", "final_value", "optimism"]] = pd.NA
    studies.loc[lost, "complete"] = 0
    of_lost = trials["study_id"].isin(set(studies.loc[lost, "study_id"]))
    trials.loc[of_lost, "state"] = "failed"
    trials.loc[of_lost, ["value", "told"]] = float("nan")
    text = Page(write(findings, tmp_path).read_text(encoding="utf-8")).text
    assert "0/5" in text
    assert "no setting" in text


def test_a_failed_arm_without_floor_has_no_mean(tmp_path: Path) -> None:
    text = Page(built(tmp_path, metric="loss", margin=None, trials=0, failed=frozenset({("adam", 1)}))).text
    assert "a failed run has no value and is not drawn" in text
    assert "The metric has no floor" in text


def test_several_problems_have_a_figure_each(tmp_path: Path) -> None:
    few = {"arms": ("sgd", "adam"), "replicates": 3, "trials": 0, "untuned": False, "epochs": 1}
    text = built(tmp_path, problems=("mnist-cnn", "fashion-cnn"), **few)
    assert {"figure-forest-1-mnist-cnn", "figure-forest-2-fashion-cnn"} <= set(Page(text).values("id"))
    ids = Page(text).values("id")
    assert len(ids) == len(set(ids))


@pytest.mark.usefixtures("undrawn")
def test_times_are_blank_when_they_cannot_be_compared(tmp_path: Path) -> None:
    remark = synthetic.remark("H008", "W", "18 of 90 runs overlapped with others", "run again with fewer workers")
    text = built(tmp_path, remarks=(remark,))
    assert "Times are left blank" in text
    assert 'id="cost"' in text
    assert not (tmp_path / "report" / "figures" / "cost.svg").exists()


def test_hostile_text_is_shown_as_text(hostile_folder: Path) -> None:
    page = Page((hostile_folder / "report" / "report.html").read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not page.all("b") or all("onload" not in attributes for attributes in page.all("svg"))
    assert "<b>bold</b> {{ 7*7 }}" in page.text
    names = ("<script>alert(1)</script>", "$\\frac$", "=cmd()|'x'", "_hidden", "a" * 64)
    assert all(name in page.text for name in names)
    markdown = (hostile_folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "<img" not in markdown


def test_thirty_arms_stay_under_two_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.chart.drawn", lambda *_, **__: f"<svg>{300_000 * 'm'}</svg>")
    path = write(synthetic.findings(arms=tuple(f"arm{i:02d}" for i in range(30))), tmp_path)
    assert 1_500_000 < path.stat().st_size < 2_000_000
    looks = re.findall(r'<svg class="mark".*?</svg>', path.read_text(encoding="utf-8"))
    assert len(set(looks)) == 30


def test_a_page_with_much_text_links_more_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.chart.drawn", lambda *_, **__: f"<svg>{300_000 * 'm'}</svg>")
    plain = write(synthetic.findings(arms=("sgd", "adam")), tmp_path / "plain")
    size, figures = plain.stat().st_size, plain.read_text(encoding="utf-8").count("<svg>")
    monkeypatch.setattr("harness.report.page.WHOLE", size - 1)
    smaller = write(synthetic.findings(arms=("sgd", "adam")), tmp_path / "smaller")
    assert smaller.stat().st_size < size
    assert smaller.read_text(encoding="utf-8").count("<svg>") == figures - 1


def test_many_arms_get_panels_and_figures_of_their_own(tmp_path: Path) -> None:
    few = {"replicates": 2, "trials": 1, "epochs": 1, "untuned": False}
    page = Page(built(tmp_path, arms=tuple(f"arm{i}" for i in range(9)), **few))
    assert {"figure-curves", "figure-sensitivity1", "figure-sensitivity2"} <= set(page.values("id"))


@pytest.mark.usefixtures("undrawn")
def test_figures_that_do_not_fit_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.page.INLINE", 40_000)
    text = built(tmp_path)
    assert '<a href="figures/curves.svg">' in text
    assert "<title>fig-forest " in text
    assert len(text) < 200_000


BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
import synthetic
from statsmodels.stats.proportion import proportion_confint
from harness.report import write
from pathlib import Path
write(synthetic.findings(), Path(sys.argv[2]))
"""


def test_another_process_builds_equal_bytes(base_folder: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", "-c", BUILD, str(Path(__file__).parent), str(tmp_path)],
        check=True,
        timeout=300,
        env={"PYTHONHASHSEED": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    files = {root: sorted(p.relative_to(root) for p in root.rglob("*.*")) for root in (base_folder, tmp_path)}
    assert files[base_folder] == files[tmp_path]
    assert len(files[tmp_path]) == 17
    assert all((base_folder / f).read_bytes() == (tmp_path / f).read_bytes() for f in files[tmp_path])


def test_page_knows_neither_folder_nor_clock(base: str, base_folder: Path) -> None:
    assert str(base_folder) not in base
    assert str(Path.cwd()) not in base
    assert not re.search(r"\d\d:\d\d:\d\d", base)


@pytest.mark.usefixtures("undrawn")
def test_figures_of_an_earlier_report_are_removed(tmp_path: Path) -> None:
    built(tmp_path)
    folder = tmp_path / "report" / "figures"
    assert (folder / "history.svg").exists()
    (folder / "mine.txt").write_text("kept")
    built(tmp_path, trials=0, untuned=False)
    assert not (folder / "history.svg").exists()
    assert not (folder / "history.csv").exists()
    assert (folder / "mine.txt").exists()


@pytest.mark.usefixtures("undrawn")
def test_linked_report_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="is a link"):
        built(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.usefixtures("undrawn")
def test_latex_table_has_one_row_per_arm_and_escapes(tmp_path: Path) -> None:
    built(tmp_path, arms=("sgd", "my_arm & co", "100%"), untuned=False)
    text = (tmp_path / "report" / "tables" / "summary.tex").read_text(encoding="utf-8")
    assert text.count(r"\\") == 1 + 3
    assert r"my\_arm \& co" in text
    assert r"\toprule" in text
    assert text.isascii()


def test_counts_that_do_not_add_up_are_refused() -> None:
    findings = synthetic.findings()
    with pytest.raises(ValueError, match="planned must be"):
        type(findings)(**{**findings.__dict__, "counts": {**findings.counts, "ok": 1}})


def said(view: View) -> dict[str, str]:
    """The scope box by its terms."""
    return dict(scope_of(view))


def asked(*, tuning: dict[str, object] | None = None, **options: object) -> View:
    """Findings of a suite with other tuning options; nothing is drawn."""
    findings = synthetic.findings(**options)  # type: ignore[arg-type]
    suite = findings.suite
    changed = dataclasses.replace(suite, tuning=dataclasses.replace(suite.tuning, **(tuning or {})))
    return View(dataclasses.replace(findings, suite=changed))


def comparing(**options: object) -> View:
    """Findings of a suite that compares in another way; nothing is drawn."""
    findings = synthetic.findings()
    chosen = dataclasses.replace(findings.suite.compare, **options)  # type: ignore[arg-type]
    return View(dataclasses.replace(findings, suite=dataclasses.replace(findings.suite, compare=chosen)))


def test_what_varied_is_what_a_seed_decides() -> None:
    varied = (
        "training and validation split, the tuning study and the setting it chose, initial weights, order of examples"
    )
    view = asked()
    assert said(view)["Varied between replicates"] == varied
    view.suite.settings[0].values["model"]["dropout"] = 0.1  # type: ignore[index, call-overload]
    assert said(view)["Varied between replicates"] == f"{varied}, dropout"


def test_what_is_searched_is_not_held_equal() -> None:
    held = said(asked())["Held equal"]
    assert "model cnn (activation relu)" in held
    assert "batch size" not in held
    assert "batch size 64" in said(asked(trials=0, untuned=False))["Held equal"]


def test_the_scope_tells_what_each_arm_is_and_leaves_out_what_is_searched() -> None:
    view = asked()
    sgd, momentum, adam = (f"{arm}: optimizer {arm}" for arm in view.arms)
    assert said(view)["Arms"] == f"{sgd}; {momentum}; {adam}"
    view.suite.settings[0].values["regularisation"] = {"l1": 0.0, "l2": 0.1}
    assert said(view)["Arms"] == f"{sgd}, regularisation (l1 0, l2 0.1); {momentum}; {adam}"


def test_options_of_a_part_that_arms_differ_in_are_told_apart_from_those_that_they_share() -> None:
    view = asked()
    for setting in view.suite.settings:
        setting.values["optimizer"] = {"use": "sgd", "momentum": 0.9, "nesterov": setting.arm == "adam"}
    scope = said(view)
    assert scope["Arms"].endswith("adam: optimizer (nesterov yes)")
    assert "optimizer sgd (momentum 0.9)" in scope["Held equal"]


def test_the_scope_tells_every_size_of_the_training_set() -> None:
    view = asked(problems=("a", "b"))
    view.suite.settings[-1].values["train_examples"] = 1500
    assert said(view)["Split"].startswith("1,500 or 6,000 training examples; ")


def test_an_interval_of_a_share_that_reaches_beyond_all_of_it_is_told_with_what_it_means() -> None:
    view = asked()
    words = "An interval that reaches beyond 0 or 100 % tells of single runs far from the others"
    assert words not in results.summary(view).caption
    view.findings.tables["summary"].loc[0, "hi"] = 1.04
    assert words in results.summary(view).caption


def test_a_unit_of_n_has_a_study_only_when_tuned() -> None:
    assert said(asked())["Unit of n"] == "one replicate: its own split, tuning study and seeds; 5 planned"
    assert said(asked(trials=0, untuned=False))["Unit of n"] == "one replicate: its own split and seeds; 5 planned"


@pytest.mark.parametrize(
    ("sampler", "how", "source"),
    [
        ("random", "random search", "Bergstra and Bengio 2012"),
        ("qmc", "quasi-random search", "Bousquet et al. 2017"),
        ("tpe", "a tree-structured Parzen estimator", "Watanabe 2023"),
        ("gp", "a Gaussian process", "Snoek et al. 2012"),
    ],
)
def test_methods_name_the_sampler_and_its_source(sampler: str, how: str, source: str) -> None:
    view = asked(tuning={"sampler": sampler})
    assert f"6 trials, proposed by {how} (Optuna)" in methods.methods(view)
    cited = " ".join(text for text, _ in methods.references(view))
    assert source in cited
    assert sum(name in cited for name in ("Bergstra", "Bousquet", "Watanabe", "Snoek")) == 1


def test_without_tuning_no_source_on_tuning_is_cited() -> None:
    view = asked(trials=0, untuned=False)
    assert "Nothing was tuned: every arm ran as the suite gives it" in methods.methods(view)
    cited = " ".join(text for text, _ in methods.references(view))
    assert not re.search("Optuna|Optimizer|optimizers", cited)


def test_papers_on_optimizers_are_cited_when_optimizers_are_compared() -> None:
    view = asked()
    assert "Choi" in " ".join(text for text, _ in methods.references(view))
    for setting in view.suite.settings:
        setting.values["optimizer"] = {"use": "adam", "lr": 0.01}
    assert "Choi" not in " ".join(text for text, _ in methods.references(view))


def test_one_arm_is_not_called_paired() -> None:
    assert "paired" not in methods.methods(asked(arms=("sgd",), trials=0, untuned=False))


def test_estimated_numbers_of_replicates_are_rounded() -> None:
    findings = synthetic.findings()
    findings.tables["comparisons"]["more"] = 311_760
    text = " ".join(cell.text for row in results.robustness(View(findings)).rows for cell in row.cells)
    assert "310,000 (1 to 14)" in text


def test_over_folds_intervals_are_called_corrected_and_wins_have_none() -> None:
    view = comparing(folds=5)
    comparisons = view.comparisons.assign(wins_lo=float("nan"), wins_hi=float("nan"), p_signflip=float("nan"))
    tables = {**view.findings.tables, "comparisons": comparisons}
    made = View(dataclasses.replace(view.findings, tables=tables))
    assert "with its 95 % t-interval corrected for overlapping training sets;" in results.summary(made).caption
    assert "Also reported: wins, two one-sided" in methods.methods(made)
    table = results.robustness(made)
    at = [column.label for column in table.columns].index("Share of wins [95 %]")
    shares = [row.cells[at].text for row in table.rows]
    assert shares
    assert all(re.fullmatch(r"\d/5", share) for share in shares)


def test_the_robustness_table_tells_what_its_p_values_and_its_share_are_of() -> None:
    caption = results.robustness(View(synthetic.findings())).caption
    for said in (
        "p values test for any difference, whatever the margin; only Holm's is adjusted",
        "equivalent below (1 - level) / 2",
        "P(better) is about single runs",
        "if the spread is the one seen",
    ):
        assert said in caption


def test_methods_say_that_the_runs_that_picked_the_leading_arm_favour_it() -> None:
    said = "Those of the leading arm with arms other than the baseline favour it, since these runs picked it."
    assert said in methods.methods(View(synthetic.findings()))
    assert "leading arm" not in methods.methods(asked(arms=("sgd", "adam")))


def test_with_several_looks_methods_say_what_adjusted_p_values_are_held_against() -> None:
    assert "2 looks at the verdict, so that these p values are to be held against 0.025." in methods.methods(
        comparing(looks=2)
    )


def test_methods_say_that_claims_are_not_adjusted() -> None:
    view = View(synthetic.findings())
    assert "claims" not in methods.methods(view)
    claimed = view.comparisons.head(1).assign(kind="claim", primary=False)
    tables = {**view.findings.tables, "comparisons": pd.concat([view.comparisons, claimed])}
    made = View(dataclasses.replace(view.findings, tables=tables))
    assert "Published claims are judged by 95 % intervals of the arm's mean, each for itself" in methods.methods(made)
