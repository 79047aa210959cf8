"""What a reader of the results must be warned of, judged from the suite and its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from harness.outcomes import NOT_APPLICABLE, source_failed
from harness.verdict.compare import analyses_of
from harness.verdict.evidence import Evidence, Remark
from harness.verdict.format import Measure, count, listed
from harness.verdict.judgement import CLAIMED, SMALLEST_N, Verdict, averaged_over, checkpoints_of
from harness.verdict.lint_problems import inclusion_violated, same_training, separates_nothing, validation_beyond_budget
from harness.verdict.numbers import Floats, mean_of, means_by
from harness.verdict.robust import left_out
from harness.verdict.words import VERDICTS

if TYPE_CHECKING:
    from harness.suite import Suite

__all__ = ["RULES", "Remark", "lint"]

BUDGET = ("epochs", "steps", "train_examples")
WITHOUT_WEIGHTS = "without weights to start from"
SPELLED_OUT = 4
"""Up to so many arms and settings without weights are told one by one."""


def lint(
    suite: Suite,
    tables: Mapping[str, pd.DataFrame],
    finals: pd.DataFrame,
    verdicts: Sequence[Verdict],
    *,
    metric: Measure,
    plugin_hashes: Mapping[str, Collection[str]] | None = None,
) -> tuple[Remark, ...]:
    """All remarks on the results, by code: H001 to H005, H007 to H009, H011, H014, H015, H020, H022 to H024."""
    evidence = Evidence(suite, tables, finals, verdicts, metric, plugin_hashes or {})
    return tuple(remark for rule in RULES for remark in rule(evidence))


def few_replicates(evidence: Evidence) -> Iterator[Remark]:
    """H001: a primary comparison rests on fewer than 3 replicates."""
    few = [one for one in evidence.primary if one.n < SMALLEST_N and not evidence.senseless(one)]
    if few:
        n, unit, planned = min(verdict.n for verdict in few), "replicate", evidence.suite.compare.replicates
        if (shared := averaged_over(checkpoints_of(evidence.suite), replicates=planned)) is not None:
            unit, planned = "checkpoint", shared
        message = f"{count(len(few), 'comparison')} on {count(n, unit)}: no interval is possible below {SMALLEST_N}"
        key = "compare.replicates" if unit == "replicate" else "source.replicates"
        few_planned = f"set {key} to 5 and run again; finished runs are kept"
        yield Remark("H001", "W", message, few_planned if planned < SMALLEST_N else f"{planned} are planned: see H007")


def one_study(evidence: Evidence) -> Iterator[Remark]:
    """H002: the claim is about one tuned setting."""
    if evidence.suite.compare.claim == "setting" and evidence.suite.tuning.trials:
        message = (
            "one study per arm: read as a claim about the method, 36 % of such differences between equals are false"
        )
        yield Remark("H002", "N", message, 'set compare.claim to "method", which tunes anew in each replicate')


def unequal_budgets(evidence: Evidence) -> Iterator[Remark]:
    """H003 W: arms of a problem differ in budget, or studies in spent trials."""
    for name in BUDGET:
        for problem in evidence.suite.problems:
            values = {s.arm: s.values.get(name) for s in evidence.suite.settings if s.problem == problem}
            if len(set(values.values())) > 1:
                unequal = ", ".join(f"{arm} {value}" for arm, value in values.items())
                remedy = f"give all arms the same {name}, unless it is what they are compared by"
                yield Remark("H003", "W", f"unequal {name} on {problem}: {unequal}", remedy)
    studies = evidence.table("studies")
    if studies is not None:
        yield from _unequal(studies, "trials", "W", "trials spent", "let all studies finish: run the suite again")


def unequal_dimensions(evidence: Evidence) -> Iterator[Remark]:
    """H003 N: equal trials search spaces of unequal dimensions."""
    studies = evidence.table("studies")
    if studies is not None:
        remedy = "equal trials search a larger space less well: fix options, or raise tuning.trials for all"
        yield from _unequal(studies, "dimensions", "N", "numbers of tuned options", remedy)


def _unequal(studies: pd.DataFrame, column: str, level: Literal["W", "N"], what: str, remedy: str) -> Iterator[Remark]:
    known = studies[studies["trials"] > 0]  # of a strategy without meaning on the model none was made
    for problem, rows in known.groupby("problem"):
        numbers = rows.groupby("arm")[column].max()
        if numbers.nunique() > 1:
            unequal = ", ".join(f"{arm} {number}" for arm, number in numbers.items())
            yield Remark("H003", level, f"unequal {what} on {problem}: {unequal}", remedy)


def edge_of_space(evidence: Evidence) -> Iterator[Remark]:
    """H004: in more than half of an arm's studies the chosen value of an option lies on the edge of its space."""
    studies, parameters = evidence.table("studies"), evidence.table("trial_parameters")
    if studies is None or parameters is None:
        return
    chosen = studies.dropna(subset=["best_trial"])[["study_id", "best_trial", "problem", "arm"]]
    chosen = chosen.merge(parameters, left_on=["study_id", "best_trial"], right_on=["study_id", "trial"])
    for (problem, arm, name), rows in chosen.dropna(subset=["on_edge"]).groupby(["problem", "arm", "name"]):
        edges = rows[rows["on_edge"].astype(bool)]
        if 2 * len(edges) > len(rows):
            low, high = rows["low"].min(), rows["high"].max()
            message = f"{arm} on {problem}: the chosen {name} lies on the edge of {low:g} to {high:g} in "
            message += f"{len(edges)} of {count(len(rows), 'study').replace('studys', 'studies')}"
            yield Remark("H004", "W", message, f"widen tuning.space for {name} and run again")


def not_all_finished(evidence: Evidence) -> Iterator[Remark]:
    """H007: final or source runs failed or are missing. Failed trials are spent trials, and part of tuning.

    A strategy that has no meaning on the model did not fail.
    """
    finals = evidence.finals
    failed = finals[~finals["status"].isin(["ok", NOT_APPLICABLE])]
    why = [_how(*row) for row in zip(failed["status"], failed["reason"], strict=True)]
    failed = failed.assign(status=why)
    runs = evidence.table("runs")
    source = 0 if runs is None else int(((runs["phase"] == "source") & (runs["status"] != "ok")).sum())
    if len(failed) or source:
        listing = [*_by_arm(failed), *([count(source, "source run")] if source else [])]
        remedy = "see the failures in the report; they are counted, not dropped"
        if source:
            remedy += ", but for those without weights: mend what failed in [source], then --rerun failed"
        yield Remark("H007", "W", f"{count(len(failed) + source, 'run')} failed: {'; '.join(listing)}", remedy)
    settings = 2 if evidence.suite.tuning.trials and evidence.suite.compare.untuned else 1
    planned = len(evidence.suite.settings) * settings * evidence.suite.compare.replicates
    if len(finals) < planned:
        message = f"{planned - len(finals)} of {planned} final runs are missing"
        yield Remark("H007", "W", message, "run the suite again: it does what is missing")


def _by_arm(failed: pd.DataFrame) -> list[str]:
    """How often each arm failed and how; of many arms without weights to start from, how many runs together."""
    groups = failed.groupby(["problem", "arm", "setting", "status"])["replicate"].size()
    lost = failed["status"] == WITHOUT_WEIGHTS
    together = sum(why == WITHOUT_WEIGHTS for *_, why in groups.index) > SPELLED_OUT
    said = [
        f"{arm} on {problem} ({setting}): {n} {why}"
        for (problem, arm, setting, why), n in groups.items()
        if not (together and why == WITHOUT_WEIGHTS)
    ]
    return [*said, *([f"{int(lost.sum())} {WITHOUT_WEIGHTS}"] if together else [])]


def _how(status: str, reason: object) -> str:
    return WITHOUT_WEIGHTS if source_failed(status, reason) else status


def disturbed_clocks(evidence: Evidence) -> Iterator[Remark]:
    """H008: runs overlapped beyond the cores of the machine, or were made in different environments."""
    timings = evidence.table("timings")
    if timings is None:
        return
    remedy = 'for times, run on one machine with executor = "serial"'
    overlapping = int(timings["overlapped"].fillna(False).astype(bool).sum())
    environments = sorted(set(timings["environment"]) - {""})
    if overlapping:
        message = f"{overlapping} of {len(timings)} runs overlapped with others: times are not comparable"
        yield Remark("H008", "W", message, remedy)
    if len(environments) > 1:
        message = f"runs were made in {len(environments)} environments ({'; '.join(environments)}): "
        message += "numbers may differ between them, and times are not comparable"
        yield Remark("H008", "W", message, "run the suite again in one environment, into an empty results folder")


def mixed_plugins(evidence: Evidence) -> Iterator[Remark]:
    """H009: one part was run with several versions of its source."""
    for part, hashes in sorted(evidence.plugin_hashes.items()):
        if len(set(hashes)) > 1:
            message = (
                f"{part} was run with {len(set(hashes))} versions of its source ({', '.join(sorted(set(hashes)))})"
            )
            yield Remark("H009", "W", message, "run the suite again with one version, into an empty results folder")


def still_rising(evidence: Evidence) -> Iterator[Remark]:
    """H011: an arm's validation value still improves at the last epoch, or the last evaluation of a budget in steps.

    For each judged final run that finished: validation value at its last evaluation minus that at the one before,
    positive for better. The remark fires where the 95 % t-interval of the mean of these steps lies above 0; steps of
    replicates that share one of several source checkpoints are averaged first.
    """
    rising: dict[str, list[str]] = {}
    for (problem, arm), steps in _last_steps(evidence).items():
        if len(steps) >= SMALLEST_N and mean_of(steps).interval()[0] > 0:
            rising.setdefault(problem, []).append(arm)
    for problem, arms in rising.items():
        values = [setting.values for setting in evidence.suite.settings if setting.problem == problem]
        counted = any(one.get("steps") is not None for one in values)
        last, more = ("evaluation", "steps") if counted else ("epoch", "epochs")
        message = f"{listed(arms)} on {problem}: validation {evidence.metric.words} still improves at the last {last}"
        yield Remark("H011", "N", message, f"the answer holds for this budget only; compare with more {more}")


def _last_steps(evidence: Evidence) -> dict[tuple[str, str], Floats]:
    """By problem and arm, one of n each: a replicate's, or the mean of a checkpoint's replicates."""
    runs, evaluations = evidence.table("runs"), evidence.table("evaluations")
    if runs is None or evaluations is None:
        return {}
    judged = runs[(runs["phase"] == "final") & (runs["setting"] == evidence.setting) & (runs["status"] == "ok")]
    curve = evaluations[(evaluations["split"] == "validation") & (evaluations["metric"] == evidence.metric.name)]
    curve = curve.merge(judged[["run_id", "problem", "arm", "replicate"]], on="run_id").sort_values("epoch")
    suite = evidence.suite
    shared = averaged_over(checkpoints_of(suite), replicates=suite.compare.replicates)
    steps: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for (problem, arm, replicate, _), rows in curve.groupby(["problem", "arm", "replicate", "run_id"]):
        if len(rows) >= 2:
            before, last = rows["value"].to_numpy(dtype=np.float64)[-2:]
            unit = int(replicate) if shared is None else int(replicate) % shared
            steps.setdefault((problem, arm), []).append((unit, float(evidence.metric.sign * (last - before))))
    return {key: means_by(np.array([step for _, step in of]), [unit for unit, _ in of]) for key, of in steps.items()}


def unpaired(evidence: Evidence) -> Iterator[Remark]:
    """H014: arms of a primary comparison share no split."""
    names = [f"{verdict.arm} with {verdict.baseline}" for verdict in evidence.primary if not verdict.paired]
    if names:
        message = f"unpaired: {listed(list(dict.fromkeys(names)))} share no split, so the comparison is weaker"
        yield Remark("H014", "W", message, "run the arms in one suite with one seed and one data set")


def rests_on_one(evidence: Evidence) -> Iterator[Remark]:
    """H015: a primary claim turns into another word when one replicate is left out (judged from n = 4).

    So does an undecided comparison that is so for a single replicate, without which an arm would be the better one by
    more than the margin.
    """
    suite = evidence.suite
    for verdict in evidence.primary:
        analyses = analyses_of(
            evidence.finals,
            verdict,
            suite_compare=suite.compare,
            metric=evidence.metric,
            seed=suite.seed,
            checkpoints=checkpoints_of(suite),
        )
        left = [analysis for analysis in left_out(analyses) if not analysis.agrees]
        if not left:
            continue
        unit = left[0].name.split()[1]
        turned = {analysis.name.removeprefix(f"without {unit} "): analysis.verdict for analysis in left}
        pair, names = f"{verdict.arm} against {verdict.baseline} on {verdict.problem}", listed(list(turned), "or")
        again = "add replicates in a new suite before relying on it"
        if verdict.verdict in CLAIMED:
            words = listed([f"'{VERDICTS[word]}'" for word in dict.fromkeys(turned.values())], "or")
            one = "it rests on one run, without which" if len(turned) == 1 else f"without one of these {unit}s"
            why = f"{one} it would be {words}"
            yield Remark("H015", "N", f"{pair}: the verdict turns without {unit} {names}", f"{why}: {again}")
        elif verdict.verdict == "undecided" and list(turned.values()) in (["better"], ["worse"]):
            message = f"{pair}: undecided for {unit} {names} alone, without which it would be {turned[names]}"
            yield Remark("H015", "N", message, f"look at what went wrong in that run; {again}")


def folds_overlap(evidence: Evidence) -> Iterator[Remark]:
    """H020: replicates are folds."""
    if (folds := evidence.suite.compare.folds) is not None:
        message = f"the {folds} replicates are folds of one cross-validation, whose training sets overlap"
        remedy = "intervals are corrected for it; independent replicates on a test set of its own rest on less"
        yield Remark("H020", "N", message, remedy)


RULES: tuple[Callable[[Evidence], Iterator[Remark]], ...] = (
    few_replicates,
    one_study,
    unequal_budgets,
    unequal_dimensions,
    edge_of_space,
    inclusion_violated,
    not_all_finished,
    disturbed_clocks,
    mixed_plugins,
    still_rising,
    unpaired,
    rests_on_one,
    folds_overlap,
    separates_nothing,
    validation_beyond_budget,
    same_training,
)
