"""One study, driven by hand: what it asks, what Optuna is told, what is chosen, and that a replay asks the same."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import optuna
import pytest

from harness import tune
from harness.hookspecs import Choice, Float, Int
from harness.plan import Label
from harness.tune.asking import Told, rebuild
from tests.small import FACTS, a_plan, failed, ok, share

SPACE = {
    "optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True},
    "batch_size": [8, 16, 32],
    "model.width": {"low": 2, "high": 20},
}
LABEL = Label("clouds-line", "sgd", 0, "tune", "tuned")


def planned(folder, *, facts=FACTS, **changes):
    """A plan with the small suite's tuning changed: `trials=5`, `sampler="gp"`, ..., or dotted keys."""
    dotted = {name if "." in name else f"tuning.{name}": value for name, value in changes.items()}
    return a_plan(folder, {"tuning.space": SPACE, **dotted}, facts=facts)


def bowl(payload):
    """Validation accuracy that is best at lr = 0.03, width 9, batch 16: a quiet objective with a place to find."""
    problem = payload["problem"]
    away = abs(math.log10(problem["optimizer"]["lr"] / 0.03)) / 3 + abs(problem["model"]["width"] - 9) / 20
    value = 1 - (away + (problem["batch_size"] != 16) * 0.2) / 2
    return ok(payload, lambda split, epoch: value)


def drive(plan, answer=bowl, *, label=LABEL):
    """Run the coroutine to its end; the study and the batches of requests that it yielded."""
    coroutine, batches = tune.tune(plan, label), []
    try:
        batches.append(next(coroutine))
        while True:
            batches.append(coroutine.send([answer(request.spec.payload) for request in batches[-1]]))
    except StopIteration as stop:
        return stop.value, batches


def valued(*values):
    """An answer that gives these validation values in turn; None fails."""
    left = iter(values)

    def answer(payload):
        value = next(left)
        return failed() if value is None else ok(payload, lambda split, epoch: value)

    return answer


# Asking --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "gp"])
def test_a_resumed_study_asks_what_an_uninterrupted_one_asks(tmp_path, sampler):
    plan = planned(tmp_path, trials=12, sampler=sampler)
    whole, requests = drive(plan)
    for stop in (1, 7):
        coroutine = tune.tune(plan, LABEL)
        asked = [next(coroutine)]
        for _ in range(stop):
            asked.append(coroutine.send([bowl(request.spec.payload) for request in asked[-1]]))
        coroutine.close()
        assert [[r.spec.id for r in batch] for batch in asked] == [
            [r.spec.id for r in batch] for batch in requests[: stop + 1]
        ]

    def disturbing(payload):
        random.seed(0)
        np.random.seed(0)
        return bowl(payload)

    assert drive(plan, disturbing)[0] == whole
    assert len({str(trial.hyperparameters) for trial in whole.trials}) == 12


@pytest.mark.parametrize("sampler", ["random", "qmc", "gp", "tpe"])
def test_more_trials_begin_with_the_same_ones(tmp_path, sampler):
    few, _ = drive(planned(tmp_path, trials=6, sampler=sampler))
    many, _ = drive(planned(tmp_path, trials=9, sampler=sampler))
    assert many.trials[:6] == few.trials


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "gp"])
def test_what_is_asked_lies_in_the_space_and_has_its_types(tmp_path, sampler):
    study, batches = drive(planned(tmp_path, trials=8, sampler=sampler))
    assert study.space == {
        "optimizer.lr": Float(1e-3, 1.0, log=True),
        "batch_size": Choice(8, 16, 32),
        "model.width": Int(2, 20),
    }
    for trial in study.trials:
        assert set(trial.hyperparameters) == set(study.space)
        assert all(value in study.space[name] for name, value in trial.hyperparameters.items())
    assert len({trial.hyperparameters["batch_size"] for trial in study.trials}) > 1
    problem = batches[0][0].spec.payload["problem"]
    chosen = study.trials[0].hyperparameters
    assert problem["optimizer"] == {"use": "sgd", "lr": chosen["optimizer.lr"], "nesterov": False}
    assert (problem["batch_size"], problem["model"]["width"]) == (chosen["batch_size"], chosen["model.width"])


def test_a_log_scale_spreads_values_over_the_decades(tmp_path):
    study, _ = drive(planned(tmp_path, trials=60, sampler="random"))
    below = sum(trial.hyperparameters["optimizer.lr"] < 10**-1.5 for trial in study.trials)
    assert 20 <= below <= 40  # half of the logarithm; on a linear scale 2 of 60


def test_the_first_trials_are_drawn_at_random_before_tpe_models_them(tmp_path, monkeypatch):
    seen = []
    real = optuna.samplers.TPESampler

    def watched(**given):
        seen.append(given.get("n_startup_trials"))
        return real(**given)

    monkeypatch.setattr(optuna.samplers, "TPESampler", watched)
    for trials in (2, 25, 40):
        drive(planned(tmp_path, trials=trials), valued(*[0.5] * trials))
    asked = [number for number in seen if number is not None]  # a study makes one of its own, which is never asked
    assert asked == [5] * 2 + [5] * 25 + [8] * 40


def test_tpe_learns_and_random_does_not(tmp_path):
    tpe, _ = drive(planned(tmp_path, trials=30))
    drawn, _ = drive(planned(tmp_path, trials=30, sampler="random"))
    late = [statistics.mean(trial.value for trial in study.trials[15:]) for study in (tpe, drawn)]
    assert late[0] > late[1] + 0.05
    assert tpe.best.value > 0.9


def test_batches_are_as_wide_as_declared_and_the_last_takes_the_rest(tmp_path):
    study, batches = drive(planned(tmp_path, trials=7, batch=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [trial.batch for trial in study.trials] == [0, 0, 0, 1, 1, 1, 2]
    assert [request.label.trial for batch in batches for request in batch] == list(range(7))


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "gp"])
def test_the_trials_of_one_batch_differ(tmp_path, sampler):
    study, _ = drive(planned(tmp_path, trials=8, batch=4, sampler=sampler))
    assert len({trial.hyperparameters["optimizer.lr"] for trial in study.trials}) == 8


def test_each_repeat_is_a_run_of_its_own_and_trials_share_their_seeds(tmp_path):
    _, batches = drive(planned(tmp_path, trials=2, repeats=3))
    assert [[request.label.repeat for request in batch] for batch in batches] == [[0, 1, 2]] * 2
    seeds = [[request.spec.payload["seeds"] for request in batch] for batch in batches]
    assert seeds[0] == seeds[1]
    assert len({str(seed) for seed in seeds[0]}) == 3
    assert len({seed["split"] for seed in seeds[0]}) == 1


@pytest.mark.parametrize(
    "other", [Label("clouds-line", "adam", 0, "tune", "tuned"), Label("clouds-line", "sgd", 1, "tune", "tuned")]
)
def test_another_arm_or_replicate_is_another_study_with_other_draws(tmp_path, other):
    plan = planned(tmp_path, trials=2)
    one, two = drive(plan)[0], drive(plan, label=other)[0]
    assert one.id != two.id
    assert one.trials[0].hyperparameters != two.trials[0].hyperparameters


def test_a_changed_space_or_suite_seed_is_a_new_study(tmp_path):
    narrowed = {**SPACE, "model.width": {"low": 2, "high": 19}}
    plans = [{}, {"tuning.space": narrowed}, {"seed": 1}, {"tuning.trials": 9}, {"compare.margin": 0.5}]
    keys = [tune.study_key(a_plan(tmp_path, {"tuning.space": SPACE, **changes}), LABEL) for changes in plans]
    assert len(set(keys[:3])) == 3
    assert keys[3] == keys[4] == keys[0]


def test_no_tuning_run_may_see_the_test_set(tmp_path):
    _, batches = drive(planned(tmp_path))
    payloads = [request.spec.payload for batch in batches for request in batch]
    assert {payload["phase"] for payload in payloads} == {"tune"}
    assert all(set(payload["data"]) == {"train"} and "select" not in payload for payload in payloads)


# Telling -------------------------------------------------------------------------------------------------------------


def test_a_failed_trial_counts_as_the_floor(tmp_path):
    study, _ = drive(planned(tmp_path, trials=3), valued(0.9, None, 0.8))
    assert [(trial.value, trial.told) for trial in study.trials] == [(0.9, 0.9), (None, 0.5), (0.8, 0.8)]
    assert study.trials[1].reason == "error: RuntimeError: no such luck"


def without_meaning(payload):
    return {"status": "not_applicable", "reason": "nothing to train", "evaluations": []}


def test_a_trial_without_meaning_ends_a_study_at_its_beginning_alone(tmp_path):
    """Behind trials that trained something it failed, as any other may, and the best of them is chosen."""
    study, _ = drive(planned(tmp_path, trials=4), without_meaning)
    assert (study.not_applicable, study.trials, study.best) == ("nothing to train", (), None)
    answers = iter([ok_of(0.6), ok_of(0.8), without_meaning, ok_of(0.7)])
    study, _ = drive(planned(tmp_path, trials=4), lambda payload: next(answers)(payload))
    assert study.not_applicable is None
    assert [trial.reason for trial in study.trials] == [None, None, "not_applicable: nothing to train", None]
    assert study.best == study.trials[1]


def ok_of(value):
    return lambda payload: ok(payload, lambda split, epoch: value)


def test_without_a_floor_a_failed_trial_counts_as_the_worst_value_seen(tmp_path):
    plan = planned(tmp_path, trials=5, **{"compare.metric": "loss"})
    # A score of v is a loss of 1 - v in these answers.
    study, _ = drive(plan, valued(None, 0.75, 0.25, None, 0.5))
    assert [trial.told for trial in study.trials] == [None, 0.25, 0.75, 0.75, 0.5]
    assert [trial.value for trial in study.trials] == [None, 0.25, 0.75, None, 0.5]


def test_optuna_is_told_values_in_the_order_of_trials_and_failure_where_there_is_none(tmp_path, monkeypatch):
    told = []
    real = optuna.Study.tell

    def watched(self, trial, value=None, **given):
        told.append((trial.number, value, given.get("state")))
        return real(self, trial, value, **given)

    monkeypatch.setattr(optuna.Study, "tell", watched)
    drive(planned(tmp_path, trials=4, batch=2, **{"compare.metric": "loss"}), valued(None, 0.25, 0.5, None))
    fail = optuna.trial.TrialState.FAIL
    assert told == [(0, None, fail), (1, 0.75, None), (2, 0.5, None), (3, 0.75, None)]


def test_a_trials_value_is_the_mean_of_its_repeats_and_one_failure_fails_it(tmp_path):
    plan = planned(tmp_path, trials=2, repeats=3)
    study, _ = drive(plan, valued(0.5, 0.6, 1.0, 0.9, None, 0.9))
    assert study.trials[0].value == pytest.approx(0.7)
    assert (study.trials[1].value, study.trials[1].told) == (None, 0.5)
    assert [len(trial.run_ids) for trial in study.trials] == [3, 3]
    assert study.best.number == 0


@pytest.mark.parametrize(
    ("metric", "rule", "value"),
    [
        ("accuracy", "best_validation", 0.75),
        ("accuracy", "last", 0.5),
        ("loss", "best_validation", 0.25),
        ("loss", "last", 0.5),
    ],
)
def test_the_value_of_a_run_is_that_of_its_best_or_last_evaluation(tmp_path, metric, rule, value):
    plan = planned(tmp_path, **{"compare.metric": metric, "compare.epoch": rule})
    request = plan.request(Label("clouds-line", "sgd", 0, "tune", "tuned", 0))
    curve = {1: 0.25, 2: 0.75, 3: 0.5}
    scores = ok(request.spec.payload, lambda split, epoch: curve[epoch] if split == "validation" else 1.0, epochs=3)
    assert tune.validation_value(plan, request.label, scores) == value


def test_with_early_stopping_the_value_of_a_run_is_that_of_the_epoch_which_it_chose(tmp_path):
    """Its own metric is best at the first evaluation, the compared one at the second."""
    plan = planned(tmp_path, **{"problem.early_stopping": {"metric": "loss"}, "compare.epoch": "last"})
    label = Label("clouds-line", "sgd", 0, "tune", "tuned", 0)
    curves = {"accuracy": [0.25, 0.75, 0.5], "loss": [0.1, 0.2, 0.3]}
    rows = [
        [float(epoch), 4 * epoch, 120 * epoch, split, name, value if split == "validation" else 1.0, 80]
        for epoch, values in enumerate(zip(*curves.values(), strict=True), start=1)
        for split in ("train", "validation")
        for name, value in zip(curves, values, strict=True)
    ]
    chosen = {"status": "ok", "selected_epoch": 1.0, "evaluations": rows}
    assert tune.validation_value(plan, label, chosen) == 0.25
    assert tune.validation_value(plan, label, {**chosen, "selected_epoch": 3.0}) == 0.5


# Choosing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "values", "chosen"),
    [
        ("accuracy", [0.5, 0.75, 0.625], 1),
        ("accuracy", [0.5, 0.75, 0.75], 1),
        ("accuracy", [None, 0.25, None], 1),
        ("loss", [0.5, 0.75, 0.625], 1),
        ("loss", [0.75, 0.5, 0.75], 0),
    ],
    ids=["highest", "first of equals", "below the floor", "lowest loss", "first of equal losses"],
)
def test_the_best_complete_trial_is_chosen(tmp_path, metric, values, chosen):
    study, _ = drive(planned(tmp_path, trials=3, **{"compare.metric": metric}), valued(*values))
    assert study.best is study.trials[chosen]


def test_no_complete_trial_is_no_choice(tmp_path):
    study, _ = drive(planned(tmp_path, trials=3), valued(None, None, None))
    assert study.best is None
    assert [trial.told for trial in study.trials] == [0.5] * 3


def test_the_choice_is_optunas_own(tmp_path):
    plan = planned(tmp_path, trials=10, **{"compare.metric": "loss"})
    study, _ = drive(plan, lambda payload: ok(payload, lambda split, epoch: share(payload)))
    rebuilt = rebuild(study.id, "minimize", study.space, [Told(t.hyperparameters, t.told) for t in study.trials])
    assert rebuilt.best_trial.number == study.best.number
    assert rebuilt.best_value == study.best.value


# Rebuilding ----------------------------------------------------------------------------------------------------------


def test_a_rebuilt_study_has_the_same_trials(tmp_path):
    study, _ = drive(planned(tmp_path, trials=4, **{"compare.metric": "loss"}), valued(None, 0.5, 0.25, 0.75))
    as_read = [
        Told({**t.hyperparameters, "model.width": float(t.hyperparameters["model.width"])}, t.told)
        for t in study.trials
    ]
    rebuilt = rebuild("name", "minimize", study.space, as_read)
    assert rebuilt.study_name == "name"
    assert [trial.params for trial in rebuilt.trials] == [dict(trial.hyperparameters) for trial in study.trials]
    assert [trial.value for trial in rebuilt.trials] == [None, 0.5, 0.75, 0.25]
    assert [trial.state.name for trial in rebuilt.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert all(type(trial.params["model.width"]) is int for trial in rebuilt.trials)
    assert rebuilt.trials[0].distributions == {
        "optimizer.lr": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution((8, 16, 32)),
        "model.width": optuna.distributions.IntDistribution(2, 20),
    }


def test_the_hash_of_a_space_does_not_depend_on_the_order_of_its_names():
    space = {"a": Float(0, 1), "b": Choice("x", None)}
    assert tune.space_hash(space) == tune.space_hash(dict(reversed(space.items())))
    assert tune.space_hash(space) != tune.space_hash({**space, "a": Float(0, 2)})
