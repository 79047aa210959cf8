"""The report's first line: one sentence in plain words that answers the suite's question."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.verdict.answer import Answer, Senseless, best_rate, reasons, rivals, winner, without_meaning
from harness.verdict.format import Measure, count, listed, percent
from harness.verdict.judgement import ERROR_RATE, SMALLEST_N, Context, Verdict
from harness.verdict.words import at_defaults, floor_of, sharing, units


def headline(
    verdicts: Sequence[Verdict], *, metric: Measure, context: Context, senseless: Senseless | None = None
) -> str:
    """One sentence over all primary verdicts: which arm won, by how much with its interval, or that nothing is decided.

    "Best" is said of an arm only where it is `better` than every other arm of the problem: see `winner`.

    Pairs with an arm that is `senseless` on the problem are told with the reason, and nothing is waited for.
    """
    senseless = senseless or {}
    primary = [verdict for verdict in verdicts if verdict.primary]
    if len(context.arms) == 1:
        return f"Nothing was compared: the suite has one arm, {context.arms[0]}."
    if not primary:
        return "Nothing was compared: the suite declares no primary arm besides the baseline."
    if all(verdict.verdict == "not_compared" for verdict in primary):
        possible = [verdict for verdict in primary if not without_meaning(verdict, senseless)]
        why = reasons(primary, senseless)
        if not possible:
            return f"No pair can be compared: {why}."
        return f"Nothing can be said yet: {'; '.join(filter(None, [_why_not(possible, context), why]))}."
    shared, short = _short_names([verdict.problem for verdict in primary])
    told = [dataclasses.replace(verdict, problem=short.get(verdict.problem, verdict.problem)) for verdict in verdicts]
    without = {(short.get(problem, problem), arm): why for (problem, arm), why in senseless.items()}
    opening, answer = _opening([one for one in told if one.primary], context, shared), Answer(told, metric, without)
    return f"{opening}, {answer.text()} ({_small_print(verdicts, metric, context)})."


def _short_names(problems: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What the names of all problems begin with, and the rest of each; nothing where they share no whole part.

    `mnist-cnn+labels_per_class-10` and `mnist-cnn+labels_per_class-all` share `mnist-cnn`.
    """
    parts = {problem: problem.partition("+") for problem in dict.fromkeys(problems)}
    heads = {head for head, _, _ in parts.values()}
    if len(parts) < 2 or len(heads) > 1 or not all(rest for _, _, rest in parts.values()):
        return "", {}
    return heads.pop(), {problem: rest for problem, (_, _, rest) in parts.items()}


# Around the answer ---------------------------------------------------------------------------------------------------


def _opening(primary: Sequence[Verdict], context: Context, shared: str) -> str:
    problems = list(dict.fromkeys(verdict.problem for verdict in primary))
    named = listed(problems) if len(problems) <= 3 else f"{len(problems)} problems"
    where = f"On {shared} with {named}" if shared and len(problems) <= 3 else f"On {named}"
    where += f" of {shared}" if shared and len(problems) > 3 else ""
    trials = count(context.trials, "trial")
    budget = {
        "method": f"tuned alike with {trials} each",
        "setting": f"tuned alike in one study of {trials} each",
        "given": f"with {at_defaults('given', context.noun)}",
        "defaults": f"with {at_defaults('defaults', context.noun)}",
    }
    return f"{where}, {budget[primary[0].claim]}"


def _small_print(verdicts: Sequence[Verdict], metric: Measure, context: Context) -> str:
    primary = [verdict for verdict in verdicts if verdict.primary]
    judged = [verdict for verdict in primary if verdict.lo is not None]
    ns = sorted({verdict.n for verdict in judged or primary})
    number, unit = units(primary[0], ns[-1]).split()
    paired = "paired" if all(verdict.paired for verdict in primary) else "unpaired"
    parts = [f"{number if len(ns) == 1 else f'{ns[0]} to {number}'} {paired} {unit}"]
    best, rate = _behind_best(verdicts), best_rate(verdicts)
    if any(verdict in rivals(verdicts) or verdict in best for verdict in verdicts):
        stricter = f", but 'best' at {percent(1 - rate)}" if best and rate < ERROR_RATE else ""
        parts.insert(0, f"the others {percent(1 - ERROR_RATE)}, exploratory{stricter}")
    if judged:
        interval = f"{percent(judged[0].level)} {'interval' if len(judged) == 1 else 'intervals'}"
        shared, baseline = sharing(judged[0]), judged[0].baseline
        parts.insert(0, f"{interval} with {baseline}, adjusted for {shared}" if shared else interval)
    parts += ["for one source checkpoint only"] if context.checkpoints == 1 else []
    failed = _failed([verdict for verdict in primary if verdict.delta is not None])
    if failed:
        counted = "counts" if failed == 1 else "count"
        parts.append(f"{count(failed, 'failed run')} {counted} as {floor_of(metric)}")
    return "; ".join(parts)


def _behind_best(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Exploratory verdicts on which the word "best" rests."""
    best = {(problem, winner(verdicts, problem=problem)) for problem in {verdict.problem for verdict in verdicts}}
    explored = [v for v in verdicts if not v.primary and v.setting != "untuned"]
    return [v for v in explored if {(v.problem, v.arm), (v.problem, v.baseline)} & best]


def _failed(primary: Sequence[Verdict]) -> int:
    """Failed runs of all arms, each counted once."""
    runs = {(verdict.problem, verdict.arm): verdict.failed_arm for verdict in primary}
    return sum((runs | {(verdict.problem, verdict.baseline): verdict.failed_baseline for verdict in primary}).values())


def _why_not(primary: Sequence[Verdict], context: Context) -> str:
    n, unit = max(verdict.n for verdict in primary), "checkpoint" if context.averaged else "replicate"
    baseline = primary[0].baseline
    what = f"{primary[0].arm} with {baseline}" if len(primary) == 1 else f"the arms with {baseline}"
    if n < SMALLEST_N:
        done = {0: f"no {unit} is", 1: f"only 1 {unit} is", 2: f"only 2 {unit}s are"}[n]
        return f"{done} done, and it takes at least {SMALLEST_N} to compare {what}"
    if _failed(primary):
        return f"runs failed, so no mean difference exists that would compare {what}"
    if all(verdict.delta == 0 for verdict in primary):
        arms = listed(list(dict.fromkeys(verdict.arm for verdict in primary)))
        same = f"{arms} did not differ from {baseline} in any of the {units(primary[0], n)}"
        return f"{same}, so there is no measure of chance to compare {what} by"
    return f"the differences do not vary between replicates, so there is no measure of chance to compare {what} by"
