"""The plan: every run counted and priced before it is done, with an id made of all that determines it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import pytest

from harness import plan, registry
from harness.coordinator import Coordinator
from harness.diagnostics import MistakesError
from harness.errors import DataError, PluginError, SuiteError
from harness.plan import DataFacts, Label, Price, apply
from harness.registry import child
from harness.spec import RunSpec
from harness.store import Store
from tests.small import FACTS, Answering, a_plan

PROBLEM = "clouds-line"
FINAL = Label(PROBLEM, "sgd", 0, "final", "tuned")
TUNE = Label(PROBLEM, "sgd", 0, "tune", "tuned", 0)


# Counting ------------------------------------------------------------------------------------------------------------

SUITES = {
    "as it is": {},
    "three arms": {"arms.optimizer": ["sgd", "adam", "plain"], "tuning.space": {"batch_size": [10, 20]}},
    "repeats": {"tuning.trials": 3, "tuning.repeats": 2},
    "uneven batches": {"tuning.trials": 5, "tuning.batch": 3},
    "claim setting": {"compare.claim": "setting", "compare.replicates": 4},
    "no tuning": {"tuning": None},
    "no untuned row": {"compare.untuned": False},
    "two problems": {"problems": {"train_examples": [60, 120]}},
}


@pytest.mark.parametrize("changes", SUITES.values(), ids=SUITES)
def test_rows_count_what_is_really_run(tmp_path, changes):
    made = a_plan(tmp_path, changes)
    walk = Coordinator(made, Store(tmp_path / "r"), executor=Answering(slots=4)).run()
    labels = [entry.label for entry in walk.entries]
    assert len(set(labels)) == len(labels)
    really = Counter((label.problem, label.arm, label.phase, label.setting) for label in labels)
    for row in made.rows():
        here = (row.problem, row.arm)
        assert row.tune == really[*here, "tune", "tuned"]
        assert row.final == really[*here, "final", made.given]
        assert row.untuned == (really[*here, "final", "untuned"] if made.suite.tuning.trials else 0)
    assert sum(row.runs for row in made.rows()) == len(labels)


def test_every_arm_has_the_same_budget(tmp_path):
    changes = {"arms.optimizer": ["sgd", "adam", "plain"], "tuning.space": {"batch_size": [10, 20]}}
    assert len({(row.tune, row.final, row.untuned) for row in a_plan(tmp_path, changes).rows()}) == 1


# Pricing -------------------------------------------------------------------------------------------------------------

PRICE = Price(step_seconds=0.01, example_seconds=0.001, parameters=58)


def seconds(folder, changes=None):
    made = a_plan(folder, {"tuning": None, **(changes or {})})
    return [row.seconds for row in made.rows(dict.fromkeys(made.settings, PRICE))]


def test_a_run_costs_its_steps_and_its_evaluations(tmp_path):
    # 2 epochs of 4 steps, 2 evaluations of 80 examples, 100 test examples, and a start of its own.
    one = 8 * 0.01 + (2 * 80 + 100) * 0.001
    overhead = seconds(tmp_path)[0] / 3 - one
    assert 0 < overhead < 1
    by_steps = seconds(tmp_path, {"problem.epochs": None, "problem.steps": 50})[0] / 3 - overhead
    assert by_steps == pytest.approx(50 * 0.01 + (10 * 80 + 100) * 0.001)


def test_the_estimate_is_linear_in_replicates(tmp_path):
    found = [sum(seconds(tmp_path, {"compare.replicates": n})) for n in (2, 4, 8)]
    assert found == pytest.approx([found[0], 2 * found[0], 4 * found[0]])


def test_trials_are_priced_without_the_test_set(tmp_path):
    made = a_plan(tmp_path, {"tuning.trials": 4, "compare.replicates": 3})
    (row, _) = made.rows(dict.fromkeys(made.settings, PRICE))
    final = seconds(tmp_path)[0] / 3
    assert row.seconds == pytest.approx(6 * final + 12 * (final - 100 * 0.001))


def test_what_could_not_be_priced_has_no_estimate(tmp_path):
    made = a_plan(tmp_path)
    found = made.rows({(PROBLEM, "sgd"): PRICE})
    assert [row.seconds is None for row in found] == [False, True]


def test_prices_are_asked_for_once_for_each_setting_that_differs(tmp_path, monkeypatch):
    names = {"one": "adam", "two": "adam", "three": "sgd"}
    spelled = [{"name": name, "optimizer": optimizer} for name, optimizer in names.items()]
    twins = {"arms": None, "arm": spelled, "compare.baseline": "one"}
    asked = []

    def answer(questions):
        asked.extend(questions)
        return [{"step_seconds": 0.1 * n, "example_seconds": 0.0, "parameters": n} for n in range(len(questions))]

    monkeypatch.setattr(registry, "ask_cached", answer)
    found = plan.prices(a_plan(tmp_path, twins))
    assert [question["payload"]["problem"]["optimizer"]["use"] for question in asked] == ["adam", "sgd"]
    assert {arm: price.parameters for (_, arm), price in found.items()} == {"one": 0, "two": 0, "three": 1}
    assert {question["payload"]["phase"] for question in asked} == {"tune"}


def test_a_setting_that_cannot_be_built_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ask_cached", lambda questions: [child.Failed("ValueError: no")] * len(questions))
    with pytest.raises(PluginError, match="problem 'clouds-line', arm 'sgd' cannot be built: ValueError: no"):
        plan.prices(a_plan(tmp_path))


def unbuilt(folder, monkeypatch, changes, reasons, source=None):
    """The lines of the error where prices of these arms (None: of [source]) have these reasons; and the suite's."""

    def answer(questions):
        arms = [
            None if q["payload"]["problem"]["validation_examples"] == 0 else q["payload"]["problem"]["optimizer"]["use"]
            for q in questions
        ]
        good = {"step_seconds": 0.1, "example_seconds": 0.0, "parameters": 1}
        return [child.Failed(reasons[arm]) if arm in reasons else good for arm in arms]

    monkeypatch.setattr(registry, "ask_cached", answer)
    with pytest.raises(PluginError) as caught:
        plan.prices(dataclasses.replace(a_plan(folder, changes), source_facts=source))
    lines = (folder / "suite.toml").read_text().splitlines()
    return [one.replace(str(folder), "") for one in str(caught.value).splitlines()], lines


def test_all_that_cannot_be_built_is_told_at_once_each_with_its_place(tmp_path, monkeypatch):
    told, lines = unbuilt(tmp_path, monkeypatch, {}, {"sgd": "ValueError: no", "adam": "ValueError: never"})
    number = lines.index('optimizer = ["sgd", "adam"]') + 1
    assert told == [
        f"/suite.toml:{number}:14: problem 'clouds-line', arm 'sgd' cannot be built: ValueError: no",
        f"/suite.toml:{number}:21: problem 'clouds-line', arm 'adam' cannot be built: ValueError: never",
    ]


def test_one_reason_of_several_arms_is_told_once_at_the_part_that_it_names(tmp_path, monkeypatch):
    reason = "ValueError: line: width must be above 0"
    told, lines = unbuilt(tmp_path, monkeypatch, {}, {"sgd": reason, "adam": reason})
    number = next(n for n, line in enumerate(lines, start=1) if line.startswith("model ="))
    assert told == [
        f"/suite.toml:{number}:9: problem 'clouds-line', arm 'sgd' cannot be built: {reason} (nor can 'adam')"
    ]


MOVED = {"source": {"dataset": "clouds", "epochs": 1}, "compare.controls": False, "compare.epoch": None}


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ({None: "ValueError: no"}, "[source] cannot be built: ValueError: no"),
        (
            {"sgd": "model 'line' does not fit the weights of its source: so"},
            "[source] does not fit: problem 'clouds-line', arm 'sgd' cannot be built: model 'line' does not fit the "
            "weights of its source: so",
        ),
        (
            {"sgd": "model 'line' does not fit the weights of its source: so (tuning may try model.width = 8, lr = 1)"},
            "[source] does not fit: problem 'clouds-line', arm 'sgd' cannot be built: model 'line' does not fit the "
            "weights of its source: so (tuning may try model.width = 8, lr = 1); give model.width a fixed value: the "
            "source has one network",
        ),
    ],
    ids=["built", "fitted", "tuned"],
)
def test_what_is_amiss_with_the_source_is_told_at_the_source(tmp_path, monkeypatch, reasons, said):
    told, lines = unbuilt(tmp_path, monkeypatch, MOVED, reasons, source=FACTS)
    number = lines.index("[source]") + 2
    assert told == [f"/suite.toml:{number}:11: {said}"]


def test_a_setting_is_priced_with_its_steps_and_the_ends_of_what_is_searched(tmp_path, monkeypatch):
    asked = []

    def answer(questions):
        asked.extend(questions)
        return [{"step_seconds": 0.1, "example_seconds": 0.0, "parameters": 1}] * len(questions)

    monkeypatch.setattr(registry, "ask_cached", answer)
    space = {"tuning.trials": 2, "tuning.space": {"batch_size": {"low": 10, "high": 50}}}
    plan.prices(a_plan(tmp_path, {**space, "arms.optimizer": ["sgd"]}))
    (question,) = asked
    assert question["steps"] == 2 * 4  # 2 epochs of 120 examples in batches of 30
    ends = [(one["steps"], one["problem"]["batch_size"], one["problem"]["optimizer"]["lr"]) for one in question["ends"]]
    assert ends == [(2 * 12, 10, 1e-3), (2 * 3, 50, 1.0)]
    assert question["ends"][0]["at"] == "optimizer.lr = 0.001, batch_size = 10"


# Ids -----------------------------------------------------------------------------------------------------------------


def leaves(value, path=()):
    """Paths of all leaves of plain data."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    return [path]


def changed_at(value, path):
    """A copy of the payload in which one leaf is another value."""
    made = json.loads(json.dumps(value))
    *front, last = path
    table = made
    for key in front:
        table = table[key]
    old = table[last]
    if isinstance(old, bool) or old is None:
        table[last] = 7 if old is None else not old
    else:
        table[last] = {"odd": 1} if isinstance(old, dict) else old + ("x" if isinstance(old, str) else 1)
    return made


@pytest.mark.parametrize("label", [TUNE, FINAL], ids=["tune", "final"])
def test_every_leaf_of_a_resolved_spec_is_part_of_its_id(tmp_path, label):
    payload = a_plan(tmp_path).request(label).spec.payload
    paths = leaves(payload)
    ids = {RunSpec(changed_at(payload, path)).id for path in paths}
    assert len(paths) > 40
    assert len(ids | {RunSpec(payload).id}) == len(paths) + 1


def ids(made):
    return [made.request(label, {"optimizer.lr": 0.5}).spec.id for label in (TUNE, FINAL)]


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "Another question?"},
        {"compare.margin": 0.5},
        {"compare.replicates": 9},
        {"compare.claim": "setting"},
        {"compare.untuned": False},
        {"compare.baseline": "adam"},
        {"compare.primary": []},
        {"arms.optimizer": ["sgd", "plain", "adam"], "tuning.space": {"optimizer.lr": [0.1, 0.5]}},
        {"tuning.trials": 9},
        {"tuning.sampler": "random"},
        {"tuning.batch": 2},
        {"tuning.repeats": 2},
        {"tuning.space": {"optimizer.lr": {"low": 0.1, "high": 0.9}}},
        {"execution.workers": 7},
        {"execution.executor": "process"},
        {"execution.executor": {"use": "serial"}},
        {"execution.executor": {"use": "cluster", "scheduler": "tcp://a:1"}},
        {"execution.time_limit": 5.0},
        {"execution.device": "cpu"},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_only_asks_differently_changes_no_id(tmp_path, changes):
    assert ids(a_plan(tmp_path, changes)) == ids(a_plan(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"problem.dataset": {"use": "clouds", "noise": 2.0}},
        {"problem.model": {"use": "line", "width": 9}},
        {"problem.train_examples": 110},
        {"problem.validation_examples": 79},
        {"problem.batch_size": 31},
        {"problem.epochs": 3},
        {"problem.epochs": None, "problem.steps": 8},
        {"problem.precision": "bf16"},
        {"problem.loss": {"use": "cross_entropy", "label_smoothing": 0.1}},
        {"problem.strategy": {"use": "full", "head_scale": 2.0}},
        {"problem.augmentation": "rotate"},
        {"problem.regularisation": {"l2": 0.1}},
        {"problem.early_stopping": {"patience": 2}},
        {"execution.threads": 2},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_changes_a_result_changes_both_ids(tmp_path, changes):
    before, after = ids(a_plan(tmp_path)), ids(a_plan(tmp_path, changes))
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False]


@pytest.mark.parametrize("changes", [{"compare.epoch": "last"}, {"compare.metric": "loss"}])
def test_how_the_epoch_is_selected_changes_final_runs_only(tmp_path, changes):
    before, after = ids(a_plan(tmp_path)), ids(a_plan(tmp_path, changes))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


def test_another_name_of_an_arm_or_problem_is_the_same_run(tmp_path):
    spelled = [{"name": "my-sgd", "optimizer": "sgd"}, {"name": "my-adam", "optimizer": "adam"}]
    renamed = a_plan(tmp_path, {"arms": None, "arm": spelled, "compare.baseline": "my-sgd"})
    label = dataclasses.replace(FINAL, arm="my-sgd")
    assert renamed.request(label).spec.id == a_plan(tmp_path).request(FINAL).spec.id


def test_other_test_data_change_final_runs_only(tmp_path):
    other = dataclasses.replace(FACTS, fingerprints={**FACTS.fingerprints, "test": "33" * 32})
    before, after = ids(a_plan(tmp_path)), ids(a_plan(tmp_path, facts=other))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


def test_a_default_that_is_written_out_is_the_same_run(tmp_path):
    written = {
        "problem.model": {"use": "line", "width": 8},
        "problem.schedule": "constant",
        "problem.precision": "fp32",
        "problem.augmentation": "none",
        "problem.regularisation": {"l1": 0},
        "problem.early_stopping": "none",
    }
    assert ids(a_plan(tmp_path, written)) == ids(a_plan(tmp_path))


def test_a_spec_names_every_part_with_its_source(tmp_path):
    made = a_plan(tmp_path).request(FINAL)
    kinds = {"dataset", "model", "loss", "optimizer", "schedule", "strategy", "metric:accuracy", "metric:loss"}
    assert set(made.spec.payload["parts"]) == set(made.origins) == kinds
    identity = {"distribution": "small", "version": "1.0", "sha256": "ab" * 32}
    assert all(found == identity for found in made.spec.payload["parts"].values())


def test_parts_of_a_list_are_named_with_their_source_too(tmp_path):
    made = a_plan(tmp_path, {"problem.augmentation": ["rotate", "crop"]}).request(FINAL)
    listed = {"augmentation:crop", "augmentation:rotate"}
    assert listed <= set(made.spec.payload["parts"])
    assert set(made.origins) == set(made.spec.payload["parts"])
    assert made.spec.payload["problem"]["augmentation"][0] == {"use": "rotate", "degrees": 15.0}


def test_the_order_of_augmentations_is_part_of_the_id(tmp_path):
    one, other = ({"problem.augmentation": order} for order in (["rotate", "crop"], ["crop", "rotate"]))
    assert ids(a_plan(tmp_path, one)) != ids(a_plan(tmp_path, other))


def test_a_searched_penalty_reaches_the_run(tmp_path):
    made = a_plan(tmp_path, {"tuning.space": {"regularisation.l2": {"low": 0.1, "high": 0.9}}})
    payload = made.request(TUNE, {"regularisation.l2": 0.5}).spec.payload
    assert payload["problem"]["regularisation"] == {"l1": 0.0, "l2": 0.5}


# Early stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["last", "best_validation"])
@pytest.mark.parametrize("label", [TUNE, FINAL], ids=["tune", "final"])
def test_with_early_stopping_every_run_is_selected_by_its_metric_whatever_compare_says(tmp_path, label, rule):
    made = a_plan(tmp_path, {"problem.early_stopping": {"metric": "loss"}, "compare.epoch": rule})
    select = {"metric": "loss", "direction": "minimize", "rule": "best_validation"}
    assert made.request(label).spec.payload["select"] == select
    assert made.epoch_rule(PROBLEM, "sgd") == "early_stopping"


def test_an_arm_without_early_stopping_is_selected_as_compare_says(tmp_path):
    spelled = [{"name": "never", "optimizer": "sgd"}, {"name": "early", "early_stopping": {"metric": "loss"}}]
    changes = {"arms": None, "arm": spelled, "compare.baseline": "never", "compare.epoch": "last"}
    made = a_plan(tmp_path, changes)
    never, early = (dataclasses.replace(FINAL, arm=arm) for arm in ("never", "early"))
    assert made.request(never).spec.payload["select"]["rule"] == made.epoch_rule(PROBLEM, "never") == "last"
    assert made.request(early).spec.payload["select"]["metric"] == "loss"
    assert "select" not in made.request(dataclasses.replace(TUNE, arm="never")).spec.payload


def test_hyperparameters_reach_parts_and_keys_and_leave_the_setting_as_it_was():
    values = {"batch_size": 30, "optimizer": {"use": "sgd", "lr": 0.1}}
    made = apply(values, {"batch_size": 8, "optimizer.lr": 0.5})
    assert made == {"batch_size": 8, "optimizer": {"use": "sgd", "lr": 0.5}}
    assert values == {"batch_size": 30, "optimizer": {"use": "sgd", "lr": 0.1}}


# Seeds ---------------------------------------------------------------------------------------------------------------


def seeds(made, **changed):
    return made.request(dataclasses.replace(FINAL, **changed)).spec.payload["seeds"]


def test_arms_and_settings_of_a_replicate_share_all_seeds(tmp_path):
    made = a_plan(tmp_path)
    assert seeds(made) == seeds(made, arm="adam") == seeds(made, setting="untuned")


def test_replicates_share_no_seed(tmp_path):
    made = a_plan(tmp_path)
    assert not set(seeds(made).values()) & set(seeds(made, replicate=1).values())


def test_trials_share_seeds_and_repeats_share_the_split_only(tmp_path):
    made = a_plan(tmp_path)
    trial = {"phase": "tune", "trial": 0}
    assert seeds(made, **trial) == seeds(made, **{**trial, "trial": 5})
    one, other = seeds(made, **trial), seeds(made, **trial, repeat=1)
    assert {stream for stream in one if one[stream] == other[stream]} == {"split"}


# Metrics -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "names"), [("accuracy", ["accuracy", "loss"]), ("loss", ["loss", "accuracy"])])
def test_loss_and_accuracy_are_always_measured_the_suites_own_metric_first(tmp_path, metric, names):
    made = a_plan(tmp_path, {"compare.metric": metric})
    assert [found.name for found in made.metrics(PROBLEM)] == names


def test_a_regression_has_no_accuracy(tmp_path):
    regression = DataFacts(240, 100, (4,), None, (), FACTS.fingerprints)
    made = a_plan(tmp_path, {"compare.metric": "loss"}, facts=regression)
    assert [found.name for found in made.metrics(PROBLEM)] == ["loss"]


def test_a_failed_run_counts_as_chance_only_where_there_are_classes(tmp_path):
    regression = DataFacts(240, 100, (4,), None, (), FACTS.fingerprints)
    made = a_plan(tmp_path)
    accuracy, loss = (made.catalog.find("metric", name) for name in ("accuracy", "loss"))
    assert (made.floor(PROBLEM, accuracy), made.floor(PROBLEM, loss)) == (0.5, None)
    assert a_plan(tmp_path, facts=regression).floor(PROBLEM, accuracy) is None


def test_further_metrics_come_after_the_suites_own_and_are_part_of_the_ids(tmp_path):
    plain = a_plan(tmp_path)
    made = a_plan(tmp_path, {"compare.also": ["f1", {"use": "calibration", "bins": 20}]})
    assert [found.name for found in made.metrics(PROBLEM)] == ["accuracy", "f1", "calibration", "loss"]
    label = Label(PROBLEM, "sgd", 0, "final", "tuned")
    spec = made.request(label).spec
    assert spec.payload["metrics"] == {"accuracy": {}, "f1": {}, "calibration": {"bins": 20}, "loss": {}}
    assert {"metric:f1", "metric:calibration"} <= spec.payload["parts"].keys() & made.request(label).origins.keys()
    assert spec.id != plain.request(label).spec.id


def test_the_arm_of_the_report_is_no_part_of_an_id(tmp_path):
    label = Label(PROBLEM, "sgd", 0, "final", "tuned")
    plain, asked = a_plan(tmp_path), a_plan(tmp_path, {"report.arm": "adam"})
    assert asked.suite.report.arm == "adam"
    assert asked.request(label).spec.id == plain.request(label).spec.id


@pytest.mark.parametrize(
    ("classes", "also", "says"),
    [
        (2, ["f1", "mse"], "metric 'mse' needs values, and 'clouds' is a classification"),
        (None, ["mse", "f1"], "metric 'f1' needs classes, and 'clouds' is a regression"),
    ],
)
def test_a_further_metric_that_the_task_does_not_have_is_a_mistake_at_its_place(
    tmp_path, monkeypatch, classes, also, says
):
    plain = {**FACTS.__dict__, "input_shape": [4], "class_names": [], "classes": classes}
    changes = {"compare.metric": "loss", "compare.also": also, "problem.loss": "mse"}
    with pytest.raises(MistakesError) as caught:
        make(tmp_path, monkeypatch, changes, plain)
    (found,) = caught.value.mistakes
    assert (found.code, found.message) == ("wrong-task", says)
    assert found.places[0].text.lstrip().startswith("also = ")
    assert also[0] in found.allowed
    assert also[1] not in found.allowed


@pytest.mark.parametrize(
    "changes",
    [
        {"problem.schedule": {"use": "plateau", "metric": "recall"}},
        {"problem.early_stopping": {"metric": "recall"}},
        {"arms": None, "arm": [{"name": "sgd"}, {"name": "b", "early_stopping": {"metric": "recall"}}]},
    ],
    ids=["schedule", "early stopping", "of another arm"],
)
def test_what_an_arm_watches_is_measured_in_all_arms_of_its_problem(tmp_path, changes):
    made = a_plan(tmp_path, changes)
    assert [found.name for found in made.metrics(PROBLEM)] == ["accuracy", "loss", "recall"]
    assert set(made.request(FINAL).spec.payload["metrics"]) == {"accuracy", "loss", "recall"}
    assert "metric:recall" in made.request(FINAL).origins


def test_a_watched_metric_that_is_measured_anyway_is_measured_once(tmp_path):
    made = a_plan(tmp_path, {"problem.schedule": "plateau", "problem.early_stopping": {"metric": "accuracy"}})
    assert [found.name for found in made.metrics(PROBLEM)] == ["accuracy", "loss"]


# Sizes and facts -----------------------------------------------------------------------------------------------------


def make(folder, monkeypatch, changes, answer=None):
    """`plan.make` with the child's answer about the data given."""
    plain = {**FACTS.__dict__, "input_shape": [4], "class_names": ["left", "right"]}
    monkeypatch.setattr(registry, "ask_cached", lambda questions: [answer or plain] * len(questions))
    described = a_plan(folder, changes)
    return plan.make(described.suite, described.catalog, root=folder)


def test_facts_are_those_that_the_child_found(tmp_path, monkeypatch):
    assert make(tmp_path, monkeypatch, {}).facts == {PROBLEM: FACTS}


@pytest.mark.parametrize(
    ("changes", "key", "found", "most"),
    [
        ({"problem.validation_examples": 240}, "validation_examples", 240, 239),
        ({"problem.train_examples": 161}, "train_examples", 161, 160),
        ({"problem.batch_size": 121}, "batch_size", 121, 120),
        ({"problem.train_examples": None, "problem.batch_size": 161}, "batch_size", 161, 160),
    ],
)
def test_sizes_that_do_not_fit_the_data_are_mistakes_in_the_suite(tmp_path, monkeypatch, changes, key, found, most):
    with pytest.raises(SuiteError) as caught:
        make(tmp_path, monkeypatch, changes)
    assert caught.value.exit_code == 2
    (mistake,) = caught.value.mistakes  # not one for each arm
    assert mistake.code == "out-of-range"
    assert f"{key} is {found}" in mistake.message
    assert mistake.allowed.startswith(f"1 to {most}")
    line = (tmp_path / "suite.toml").read_text().splitlines()[mistake.places[0].line - 1]
    assert line == f"{key} = {found}"
    assert "nothing was run" in str(caught.value)


@pytest.mark.parametrize("changes", [{"problem.train_examples": 160}, {"problem.batch_size": 120}])
def test_sizes_that_just_fit_are_none(tmp_path, monkeypatch, changes):
    assert make(tmp_path, monkeypatch, changes).rows()


@pytest.mark.parametrize(("kind", "error"), [("DataError", DataError), ("PluginError", PluginError), ("", PluginError)])
def test_data_that_cannot_be_had_are_an_error_of_their_own_class(tmp_path, monkeypatch, kind, error):
    with pytest.raises(error, match=r"suite\.toml:\d+:11: dataset 'clouds': not found"):
        make(tmp_path, monkeypatch, {}, child.Failed("not found", kind=kind))


# What the data do not have --------------------------------------------------------------------------------------------

REGRESSION = {**FACTS.__dict__, "input_shape": [4], "classes": None, "class_names": []}
VALUES = {"problem.loss": "mse", "compare.metric": "loss"}


def refused(folder, monkeypatch, changes, answer=None):
    """Code, message, the line that it is shown at, and what is allowed, of the one mistake."""
    with pytest.raises(SuiteError) as caught:
        make(folder, monkeypatch, changes, answer)
    assert caught.value.exit_code == 2
    (mistake,) = caught.value.mistakes  # not one for each arm
    line = mistake.places[0].line
    shown = (folder / "suite.toml").read_text().splitlines()[line - 1] if line else ""
    return mistake.code, mistake.message, shown, mistake.allowed, mistake.help


def test_a_loss_of_labels_is_refused_for_a_regression(tmp_path, monkeypatch):
    changes = {**VALUES, "problem.loss": "cross_entropy"}
    message = "loss 'cross_entropy' needs classes, and 'clouds' is a regression"
    due = ("wrong-task", message, 'loss = "cross_entropy"', "mse", 'write loss = "mse"')
    assert refused(tmp_path, monkeypatch, changes, REGRESSION) == due


def test_a_loss_that_is_only_the_default_is_refused_at_the_data_set(tmp_path, monkeypatch):
    code, message, line, allowed, cure = refused(tmp_path, monkeypatch, {**VALUES, "problem.loss": None}, REGRESSION)
    assert (code, line, allowed, cure) == ("wrong-task", 'dataset = "clouds"', "mse", 'write loss = "mse"')
    assert message.startswith("loss 'cross_entropy' needs classes")


def test_a_compared_metric_of_labels_is_refused_for_a_regression(tmp_path, monkeypatch):
    code, message, line, allowed, _ = refused(tmp_path, monkeypatch, {"problem.loss": "mse"}, REGRESSION)
    assert (code, line, allowed) == ("wrong-task", 'metric = "accuracy"', "loss, mse")
    assert message == "metric 'accuracy' needs classes, and 'clouds' is a regression"


@pytest.mark.parametrize(
    "changes",
    [
        {"problem.early_stopping": {"metric": "recall"}},
        {"problem.schedule": {"use": "plateau", "metric": "recall"}},
        {"arms.early_stopping": ["none", {"metric": "recall"}], "arms.optimizer": None, "compare.baseline": "none"},
        {
            "arms": None,
            "arm": [{"name": "sgd"}, {"name": "b", "early_stopping": {"metric": "recall"}}],
        },
    ],
    ids=["early stopping", "schedule", "axis", "spelled arm"],
)
def test_a_watched_metric_of_labels_is_refused_for_a_regression(tmp_path, monkeypatch, changes):
    code, message, line, allowed, _ = refused(tmp_path, monkeypatch, {**VALUES, **changes}, REGRESSION)
    assert (code, allowed) == ("wrong-task", "loss, mse")
    assert message == "metric 'recall' needs classes, and 'clouds' is a regression"
    assert "recall" in line


def test_a_regression_with_what_it_has_is_a_plan(tmp_path, monkeypatch):
    made = make(tmp_path, monkeypatch, {**VALUES, "problem.early_stopping": {}}, REGRESSION)
    assert [metric.name for metric in made.metrics(PROBLEM)] == ["loss"]


def test_a_loss_of_both_tasks_is_no_mistake_for_labels(tmp_path, monkeypatch):
    assert make(tmp_path, monkeypatch, {"problem.loss": "mse"}).rows()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"problem.augmentation": "rotate"}, 'augmentation = "rotate"'),
        (
            {"arms": {"augmentation": ["none", ["rotate", "crop"]]}, "compare.baseline": "none"},
            'augmentation = ["none", ["rotate", "crop"]]',
        ),
    ],
    ids=["problem", "axis"],
)
def test_augmentation_of_what_is_no_image_is_refused(tmp_path, monkeypatch, changes, line):
    code, message, shown, allowed, _ = refused(tmp_path, monkeypatch, changes)
    assert (code, shown, allowed) == ("wrong-input", line, '"none"')
    assert message == "augmentation needs images (C, H, W), and inputs of 'clouds' have the shape (4,)"


def test_augmentation_of_images_is_no_mistake(tmp_path, monkeypatch):
    images = {**FACTS.__dict__, "input_shape": [1, 8, 8], "class_names": []}
    assert make(tmp_path, monkeypatch, {"problem.augmentation": ["rotate", "crop"]}, images).rows()
