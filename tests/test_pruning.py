"""Thresholds against Optuna: the same histories, reported into real studies with the real pruners."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from harness import pruning
from harness.pruning import Past

STUDY = "a study"
MAKERS = {
    "median": lambda times: optuna.pruners.MedianPruner(n_startup_trials=pruning.STARTUP),
    "halving": lambda times: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4),
    "hyperband": lambda times: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=times, reduction_factor=3),
}


@st.composite
def histories(draw):
    """Curves of the trials of a study (None for one that failed at once), in which ties are frequent."""
    times = draw(st.integers(2, 12))
    values = st.one_of(st.integers(0, 4).map(float), st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3)))
    curves = draw(
        st.lists(st.one_of(*[st.lists(values, min_size=times, max_size=times)] * 5, st.none()), min_size=2, max_size=16)
    )
    return times, curves, draw(st.sampled_from(["maximize", "minimize"])), draw(st.integers(1, 4))


def ours(pruner, past, direction, times, number):
    found = pruning.payload(pruner, past, metric="m", direction=direction, times=times, study=STUDY, number=number) or {
        "thresholds": [None] * times,
        "judge": "latest",
    }
    return found["thresholds"], found["judge"]


def verdicts(curve, thresholds, judge, direction):
    """Whether the run is stopped after each evaluation but the last, by what its spec says; it ends with the first."""
    worse = (lambda a, b: a < b) if direction == "maximize" else (lambda a, b: a > b)
    best = max if direction == "maximize" else min
    said = []
    for at in range(len(curve) - 1):
        judged = best(curve[: at + 1]) if judge == "best" else curve[at]
        said.append(thresholds[at] is not None and worse(judged, thresholds[at]))
        if said[-1]:
            break
    return said


def replayed(pruner, earlier, direction, times):
    """A real study of the given (curve, state); what its pruner says of them is not asked here."""
    study = optuna.create_study(study_name=STUDY, direction=direction, pruner=MAKERS[pruner](times))
    for values, state in earlier:
        tell(study, study.ask({}), values, state)
    return study


def tell(study, trial, values, state):
    for step, value in enumerate(values, start=1):
        if step not in trial._cached_frozen_trial.intermediate_values:
            trial.report(value, step)
            trial.should_prune()
    study.tell(trial, values[-1] if state == "COMPLETE" else None, state=optuna.trial.TrialState[state])


@pytest.mark.parametrize("pruner", pruning.BY_CURVE)
@settings(derandomize=True, deadline=None, max_examples=60)
@given(histories())
def test_thresholds_say_at_every_step_what_optunas_pruner_says(pruner, history):
    times, curves, direction, batch = history
    past, told = [], []
    for begin in range(0, len(curves), batch):
        ended = []
        for number, curve in enumerate(curves[begin : begin + batch], start=begin):
            if curve is None:
                ended.append((None, [], "FAIL"))
                continue
            said = verdicts(curve, *ours(pruner, past, direction, times, number), direction)
            study = replayed(pruner, told, direction, times)
            for _ in range(number - begin):
                study.ask({})  # trials of this batch, of which nothing is known
            trial, theirs = study.ask({}), []
            assert trial.number == number
            for step in range(1, len(said) + 1):
                trial.report(curve[step - 1], step)
                theirs.append(trial.should_prune())
            assert theirs == said
            pruned = bool(said) and said[-1]
            values = curve[: len(said)] if pruned else curve
            ended.append((Past(number, not pruned, tuple(values)), values, "PRUNED" if pruned else "COMPLETE"))
        past += [one for one, _, _ in ended if one is not None]
        told += [(values, state) for _, values, state in ended]


@pytest.mark.parametrize("times", range(2, 30))
def test_brackets_are_optunas(times):
    pruner = MAKERS["hyperband"](times)
    study = optuna.create_study(study_name=STUDY, pruner=pruner)
    pruner.prune(study, optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
    assert pruning.brackets(times) == len(pruner._pruners)
    for number in range(40):
        trial = optuna.trial.create_trial(value=0.0)
        trial.number = number
        assert pruning.bracket(STUDY, number, times) == pruner._get_bracket_id(study, trial)


def test_a_median_waits_for_complete_trials_and_leaves_the_last_evaluation_alone():
    complete = [Past(n, True, (float(n), 10.0 * n, 0.0)) for n in range(5)]
    assert pruning.median(complete[:4], times=3) == [None] * 3
    assert pruning.median([*complete[:4], Past(4, False, (9.0,))], times=3) == [None] * 3
    assert pruning.median(complete, times=3) == [2.0, 20.0, None]
    assert pruning.median([*complete, Past(5, True, (5.0, 50.0, 0.0))], times=3)[:2] == [2.5, 25]


@pytest.mark.parametrize(("direction", "threshold"), [("maximize", 6.0), ("minimize", 1.0)])
def test_a_rung_lets_one_in_four_on(direction, threshold):
    past = [Past(n, n % 2 == 0, (float(n),)) for n in range(8)]
    # the ninth to come: of nine, two go on, so at most one of the eight before it may be better
    assert pruning.halving(past, direction=direction, times=4) == [threshold, None, None, None]


def test_what_nothing_can_stop_has_nothing_to_say():
    given_ = {"metric": "m", "direction": "maximize", "times": 3, "study": STUDY, "number": 1}
    past = [Past(0, True, (0.5, 0.25, 0.75))]
    assert pruning.payload("halving", [], **given_) is None
    assert pruning.payload("median", past, **given_) is None
    assert pruning.payload("none", past, **given_) is None
    assert pruning.payload("wilcoxon", past, **given_) is None
    assert pruning.payload("halving", past, **given_) == {
        "metric": "m",
        "direction": "maximize",
        "judge": "latest",
        "thresholds": [0.5, None, None],
    }


def test_a_signed_rank_test_needs_as_many_pairs_as_are_asked_for():
    smallest = [wilcoxon([-1.0 - n for n in range(pairs)], alternative="less").pvalue for pairs in (3, 4)]
    assert smallest == [1 / 8, 1 / 16]
    assert smallest[0] > pruning.WILCOXON_P > smallest[1]
    assert pruning.WILCOXON_PAIRS == 4


@pytest.mark.parametrize(
    ("pruner", "times", "repeats", "can"),
    [
        ("none", 1, 1, True),
        ("median", 1, 9, False),
        ("halving", 1, 1, False),
        ("hyperband", 2, 1, True),
        ("median", 2, 1, True),
        ("wilcoxon", 9, 4, False),
        ("wilcoxon", 1, 5, True),
    ],
)
def test_a_pruner_that_can_stop_nothing_is_known_beforehand(pruner, times, repeats, can):
    assert (pruning.why_never(pruner, times=times, repeats=repeats) is None) == can
