"""Everything that statistics say of a suite, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from harness.suite.checks import unmatched
from harness.verdict.claims import claims_in_words, judge_claims
from harness.verdict.compare import compare, not_applicable
from harness.verdict.format import Measure, count
from harness.verdict.headline import headline
from harness.verdict.judgement import Verdict, averaged_over, checkpoints_of, context_of, shared_streams
from harness.verdict.lint import Remark, lint
from harness.verdict.summary import summarise
from harness.verdict.words import without_controls

if TYPE_CHECKING:
    from harness.suite import Suite


@dataclass(frozen=True)
class Judgement:
    """The answer in one sentence, every verdict behind it, the summary of all metrics, and what to be wary of."""

    headline: str
    verdicts: tuple[Verdict, ...]
    summary: pd.DataFrame
    remarks: tuple[Remark, ...]


def judge(
    suite: Suite,
    tables: Mapping[str, pd.DataFrame],
    scores: pd.DataFrame,
    *,
    plugin_hashes: Mapping[str, Collection[str]] | None = None,
) -> Judgement:
    """Compare, sum up and lint.

    Args:
        suite: what was asked.
        tables: the tables that follow from records: metrics, studies, trials, evaluations, timings, ...
        scores: final runs by metric, as `tables.finals` gives them.
        plugin_hashes: source hashes that the records hold, by part; several are a mixture.
    """
    chosen = suite.compare
    measures = _measures(tables)
    measure = measures[chosen.metric]
    finals = scores[scores["metric"] == chosen.metric].reset_index(drop=True)
    context = context_of(suite)
    verdicts = compare(
        finals,
        suite_compare=chosen,
        metric=measure,
        seed=suite.seed,
        context=context,
        paired_on=partial(_paired_on, suite),
    )
    claims = judge_claims(suite, tables, scores, measures)
    compared = ""
    if len(suite.arms) > 1 or not claims:
        senseless = not_applicable(finals, context.setting)
        compared = headline(verdicts, metric=measure, context=context, senseless=senseless)
    words = [compared, claims_in_words(claims), _lost_sources(tables)]
    words += [unmatched(context.stepless), without_controls(context.lacks)]
    return Judgement(
        headline=" ".join(filter(None, words)),
        verdicts=(*verdicts, *claims),
        summary=_summary(suite, scores),
        remarks=lint(suite, tables, finals, verdicts, metric=measure, plugin_hashes=plugin_hashes),
    )


def pair(
    suite: Suite, tables: Mapping[str, pd.DataFrame], finals: pd.DataFrame, *, arm: str, baseline: str
) -> tuple[Verdict, ...]:
    """An arm against another on every problem, exploratory at 95 %, whether or not the suite declares the comparison.

    Args:
        suite: what was asked.
        tables: the tables that follow from records, of which `metrics` is read.
        finals: the final runs in the compared metric.
        arm: the arm whose advantage is positive.
        baseline: the other one.
    """
    context = dataclasses.replace(context_of(suite), arms=(baseline, arm))
    verdicts = compare(
        finals,
        suite_compare=dataclasses.replace(suite.compare, baseline=baseline, primary=()),
        metric=_measures(tables)[suite.compare.metric],
        seed=suite.seed,
        context=context,
        paired_on=partial(_paired_on, suite),
    )
    return tuple(verdict for verdict in verdicts if verdict.setting == context.setting)


def _measures(tables: Mapping[str, pd.DataFrame]) -> dict[str, Measure]:
    """Every metric of the suite by name."""
    rows = tables["metrics"].to_dict("records")
    return {str(row["metric"]): Measure.from_row(row) for row in rows}


def _lost_sources(tables: Mapping[str, pd.DataFrame]) -> str:
    """How many of the runs that others start from failed; empty where none did."""
    runs = tables["runs"]
    sources = runs[runs["phase"] == "source"]
    failed = int((sources["status"] != "ok").sum())
    many = count(len(sources), "source run")
    return f"{failed} of {many} failed: what starts from them is left out." if failed else ""


def _summary(suite: Suite, scores: pd.DataFrame) -> pd.DataFrame:
    """The table `summary`, with the rule of the arms that choose their epoch by early stopping."""
    chosen = suite.compare
    summary = summarise(
        scores,
        epoch_rule=chosen.epoch,
        claim=chosen.claim,
        folds=chosen.folds,
        checkpoints=averaged_over(checkpoints_of(suite), replicates=chosen.replicates),
    )
    for setting in suite.settings:
        if "early_stopping" in setting.values:
            mine = (summary["problem"] == setting.problem) & (summary["arm"] == setting.arm)
            summary.loc[mine, "epoch_rule"] = "early_stopping"
    return summary


def _paired_on(suite: Suite, problem: str, arm: str, baseline: str) -> str:
    return shared_streams(suite, problem=problem, arm=arm, baseline=baseline)
