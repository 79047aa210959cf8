"""One study as a coroutine: ask, run, judge, tell, choose.

Studies are replayed from records, so that a resumed suite asks what an uninterrupted one asked; `asking` knows how.
What stops a run early was decided from earlier batches before it began; `pruning` knows how.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import outcomes, pruning
from harness.hookspecs import Domain, domain_to_plain
from harness.plan import Label, Plan, Request
from harness.spec import digest
from harness.tune.asking import Asker, Method, Setting, Told
from harness.tune.memo import Memo

Result = Mapping[str, Any]
Batch = Generator[list[Request], list[Result], "Study"]
"""Yields the runs that it wants next, is sent their results, returns the study."""


@dataclass(frozen=True)
class Trial:
    """One setting that a study tried."""

    number: int
    batch: int
    hyperparameters: Mapping[str, Any]
    """Dotted option -> value."""
    value: float | None
    """Mean validation value over the repeats; None when it was pruned or a run of it failed."""
    told: float | None
    """What Optuna was told: of a failed trial the metric's floor, or the worst value seen, None when it was neither; of
    a pruned one the last value that it reported."""
    run_ids: tuple[str, ...]
    reason: str | None = None
    pruned: bool = False
    pruned_epoch: float | None = None
    """Where the first of its runs was stopped; None when it was stopped between repeats."""
    curves: tuple[tuple[float, ...], ...] = ()
    """With a pruner that looks at them: the metric on validation at each evaluation, for each repeat."""
    reported: tuple[float, ...] = ()
    """With a pruner: the intermediate values that Optuna was told."""

    @property
    def state(self) -> str:
        """`complete`, `pruned` or `failed`."""
        return "pruned" if self.pruned else "failed" if self.value is None else "complete"


@dataclass(frozen=True)
class Study:
    """A finished study: every trial, and the chosen one."""

    id: str
    problem: str
    arm: str
    replicate: int
    space: Mapping[str, Domain]
    trials: tuple[Trial, ...]
    best: Trial | None
    """The best complete trial, ties to the lowest number; None when no trial completed."""
    not_applicable: str | None = None
    """Why the arm's strategy has no meaning on the model; its first trials said so, and no other was made."""

    @property
    def without_weights(self) -> str | None:
        """Why no run of it could start, where the run that should have trained its weights failed; else None."""
        reasons = [(trial.reason or "").partition(": ") for trial in self.trials]
        if not all(outcomes.source_failed(status, reason) for status, _, reason in reasons):
            return None
        return next((reason for _, _, reason in reasons), None)


def study_key(plan: Plan, label: Label) -> str:
    """Names a study: a changed space is a new study."""
    setting = plan.settings[label.problem, label.arm]
    return digest([plan.suite.seed, label.problem, label.arm, label.replicate, space_hash(setting.space)])


def space_hash(space: Mapping[str, Domain]) -> str:
    """SHA-256 of the search space."""
    return digest({name: domain_to_plain(domain) for name, domain in space.items()})


def method(plan: Plan, label: Label) -> Method:
    """How the study at that place is asked."""
    tuning, setting = plan.suite.tuning, plan.settings[label.problem, label.arm]
    return Method(
        key=study_key(plan, label),
        direction=plan.suite.metric.extra["direction"],
        space=setting.space,
        sampler=tuning.sampler,
        pruner=tuning.pruner,
        trials=tuning.trials,
        batch=tuning.batch,
        evaluations=pruning.evaluations(setting.values),
    )


def tune(plan: Plan, label: Label, memo: Memo | None = None) -> Batch:
    """The coroutine of the study whose problem, arm and replicate `label` names."""
    memo, asked = memo or Memo(), method(plan, label)
    asker, tuning = Asker(asked, memo), plan.suite.tuning
    in_turn = tuning.pruner == "wilcoxon"
    trials: list[Trial] = []
    while len(trials) < tuning.trials:
        settings = asker.ask(min(tuning.batch, tuning.trials - len(trials)))
        tries = [_Try(len(trials) + place, setting) for place, setting in enumerate(settings)]
        yield from _in_turn(plan, label, asker, tries) if in_turn else _at_once(plan, label, tries, trials)
        # Behind trials that trained something, one that has nothing to train failed as any other may.
        if not trials and (why := _not_applicable(tries)) is not None:
            return Study(asked.key, label.problem, label.arm, label.replicate, asked.space, (), None, why)
        for one in tries:
            trials.append(_judge(plan, label, one, trials))
        told = trials[tries[0].number :]
        asker.tell([Told(t.hyperparameters, None if t.pruned else t.told, t.reported, t.pruned) for t in told])
    memo.save()
    return Study(asked.key, label.problem, label.arm, label.replicate, asked.space, tuple(trials), _best(plan, trials))


@dataclass
class _Try:
    """A trial while it is under way."""

    number: int
    setting: Setting
    requests: list[Request] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    stopped: bool = False
    """Whether its remaining repeats were found hopeless."""

    def failure(self) -> str | None:
        """Status and reason of the first run that failed."""
        bad = (result for result in self.results if result["status"] not in ("ok", "pruned"))
        return next((f"{result['status']}: {result['reason']}" for result in bad), None)


def _not_applicable(tries: Sequence[_Try]) -> str | None:
    """Why none of the runs had anything to train; no hyperparameter changes that."""
    results = [result for one in tries for result in one.results]
    if any(result["status"] != "not_applicable" for result in results):
        return None
    return next((str(result["reason"]) for result in results), None)


_Rounds = Generator[list[Request], list[Result], None]


def _at_once(plan: Plan, label: Label, tries: Sequence[_Try], earlier: Sequence[Trial]) -> _Rounds:
    """All repeats of all trials, each run with the thresholds that earlier batches gave it."""
    for one in tries:
        for repeat in range(plan.suite.tuning.repeats):
            prune = _prune(plan, label, one.number, repeat, earlier)
            one.requests.append(plan.request(_place(label, one.number, repeat), one.setting, prune=prune))
    results = yield [request for one in tries for request in one.requests]
    for place, one in enumerate(tries):
        one.results += results[place * len(one.requests) : (place + 1) * len(one.requests)]


def _in_turn(plan: Plan, label: Label, asker: Asker, tries: Sequence[_Try]) -> _Rounds:
    """One repeat of each trial after another, without the trials that Optuna has found hopeless by then."""
    repeats = plan.suite.tuning.repeats
    for repeat in range(repeats):
        alive = [one for one in tries if not one.stopped]
        requests = [plan.request(_place(label, one.number, repeat), one.setting) for one in alive]
        results = (yield requests) if requests else []
        for one, request, result in zip(alive, requests, results, strict=True):
            one.requests.append(request)
            one.results.append(result)
        judged = [one for one in alive if one.failure() is None]
        if judged and pruning.WILCOXON_PAIRS <= repeat + 1 < repeats:
            found = asker.hopeless([[validation_value(plan, label, r) for r in one.results] for one in judged])
            for one, stopped in zip(judged, found, strict=True):
                one.stopped = stopped


def _place(label: Label, number: int, repeat: int) -> Label:
    return Label(label.problem, label.arm, label.replicate, "tune", "tuned", number, repeat)


def _prune(plan: Plan, label: Label, number: int, repeat: int, earlier: Sequence[Trial]) -> dict[str, Any] | None:
    """What stops that repeat of the trial early: a repeat is judged against the same one of earlier batches."""
    if plan.suite.tuning.pruner not in pruning.BY_CURVE:
        return None
    past = [pruning.Past(t.number, t.state == "complete", t.curves[repeat]) for t in earlier if t.curves]
    metric = plan.suite.metric
    return pruning.payload(
        plan.suite.tuning.pruner,
        past,
        metric=metric.name,
        direction=metric.extra["direction"],
        times=pruning.evaluations(plan.settings[label.problem, label.arm].values),
        study=study_key(plan, label),
        number=number,
    )


def _judge(plan: Plan, label: Label, one: _Try, earlier: Sequence[Trial]) -> Trial:
    """The trial with its value, and with what a failed one counts as, so that the sampler learns from it."""
    tuning, ids = plan.suite.tuning, tuple(request.spec.id for request in one.requests)
    batch = one.number // tuning.batch
    if (reason := one.failure()) is not None:
        told = _failure_value(plan, label.problem, earlier)
        return Trial(one.number, batch, one.setting, None, told, ids, reason)
    curves = tuple(curve(plan, result) for result in one.results) if tuning.pruner in pruning.BY_CURVE else ()
    reported = tuple(math.fsum(values) / len(values) for values in zip(*curves, strict=False))
    if tuning.pruner == "wilcoxon":
        reported = tuple(validation_value(plan, label, result) for result in one.results)
    cut = [result for result in one.results if result["status"] == "pruned"]
    if cut or one.stopped:
        reason = cut[0]["reason"] if cut else f"wilcoxon: hopeless after {len(ids)} of {tuning.repeats} repeats"
        epoch = min((float(result["epochs"]) for result in cut), default=None)
        return Trial(
            one.number, batch, one.setting, None, reported[-1], ids, reason, True, epoch, curves, reported
        )  # fmt: skip
    scores = [validation_value(plan, label, result) for result in one.results]
    value = math.fsum(scores) / len(scores)
    return Trial(one.number, batch, one.setting, value, value, ids, curves=curves, reported=reported)


def curve(plan: Plan, result: Result) -> tuple[float, ...]:
    """The compared metric on validation at each evaluation."""
    name = plan.suite.metric.name
    return tuple(float(row[5]) for row in result["evaluations"] if row[3] == "validation" and row[4] == name)


def validation_value(plan: Plan, label: Label, result: Result) -> float:
    """The compared metric on validation, at the best or the last evaluation as `[compare] epoch` says.

    With early stopping it is that at the epoch which early stopping chose by its own metric.
    """
    values, rule = curve(plan, result), plan.epoch_rule(label.problem, label.arm)
    if rule == "last":
        return values[-1]
    if rule == "early_stopping":
        epochs = dict.fromkeys(row[0] for row in result["evaluations"] if row[3] == "validation")
        return values[list(epochs).index(result["selected_epoch"])]
    return max(values) if plan.suite.metric.extra["direction"] == "maximize" else min(values)


def _failure_value(plan: Plan, problem: str, earlier: Sequence[Trial]) -> float | None:
    if (declared := plan.floor(problem, plan.suite.metric)) is not None:
        return declared
    values = [trial.value for trial in earlier if trial.value is not None]
    if not values:
        return None
    return min(values) if plan.suite.metric.extra["direction"] == "maximize" else max(values)


def _best(plan: Plan, trials: Sequence[Trial]) -> Trial | None:
    complete = [trial for trial in trials if trial.value is not None]
    if not complete:
        return None
    sign = 1.0 if plan.suite.metric.extra["direction"] == "maximize" else -1.0
    return max(complete, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))
