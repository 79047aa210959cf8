"""The report's sections in their order, the same for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from harness.report import (
    confusion,
    details,
    finetuning,
    labels,
    methods,
    mistakes,
    residuals,
    results,
    transfer,
    wording,
)
from harness.report.chart import Chart
from harness.report.cost import cost
from harness.report.curves import curves
from harness.report.forest import forest
from harness.report.inclusion import inclusion
from harness.report.layout import Table
from harness.report.over import over
from harness.report.roc import roc
from harness.report.sensitivity import sensitivity
from harness.report.tuning import history
from harness.report.values import slopes, values
from harness.report.view import View
from harness.verdict.format import count, listed


@dataclass(frozen=True)
class Answer:
    """A verdict's own sentence, with the word and the colour of its code."""

    sentence: str
    word: str
    tone: str


@dataclass(frozen=True)
class Section:
    """Text, figures and tables under one heading."""

    slug: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    links: tuple[tuple[str, str], ...] = ()


def answers(view: View, *, primary: bool) -> list[Answer]:
    """The declared verdicts, or the exploratory ones, by problem and arm."""
    return [
        Answer(
            str(row["sentence"]),
            wording.verdict(str(row["verdict"])),
            wording.tone(str(row["verdict"])),
        )
        for row in [*results.ordered_comparisons(view), *_other_kinds(view)]
        if (bool(row["primary"]) or row["kind"] == "claim") == primary
    ]


def _other_kinds(view: View) -> list[pd.Series]:
    """Verdicts on published claims, which no forest plot shows."""
    rows = view.comparisons
    return [row for _, row in rows[rows["kind"] != "pair"].iterrows()]


def banner(view: View) -> str:
    """What is still missing; empty when all planned runs are done."""
    counts = view.findings.counts
    if not counts["missing"]:
        return ""
    done = counts["planned"] - counts["missing"]
    return f"Partial results: {done:,} of {counts['planned']:,} runs done. What follows can still change."


def sections(view: View) -> list[Section]:
    """All sections after the answer, the scope and the remarks."""
    return [
        _differences(view),
        _values(view),
        *_finetuning(view),
        *_over(view),
        _curves(view),
        _tuning(view),
        *_detail(view),
        _cost(view),
        _robustness(view),
        _failures(view),
        _provenance(view),
        _methods(view),
    ]


def _charts(found: Iterable[Chart | None]) -> tuple[Chart, ...]:
    return tuple(chart for chart in found if chart is not None)


def _tables(found: Iterable[Table | None]) -> tuple[Table, ...]:
    return tuple(table for table in found if table is not None and table.rows)


def _differences(view: View) -> Section:
    charts = _charts(forest(view, problem) for problem in view.problems)
    lead = "" if charts else "There is nothing to compare: no arm has a run beside the baseline's."
    return Section("differences", "Differences", lead, charts, _tables([results.differences(view)]))


def _values(view: View) -> Section:
    charts = _charts(draw(view, problem) for problem in view.problems for draw in (values, slopes))
    lead = "" if charts else "No final run has a value yet."
    return Section("values", "Results per arm", lead, charts, _tables([results.summary(view), results.others(view)]))


def _finetuning(view: View) -> list[Section]:
    """Only where runs start from trained networks, and say what became of these."""
    if not transfer.moved(view):
        return []
    charts = tuple(finetuning.charts(view))
    made = [Section("finetuning", "Fine-tuning", finetuning.lead(view), (), _tables(finetuning.tables(view)))]
    return [*made, *([Section("forgetting", "Forgetting, memory and drift", "", charts)] if charts else [])]


def _over(view: View) -> list[Section]:
    """Only where problems differ in something that has an order."""
    charts = over(view)
    lead = "Whether the answer holds for more or less of it. Verdicts are made for each problem apart."
    return [Section("over", "Along the axis", lead, tuple(charts))] if charts else []


def _curves(view: View) -> Section:
    charts = _charts(curves(view, problem) for problem in view.problems)
    return Section("curves", "Learning curves", "" if charts else "No final run has been evaluated yet.", charts)


def _tuning(view: View) -> Section:
    if not view.suite.tuning.trials:
        return Section("tuning", "Tuning", "Nothing was tuned (trials = 0).")
    charts = _charts(history(view, problem) for problem in view.problems)
    charts += tuple(chart for problem in view.problems for chart in sensitivity(view, problem))
    tables = _tables([details.chosen(view), details.optimism(view)])
    lead = (
        "How much better studies look than their final runs cannot be said: these have no validation set."
        if labels.within(view)
        else ""
    )
    return Section("tuning", "Tuning", lead if charts or tables else "No trial is done yet.", charts, tables)


def _detail(view: View) -> list[Section]:
    """Which mistakes one arm of each problem makes; no section where no run kept any."""
    draw = (confusion.confusion, roc, mistakes.mistakes, residuals.residuals)
    listed = (confusion.per_class, confusion.frequent, mistakes.surest, residuals.quantiles)
    charts = _charts(one(view, problem) for problem in view.problems for one in draw)
    tables = _tables(one(view, problem) for problem in view.problems for one in listed)
    if not charts and not tables:
        return []
    return [Section("detail", "Detail per problem", detail_lead(view), charts, tables)]


def detail_lead(view: View) -> str:
    """Whose mistakes are shown, and why."""
    chosen = {problem: view.detail_arm(problem) for problem in view.problems}
    same = len(set(chosen.values())) == 1
    arms = next(iter(chosen.values())) if same else listed([f"{arm} on {problem}" for problem, arm in chosen.items()])
    why = (
        "as the suite asks"
        if view.suite.report.arm is not None
        else f"the best{' of its problem' if len(view.problems) > 1 else ''} by mean test {view.measure.words}"
    )
    return f"Shown of one arm: {arms}, {why}. The final runs are those of the main setting ({view.main_setting})."


def _cost(view: View) -> Section:
    charts = _charts(cost(view, problem) for problem in view.problems)
    lead = (
        ""
        if view.clocks_comparable
        else "Times are left blank: runs overlapped with others or were made in different environments (H008), so "
        "seconds cannot be compared."
    )
    tables = _tables([details.cost(view)])
    return Section("cost", "Cost", lead or ("" if charts or tables else "No times are recorded."), charts, tables)


def _robustness(view: View) -> Section:
    table = results.robustness(view)
    return Section(
        "robustness",
        "Robustness",
        "" if table.rows else "There is no verdict to check.",
        (),
        _tables([table, inclusion(view)]),
    )


def _failures(view: View) -> Section:
    failed, table = view.findings.counts["failed"], details.failures(view)
    lead = f"{count(failed, 'run')} failed." if failed else "None: no run failed."
    return Section("failures", "Failures", lead, (), _tables([table]))


def _provenance(view: View) -> Section:
    runs = view.table("runs", "run_id")["run_id"].nunique()
    lead = (
        f"{count(int(runs), 'run id')}, each a hash of all that determines the run. "
        f"Suite {view.suite.name}, seed {view.suite.seed}. To get the same results:"
    )
    tables = _tables([details.parts(view), details.environment(view)])
    return Section("provenance", "Provenance", lead, (), tables, code=view.findings.command)


def _methods(view: View) -> Section:
    return Section("methods", "Methods", methods.methods(view), links=tuple(methods.references(view)))
