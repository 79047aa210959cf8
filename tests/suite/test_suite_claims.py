"""Published statements in a suite, folds and label budgets: what is read, and how mistakes in them are told."""

from __future__ import annotations

import pytest

from harness.diagnostics import MistakesError
from harness.errors import SuiteError
from harness.plan import DataFacts, Label
from harness.sizes import mistakes
from tests.small import FACTS, a_plan

CLAIM = {"statement": "It reaches 98 %.", "arm": "sgd", "at_least": 0.98}


def claims(folder, *tables, **changes):
    return a_plan(folder, {"claim": [{**CLAIM, **table} for table in tables], **changes}).suite.claims


def refused(folder, changes):
    with pytest.raises(MistakesError) as caught:
        a_plan(folder, changes)
    return str(caught.value)


def test_a_claim_is_about_the_compared_metric_on_the_test_split_of_the_only_problem(tmp_path):
    (claim,) = claims(tmp_path, {"tolerance": 0.001})
    assert (claim.problem, claim.arm, claim.metric.name, claim.split) == ("clouds-line", "sgd", "accuracy", "test")
    assert (claim.bound, claim.value, claim.tolerance) == ("at_least", 0.98, 0.001)


def test_a_claim_may_name_another_metric_and_split_and_that_metric_is_measured(tmp_path):
    made = a_plan(tmp_path, {"claim": [{**CLAIM, "metric": "loss", "split": "train"}], "compare.metric": "accuracy"})
    assert made.suite.claims[0].metric.name == "loss"
    assert "loss" in {metric.name for metric in made.metrics("clouds-line")}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"arm": "sdg"}, "claim 1 arm: no arm named 'sdg'"),
        ({"arm": "sdg"}, "did you mean 'sgd'?"),
        ({"problem": "cluods-line"}, "did you mean 'clouds-line'?"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'?"),
        ({"equals": 0.9}, "claim 1 has at_least and equals"),
        ({"at_least": None}, "claim 1 lacks the value that is claimed"),
        ({"arm": None}, "claim 1 lacks the key 'arm': the suite has 2 arms"),
        ({"statement": None}, "claim 1 lacks the key 'statement'"),
        ({"split": "tset"}, "allowed: test, validation, train"),
        ({"tolerance": -0.1}, "out of range"),
        ({"at_lest": 0.9}, "did you mean 'at_least'?"),
        ({"at_least": "much"}, "expected a number"),
        ({"at_least": 98}, "claim 1 at_least: 'accuracy' is a fraction"),
        ({"at_least": 98}, "98 % is 0.98"),
        ({"tolerance": 1.5}, "claim 1 tolerance: 'accuracy' is a fraction"),
        ({"metric": {"use": "accuracy"}}, 'write metric = "accuracy"; its options belong in [compare]'),
    ],
)
def test_mistakes_in_a_claim_are_named_with_the_way_out(tmp_path, table, says):
    made = {key: value for key, value in {**CLAIM, **table}.items() if value is not None}
    assert says in refused(tmp_path, {"claim": [made]})


def test_all_mistakes_of_a_claim_are_said_at_once(tmp_path):
    said = refused(tmp_path, {"claim": [{**CLAIM, "arm": "sdg", "at_least": 98, "tolerance": 2}]})
    assert "no arm named 'sdg'" in said
    assert "claim 1 at_least: 'accuracy' is a fraction" in said
    assert "claim 1 tolerance: 'accuracy' is a fraction" in said


def test_a_claim_in_a_metric_that_is_no_fraction_may_have_any_value(tmp_path):
    (claim,) = claims(tmp_path, {"metric": "loss", "at_least": 98, "tolerance": 2})
    assert (claim.value, claim.tolerance) == (98.0, 2.0)


def test_a_margin_in_percent_of_a_metric_that_is_a_fraction_is_refused(tmp_path):
    said = refused(tmp_path, {"compare.margin": 2})
    assert "[compare] margin: 'accuracy' is a fraction" in said
    assert "2 % is 0.02" in said


def test_the_metric_of_early_stopping_takes_its_options_from_compare(tmp_path):
    table = {"metric": {"use": "accuracy", "bins": 3}}
    said = refused(tmp_path, {"problem.early_stopping": table})
    assert "early_stopping.metric: expected text, found" in said
    assert 'write metric = "accuracy"; its options belong in [compare], as metric or in also' in said


def test_an_only_arm_and_an_only_problem_need_not_be_named(tmp_path):
    made = {key: value for key, value in CLAIM.items() if key != "arm"}
    plan = a_plan(tmp_path, {"arms": None, "problem.optimizer": "adam", "compare.baseline": None, "claim": [made]})
    assert plan.suite.claims[0].arm == "adam"


# Folds ---------------------------------------------------------------------------------------------------------------

FOLDS = {"problem.folds": 4, "compare.replicates": None, "problem.validation_examples": 40}


def test_each_replicate_is_one_fold_of_one_partition(tmp_path):
    made = a_plan(tmp_path, FOLDS)
    assert (made.suite.compare.replicates, made.suite.compare.folds) == (4, 4)
    finals = [made.request(Label("clouds-line", "sgd", r, "final", "tuned")).spec.payload for r in range(4)]
    assert [payload["fold"]["index"] for payload in finals] == [0, 1, 2, 3]
    assert {payload["fold"]["seed"] for payload in finals} == {finals[0]["fold"]["seed"]}
    assert len({payload["seeds"]["split"] for payload in finals}) == 4
    assert all(set(payload["data"]) == {"train"} for payload in finals)


def test_folds_count_as_replicates_where_a_plan_is_too_large(tmp_path):
    said = refused(tmp_path, {**FOLDS, "problem.folds": 30_000})
    assert "error[plan-too-large]" in said
    assert "replicates 30,000" in said
    assert "folds = 30000" in said


def test_a_suite_without_folds_or_label_budgets_has_the_ids_that_it_had_before_there_were_any(tmp_path):
    payload = a_plan(tmp_path).request(Label("clouds-line", "sgd", 0, "final", "tuned")).spec.payload
    assert "fold" not in payload
    assert not {"folds", "labels_per_class"} & set(payload["problem"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"compare.replicates": 3}, "folds = 4 makes 4 replicates, one for each fold"),
        ({"compare.claim": "setting"}, "the one study would be tuned on what other folds test on"),
        ({"problem.folds": 1}, "out of range"),
        ({"problems": {"folds": [2, 3]}}, "unknown key 'folds'"),
        ({"arms": {"folds": [2, 3]}}, "arms cannot differ in 'folds'"),
        ({"problem.labels_per_class": 5}, "labels_per_class and train_examples both say"),
        ({"problem.labels_per_class": 0, "problem.train_examples": None}, 'integer >= 1, or "all"'),
        ({"problem.labels_per_class": "al", "problem.train_examples": None}, 'integer >= 1, or "all"'),
    ],
)
def test_folds_and_label_budgets_that_contradict_the_rest_are_refused(tmp_path, changes, says):
    assert says in refused(tmp_path, {**FOLDS, **changes})


def sizes_refused(folder, changes, facts=FACTS):
    return [str(mistake) for mistake in mistakes(a_plan(folder, changes, facts=facts))]


FEW = DataFacts(30, 10, (4,), 2, ("left", "right"), {"train": "11" * 32, "test": "22" * 32}, (24, 6))
LABELS = {"problem.train_examples": None, "problem.batch_size": 2}


@pytest.mark.parametrize(
    ("changes", "facts", "says"),
    [
        ({**FOLDS, "problem.folds": 7}, FEW, "2 to 6: class 'right' of 'clouds' has 6 training examples"),
        (FOLDS, FACTS, None),
        (
            {**FOLDS, "problem.train_examples": 150},
            FACTS,
            "1 to 140: 'clouds' has 180 training examples outside a fold",
        ),
        ({**LABELS, "problem.labels_per_class": 81}, FACTS, '1 to 80, or "all"'),
        ({**LABELS, "problem.labels_per_class": 80}, FACTS, None),
        ({**LABELS, "problem.labels_per_class": "all"}, FACTS, None),
        ({**LABELS, "problem.labels_per_class": 1, "problem.batch_size": 3}, FACTS, "batch_size is 3"),
        ({**LABELS, "problem.labels_per_class": "all", "problem.validation_examples": 12}, FEW, "validation_examples"),
    ],
)
def test_more_folds_or_labels_than_the_data_have_are_named_before_anything_runs(tmp_path, changes, facts, says):
    found = sizes_refused(tmp_path, changes, facts)
    assert (found == []) if says is None else any(says in mistake for mistake in found), found


def test_a_regression_has_no_label_budget_but_may_have_folds(tmp_path):
    facts = DataFacts(240, 100, (4,), None, (), {"train": "11" * 32, "test": "22" * 32})
    labels = sizes_refused(tmp_path, {**LABELS, "problem.labels_per_class": 5}, facts)
    assert all("'clouds' is a regression" in mistake for mistake in labels)
    assert labels
    assert sizes_refused(tmp_path, FOLDS, facts) == []


def test_a_suite_with_mistakes_of_size_is_refused_as_a_whole(project):
    result = project.write(suite={"problem.folds": 121, "compare.replicates": None}).run("plan", "suite.toml")
    assert result.code == SuiteError.exit_code
    assert "folds is 121, more than there are" in result.err
    assert "suite.toml:" in result.err
