"""One study: ask Optuna, run, tell, choose. The only file that knows Optuna.

Studies live in memory and are replayed from records, so that a resumed suite asks what an uninterrupted one asked: each
trial has a fresh sampler seeded from (study, trial number), and trials are told in their order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from harness.hookspecs import Choice, Domain, Int, domain_to_plain
from harness.plan import Label, Plan, Request
from harness.spec import digest, seed

optuna.logging.set_verbosity(optuna.logging.WARNING)

Result = Mapping[str, Any]
Batch = Generator[list[Request], list[Result], "Study"]


@dataclass(frozen=True)
class Trial:
    """One setting that a study tried."""

    number: int
    batch: int
    hyperparameters: Mapping[str, Any]
    """Dotted option -> value."""
    value: float | None
    """Mean validation value over the repeats; None when a run of it failed."""
    told: float | None
    """What Optuna was told: of a failed trial the metric's floor, or the worst value seen; None when it was neither."""
    run_ids: tuple[str, ...]
    reason: str | None = None


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


def study_key(plan: Plan, label: Label) -> str:
    """Names a study: a changed space is a new study."""
    setting = plan.settings[label.problem, label.arm]
    return digest([plan.suite.seed, label.problem, label.arm, label.replicate, space_hash(setting.space)])


def space_hash(space: Mapping[str, Domain]) -> str:
    """SHA-256 of the search space."""
    return digest({name: domain_to_plain(domain) for name, domain in space.items()})


def tune(plan: Plan, label: Label) -> Batch:
    """A coroutine: yields the runs that it wants next, is sent their results, returns the study.

    `label` names the problem, arm and replicate.
    """
    tuning = plan.suite.tuning
    space = plan.settings[label.problem, label.arm].space
    key = study_key(plan, label)
    study = optuna.create_study(direction=plan.suite.metric.extra["direction"], study_name=key)
    distributions = {name: _distribution(domain) for name, domain in space.items()}
    trials: list[Trial] = []
    while len(trials) < tuning.trials:
        numbers = range(len(trials), min(len(trials) + tuning.batch, tuning.trials))
        asked = [_ask(study, plan, key, number, distributions) for number in numbers]
        requests = [
            plan.request(_trial_label(label, number, repeat), trial.params)
            for number, trial in zip(numbers, asked, strict=True)
            for repeat in range(tuning.repeats)
        ]
        results = yield requests
        for place, (number, trial) in enumerate(zip(numbers, asked, strict=True)):
            mine = slice(place * tuning.repeats, (place + 1) * tuning.repeats)
            made = _judge(plan, label, number, trial.params, requests[mine], results[mine], trials)
            trials.append(made)
            _tell(study, trial, made.told)
    return Study(key, label.problem, label.arm, label.replicate, space, tuple(trials), _best(plan, trials))


def _trial_label(label: Label, number: int, repeat: int) -> Label:
    return Label(label.problem, label.arm, label.replicate, "tune", "tuned", number, repeat)


def _ask(study: optuna.Study, plan: Plan, key: str, number: int, distributions: dict[str, Any]) -> optuna.trial.Trial:
    with warnings.catch_warnings():
        # `multivariate` and `constant_liar` are marked experimental; both are set on purpose.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = _sampler(plan, key, number)
        return study.ask(distributions)


def _sampler(plan: Plan, key: str, number: int) -> optuna.samplers.BaseSampler:
    tuning = plan.suite.tuning
    start = seed(key, number, bits=32)
    if tuning.sampler == "random":
        return optuna.samplers.RandomSampler(seed=start)
    if tuning.sampler == "qmc":
        # A quasi-random sequence is one sequence: its seed belongs to the study, not to the trial.
        return optuna.samplers.QMCSampler(scramble=True, seed=seed(key, bits=32), warn_independent_sampling=False)
    startup = max(5, tuning.trials // 5)
    if tuning.sampler == "gp":
        return optuna.samplers.GPSampler(seed=start, n_startup_trials=startup, deterministic_objective=False)
    return optuna.samplers.TPESampler(
        seed=start, n_startup_trials=startup, multivariate=True, constant_liar=tuning.batch > 1
    )


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(domain, Choice):
        return optuna.distributions.CategoricalDistribution(domain.options)
    if isinstance(domain, Int):
        return optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)


def _judge(
    plan: Plan,
    label: Label,
    number: int,
    hyperparameters: Mapping[str, Any],
    requests: Sequence[Request],
    results: Sequence[Result],
    earlier: Sequence[Trial],
) -> Trial:
    """The trial with its value, and with what a failed one counts as, so that the sampler learns from it."""
    failed = [result for result in results if result["status"] != "ok"]
    ids = tuple(request.spec.id for request in requests)
    batch = number // plan.suite.tuning.batch
    if failed:
        reason = f"{failed[0]['status']}: {failed[0]['reason']}"
        return Trial(number, batch, hyperparameters, None, _failure_value(plan, label.problem, earlier), ids, reason)
    scores = [validation_value(plan, result) for result in results]
    value = math.fsum(scores) / len(scores)
    return Trial(number, batch, hyperparameters, value, value, ids)


def validation_value(plan: Plan, result: Result) -> float:
    """The compared metric on validation, at the best or the last evaluation as `[compare] epoch` says."""
    name, direction = plan.suite.metric.name, plan.suite.metric.extra["direction"]
    values = [row[5] for row in result["evaluations"] if row[3] == "validation" and row[4] == name]
    if plan.suite.compare.epoch == "last":
        return float(values[-1])
    return float(max(values) if direction == "maximize" else min(values))


def floor(plan: Plan, problem: str) -> float | None:
    """What a failed run counts as in the compared metric: a number, `chance`, or nothing."""
    declared = plan.suite.metric.extra["floor"]
    classes = plan.facts[problem].classes
    if declared == "chance":
        return None if classes is None else 1 / classes
    return None if declared is None else float(declared)


def _failure_value(plan: Plan, problem: str, earlier: Sequence[Trial]) -> float | None:
    if (declared := floor(plan, problem)) is not None:
        return declared
    values = [trial.value for trial in earlier if trial.value is not None]
    if not values:
        return None
    return min(values) if plan.suite.metric.extra["direction"] == "maximize" else max(values)


def _tell(study: optuna.Study, trial: optuna.trial.Trial, told: float | None) -> None:
    if told is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, told)


def _best(plan: Plan, trials: Sequence[Trial]) -> Trial | None:
    complete = [trial for trial in trials if trial.value is not None]
    if not complete:
        return None
    sign = 1.0 if plan.suite.metric.extra["direction"] == "maximize" else -1.0
    return max(complete, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))


def rebuild(
    name: str,
    direction: str,
    space: Mapping[str, Domain],
    chosen: Mapping[int, Mapping[str, Any]],
    told: Mapping[int, float | None],
) -> optuna.Study:
    """An Optuna study in memory with the given trials: hyperparameters and told values by trial number."""
    study = optuna.create_study(direction=direction, study_name=name)  # type: ignore[arg-type]
    distributions = {option: _distribution(domain) for option, domain in space.items()}
    for number in sorted(chosen):
        state = optuna.trial.TrialState.FAIL if told[number] is None else optuna.trial.TrialState.COMPLETE
        values = {option: _typed(space[option], value) for option, value in chosen[number].items()}
        study.add_trial(
            optuna.trial.create_trial(state=state, params=values, distributions=distributions, value=told[number])
        )
    return study


def _typed(domain: Domain, value: Any) -> Any:
    return int(value) if isinstance(domain, Int) else value
