"""Tables: the documented columns, one row for each key, in the plan's order, the same bytes for the same records."""

from __future__ import annotations

import json
import math
import statistics
from types import SimpleNamespace

import pandas as pd
import pytest

from harness import tables
from harness.coordinator import Coordinator
from harness.hookspecs import Choice, Float, Int
from harness.plan import DataFacts
from harness.store import Store
from harness.tables import columns
from harness.tables.csvtext import csv_text
from tests.small import FACTS, Answering, a_plan, failed, ok, share

SPACE = {"tuning.space": {"batch_size": [10, 20], "model.width": {"low": 2, "high": 40}}}
KEYS = {
    "evaluations": ["run_id", "epoch", "split", "metric"],
    "studies": ["study_id"],
    "trials": ["study_id", "trial"],
    "trial_parameters": ["study_id", "trial", "name"],
    "metrics": ["metric"],
    "timings": ["run_id"],
    "epoch_timings": ["run_id", "epoch"],
    "cost": ["problem", "arm"],
}
WALL_CLOCK = ("timings", "epoch_timings", "cost")


def walked(folder, changes=None, answer=ok, *, slots=1, seed=0, facts=FACTS):
    """A plan, and a walk over it that computed everything."""
    plan = a_plan(folder, changes, facts=facts)
    walk = Coordinator(
        plan, Store(folder / f"results-{slots}-{seed}"), executor=Answering(answer, slots=slots, seed=seed)
    ).run()
    counts = walk.counts(plan)
    assert counts["planned"] == counts["ok"] + counts["pruned"] + counts["failed"] + counts["missing"]
    return plan, walk


def built(folder, changes=None, answer=ok, **how):
    return tables.build(*walked(folder, changes, answer, **how))


def spoilt(payload):
    """A third of all runs fails, in all ways."""
    number = share(payload)
    status = ["diverged", "crashed", "oom"][int(number * 9)] if number < 1 / 3 else "ok"
    return ok(payload) if status == "ok" else failed(status)


# Shape ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [ok, spoilt], ids=["all ok", "some failed"])
def test_every_table_has_just_the_declared_columns_with_their_types(tmp_path, answer):
    due = {"string": "object", "integer": "Int64", "number": "float64", "boolean": "boolean", "datetime": "object"}
    made = built(tmp_path, SPACE, answer)
    assert set(made) == set(columns.TABLES) - {"summary", "comparisons"}
    for name, frame in made.items():
        declared = columns.TABLES[name][1]
        assert list(frame.columns) == [column.name for column in declared]
        assert [str(dtype) for dtype in frame.dtypes] == [due[column.type] for column in declared], name
        assert len(frame) > 0 or name == "blocks"  # of suites with a source


@pytest.mark.parametrize("answer", [ok, spoilt], ids=["all ok", "some failed"])
def test_a_cell_is_only_missing_where_its_column_may_be(tmp_path, answer):
    for name, frame in built(tmp_path, SPACE, answer).items():
        for column in columns.TABLES[name][1]:
            missing = frame[column.name].isna() | (frame[column.name].astype(object) == "")
            assert column.empty or not missing.any(), f"{name}.{column.name}"


@pytest.mark.parametrize("table", columns.TABLES)
def test_a_table_without_rows_has_its_columns_and_types_too(table):
    empty, full = tables.frame(table, []), columns.TABLES[table][1]
    assert list(empty.columns) == columns.names(table)
    assert {str(empty[c.name].dtype) for c in full if c.type == "integer"} <= {"Int64"}
    assert {str(empty[c.name].dtype) for c in full if c.type == "number"} <= {"float64"}


def test_no_column_is_named_twice_and_all_are_explained():
    for meaning, declared in columns.TABLES.values():
        assert meaning
        assert len({column.name for column in declared}) == len(declared)
        assert all(column.meaning and not column.name.endswith("?") for column in declared)


@pytest.mark.parametrize("table", KEYS)
def test_each_key_has_one_row(tmp_path, table):
    frame = built(tmp_path, SPACE)[table]
    assert not frame.duplicated(KEYS[table]).any()


def test_runs_have_one_row_for_each_place_of_the_plan_in_its_order(tmp_path):
    runs = built(tmp_path, slots=4, seed=2)["runs"]
    place = ["problem", "arm", "phase", "setting", "replicate", "trial", "repeat"]
    assert not runs.duplicated(place).any()
    expected = runs.assign(
        arm=runs["arm"].map(["sgd", "adam"].index), phase=runs["phase"].map(["tune", "final"].index)
    ).sort_values(place)
    assert expected.index.tolist() == list(range(24))


def test_runs_that_two_arms_share_have_two_rows_in_runs_and_one_set_of_evaluations(tmp_path):
    twins = [{"name": "one", "optimizer": "adam"}, {"name": "two", "optimizer": "adam"}]
    made = built(tmp_path, {"arms": None, "tuning": None, "arm": twins, "compare.baseline": "one"})
    assert len(made["runs"]) == 6
    assert made["runs"]["run_id"].nunique() == made["evaluations"]["run_id"].nunique() == len(made["timings"]) == 3


# Equal bytes ---------------------------------------------------------------------------------------------------------


def test_equal_runs_give_equal_bytes_in_any_order_of_completion(tmp_path):
    changes = {**SPACE, "tuning.trials": 4, "tuning.batch": 2}
    one, other = built(tmp_path, changes, spoilt), built(tmp_path, changes, spoilt, slots=7, seed=5)
    for name in set(one) - set(WALL_CLOCK):
        assert csv_text(one[name]) == csv_text(other[name]), name


def test_clocks_show_in_no_table_but_those_of_wall_clock(tmp_path):
    class Slower(Answering):
        def _outcome(self, job):
            outcome = super()._outcome(job)
            slow = {name: seconds * 3 for name, seconds in outcome.observed["timings"].items() if name != "epochs"}
            observed = {**outcome.observed, "started": "2031-01-01T00:00:00.000000Z", "attempt": 2, "host": "other"}
            return type(outcome)(
                job.id, outcome.result, outcome.environment, {**observed, "timings": {**slow, "epochs": []}}
            )

    plan = a_plan(tmp_path)
    one, other = (
        tables.build(plan, Coordinator(plan, Store(tmp_path / kind.__name__), executor=kind()).run())
        for kind in (Answering, Slower)
    )
    same = {name for name in one if csv_text(one[name]) == csv_text(other[name])}
    assert same == set(one) - set(WALL_CLOCK)


# Runs and evaluations ------------------------------------------------------------------------------------------------


def test_a_run_row_holds_its_record(tmp_path):
    plan, walk = walked(tmp_path)
    entry = next(entry for entry in walk.entries if entry.label.phase == "final")
    row = tables.build(plan, walk)["runs"].set_index("run_id").loc[entry.run_id]
    assert row["seed_init"] == entry.record["spec"]["seeds"]["init"]
    assert (row["selected_epoch"], row["weights_hash"]) == (
        entry.result["selected_epoch"],
        entry.result["weights_hash"],
    )
    assert json.loads(row["hyperparameters"]) == entry.hyperparameters
    assert pd.isna(row["trial"])
    assert pd.isna(row["repeat"])
    assert (row["epochs"], row["steps"], row["examples"]) == (2.0, 8, 240)


def test_a_failed_run_is_a_row_with_its_reason(tmp_path):
    runs = built(tmp_path, {"tuning": None}, lambda payload: failed("oom", "MemoryError"))["runs"]
    assert set(runs["status"]) == {"oom"}
    assert set(runs["reason"]) == {"MemoryError"}
    assert runs["steps"].tolist() == [0] * 6
    assert runs["weights_hash"].isna().all()
    assert runs["seed_split"].notna().all()


def test_a_run_for_want_of_a_setting_has_no_id_and_no_seeds(tmp_path):
    made = built(tmp_path, {"compare.untuned": False}, lambda payload: failed())
    finals = made["runs"][made["runs"]["phase"] == "final"]
    assert finals["run_id"].tolist() == [""] * 6
    assert finals["seed_split"].isna().all()
    assert set(finals["reason"]) == {"no setting: every trial of its study failed"}
    assert len(made["timings"]) == 12


def test_test_scores_stand_at_the_selected_epoch_of_final_runs_only(tmp_path):
    made = built(tmp_path)
    evaluations = made["evaluations"].merge(made["runs"][["run_id", "phase", "selected_epoch"]], on="run_id")
    tested = evaluations[evaluations["split"] == "test"]
    assert set(tested["phase"]) == {"final"}
    assert tested["selected"].all()
    assert (tested["epoch"] == tested["selected_epoch"]).all()
    assert (evaluations["selected"] == (evaluations["epoch"] == evaluations["selected_epoch"])).all()


# Fine-tuning ---------------------------------------------------------------------------------------------------------


def tuned(payload):
    """A result with what a run with a source records; its blocks for final runs alone."""
    final = payload["phase"] == "final"
    blocks = [
        {"block": 0, "parameters": 50, "trained": 0, "multipliers": [None, None], "drift": 0.0},
        {"block": 1, "parameters": 8, "trained": 8, "multipliers": [1.0, 0.1], "drift": None},
    ]
    measured = {"forgetting_kept": 0.25, "stored_bytes": 32, "drift": 0.5, "frozen_intact": True, "blocks": blocks}
    transfer = {
        "source_run": "ab" * 32,
        "source_sha256": "cd" * 32,
        "selection": "ef" * 32,
        "trainable_share": 0.125,
        **dict.fromkeys(TRANSFER),
        **(measured if final else dict.fromkeys(measured)),
        "phases": [["probe", 0, 4], ["", 4, 8]],
    }
    return {**ok(payload), "transfer": transfer}


TRANSFER = ("worst_class_accuracy", "start_accuracy", "forgetting_refit", "saved_bytes", "steps_to_95", "curve_area")


def test_runs_with_a_source_have_what_they_recorded_in_their_rows(tmp_path):
    runs = built(tmp_path, {}, tuned)["runs"]
    assert set(runs["source_run"]) == {"ab" * 32}
    assert set(runs["trainable_share"]) == {0.125}
    assert {json.dumps(json.loads(cell)) for cell in runs["phases"]} == {'[["probe", 0, 4], ["", 4, 8]]'}
    final = runs["phase"] == "final"
    assert set(runs[final]["stored_bytes"]) == {32}
    assert runs[final]["frozen_intact"].all()
    assert runs[~final][["stored_bytes", "forgetting_kept", "frozen_intact"]].isna().all().all()
    assert runs["start_accuracy"].isna().all()


def test_blocks_have_a_row_for_each_block_of_each_final_run(tmp_path):
    made = built(tmp_path, {}, tuned)
    finals, blocks = made["runs"][made["runs"]["phase"] == "final"], made["blocks"]
    assert blocks["run_id"].tolist() == [run_id for run_id in finals["run_id"] for _ in range(2)]
    assert not blocks.duplicated(["problem", "arm", "setting", "replicate", "block"]).any()
    assert blocks["trained"].tolist() == [0, 8] * len(finals)
    assert [json.loads(cell) for cell in blocks["multipliers"][:2]] == [[None, None], [1.0, 0.1]]
    assert blocks["drift"].isna().tolist() == [False, True] * len(finals)


def test_runs_without_a_source_leave_those_cells_empty(tmp_path):
    made = built(tmp_path)
    assert made["blocks"].empty
    assert made["runs"][["source_run", "selection", "phases", "drift", "frozen_intact"]].isna().all().all()


# Finals --------------------------------------------------------------------------------------------------------------


def test_finals_hold_the_test_value_of_each_final_run_and_metric(tmp_path):
    plan, walk = walked(tmp_path)
    finals = tables.finals(plan, walk)
    assert len(finals) == 2 * 2 * 3 * 2  # arms, settings, replicates, metrics
    records = {entry.run_id: entry.record["result"] for entry in walk.entries}
    for row in finals.itertuples():
        expected = [e[5] for e in records[row.run_id]["evaluations"] if e[3] == "test" and e[4] == row.metric]
        assert [row.value] == [row.counted] == expected
    assert set(finals["n_examples"]) == {100}


def test_a_failed_final_counts_as_the_floor_where_there_is_one(tmp_path):
    finals = tables.finals(*walked(tmp_path, {"tuning": None}, lambda payload: failed("diverged")))
    assert finals["value"].isna().all()
    by_metric = finals.groupby("metric")["counted"]
    assert by_metric.unique()["accuracy"].tolist() == [0.5]
    assert math.isnan(by_metric.unique()["loss"][0])
    assert set(finals["status"]) == {"diverged"}


def test_a_run_that_diverged_at_last_counts_as_the_floor_whatever_it_had_reached(tmp_path):
    late = tables.finals(*walked(tmp_path, {"tuning": None}, lambda payload: {**ok(payload), "status": "diverged"}))
    assert late["value"].isna().all()
    assert set(late[late["metric"] == "accuracy"]["counted"]) == {0.5}


def test_a_final_without_a_setting_counts_too(tmp_path):
    finals = tables.finals(*walked(tmp_path, {"compare.untuned": False}, lambda payload: failed()))
    accuracy = finals[finals["metric"] == "accuracy"]
    assert accuracy["counted"].tolist() == [0.5] * 6
    assert set(accuracy["run_id"]) == {""}


# Studies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("loss", -1)])
def test_optimism_is_how_much_better_the_study_looked_than_the_final_run(tmp_path, metric, sign):
    def answer(payload):
        return ok(payload, lambda split, epoch: 0.75 if payload["phase"] == "tune" else 0.5)

    studies = built(tmp_path, {"compare.metric": metric}, answer)["studies"]
    assert studies["optimism"].tolist() == [0.25] * 6
    assert (sign * (studies["best_value"] - studies["final_value"])).tolist() == [0.25] * 6


def test_optimism_is_unknown_where_the_final_run_failed(tmp_path):
    def answer(payload):
        return ok(payload) if payload["phase"] == "tune" else failed()

    studies = built(tmp_path, {}, answer)["studies"]
    assert studies["best_value"].notna().all()
    assert studies[["final_value", "optimism"]].isna().all().all()


WITHIN = {
    "problem.train_examples": None,
    "problem.validation_examples": None,
    "problem.labels_per_class": 30,
    "problem.validation_within": 0.2,
    "problem.epochs": None,
    "problem.steps": 8,
}


def test_where_a_part_of_the_labels_validates_no_study_knows_how_its_final_run_does(tmp_path):
    studies = built(tmp_path, WITHIN)["studies"]
    assert studies["best_value"].notna().all()
    assert studies[["final_value", "optimism"]].isna().all().all()
    assert set(studies["validation"]) == {"within"}


@pytest.mark.parametrize(
    ("changes", "how"),
    [(WITHIN, {"tune": "within", "final": "none"}), ({}, {"tune": "beside", "final": "beside"})],
    ids=["within", "beside"],
)
def test_runs_say_which_examples_they_validate_on(tmp_path, changes, how):
    runs = built(tmp_path, changes)["runs"]
    assert runs.groupby("phase")["validation"].unique().map(list).to_dict() == {k: [v] for k, v in how.items()}


def test_a_study_counts_its_trials_and_names_its_best(tmp_path):
    made = built(tmp_path, {"tuning.trials": 6}, spoilt)
    for row in made["studies"].itertuples():
        trials = made["trials"][made["trials"]["study_id"] == row.study_id]
        assert trials["trial"].tolist() == list(range(6))
        states = trials["state"].value_counts()
        assert (row.trials, row.complete, row.failed) == (6, states.get("complete", 0), states.get("failed", 0))
        best = trials.loc[trials["value"].idxmax()]
        assert (row.best_trial, row.best_value) == (best["trial"], best["value"])
        assert (trials["reason"].notna() == (trials["state"] == "failed")).all()


def test_trials_name_their_runs(tmp_path):
    made = built(tmp_path, {"tuning.repeats": 2})
    ids = {run_id for cell in made["trials"]["run_ids"] for run_id in cell.split(" ")}
    assert ids == set(made["runs"][made["runs"]["phase"] == "tune"]["run_id"])
    assert {cell.count(" ") for cell in made["trials"]["run_ids"]} == {1}


def test_trial_parameters_hold_numbers_as_values_and_the_rest_as_text(tmp_path):
    space = {"optimizer.nesterov": [True, False], "batch_size": [10, 20]}
    only = {"arms.optimizer": ["sgd"], "tuning.space": space, "tuning.trials": 6}
    rows = built(tmp_path, only)["trial_parameters"]
    by_name = dict(list(rows.groupby("name")))
    assert set(by_name["optimizer.nesterov"]["text"]) == {"true", "false"}
    assert by_name["optimizer.nesterov"]["value"].isna().all()
    assert set(by_name["batch_size"]["value"]) == {10.0, 20.0}
    assert by_name["batch_size"][["text", "low", "high", "log", "on_edge"]].isna().all().all()
    rate = by_name["optimizer.lr"]
    assert (set(rate["low"]), set(rate["high"]), set(rate["log"])) == ({1e-3}, {1.0}, {True})


@pytest.mark.parametrize(
    ("domain", "value", "edge"),
    [
        (Float(0, 1), 0.05, True),
        (Float(0, 1), 0.051, False),
        (Float(0, 1), 0.949, False),
        (Float(0, 1), 1.0, True),
        (Float(1e-4, 1, log=True), 1e-4 * 10**0.19, True),
        (Float(1e-4, 1, log=True), 1e-4 * 10**0.21, False),
        (Float(1e-4, 1, log=True), 0.5, False),
        (Float(1e-4, 1, log=True), 0.7, True),
        (Int(1, 10), 1, True),
        (Int(1, 10), 2, False),
        (Choice(8, 16), 8, False),
    ],
)
def test_the_edge_is_5_percent_of_the_range_on_its_scale(domain, value, edge):
    assert tables.on_edge(domain, value) is edge


def test_edges_of_a_study_are_those_of_its_best_trial(tmp_path):
    made = built(tmp_path, {**SPACE, "tuning.trials": 8})
    rows = made["trial_parameters"].merge(made["studies"][["study_id", "best_trial"]], on="study_id")
    chosen = rows[rows["trial"] == rows["best_trial"]]
    expected = chosen.groupby("study_id")["on_edge"].sum()
    assert made["studies"].set_index("study_id")["edges"].to_dict() == expected.to_dict()


# Metrics and cost ----------------------------------------------------------------------------------------------------


def test_metrics_are_described_with_what_a_failed_run_counts_as(tmp_path):
    accuracy, loss = built(tmp_path)["metrics"].to_dict("records")
    assert (accuracy["metric"], accuracy["floor"], accuracy["display"]) == ("accuracy", 0.5, "%")
    assert (loss["metric"], loss["direction"], loss["description"]) == ("loss", "minimize", "The loss.")
    assert math.isnan(loss["floor"])


def test_chance_is_no_floor_of_a_regression(tmp_path):
    regression = DataFacts(240, 100, (4,), None, (), FACTS.fingerprints)
    made = built(tmp_path, {"compare.metric": "loss"}, facts=regression)
    assert made["metrics"]["metric"].tolist() == ["loss"]


def test_costs_are_sums_over_tuning_and_medians_over_final_runs(tmp_path):
    made = built(tmp_path)
    tune = made["runs"][made["runs"]["phase"] == "tune"].merge(made["timings"], on="run_id")
    final = made["runs"][made["runs"]["phase"] == "final"].merge(made["timings"], on="run_id")
    for row in made["cost"].itertuples():
        assert row.tune_seconds == pytest.approx(tune[tune["arm"] == row.arm]["train_seconds"].sum()) == 6 * 1.5
        assert row.train_seconds_median == statistics.median(final[final["arm"] == row.arm]["train_seconds"])
        assert row.comparable


def test_a_run_that_stands_for_several_trials_is_paid_for_once(tmp_path):
    space = {"tuning.trials": 6, "tuning.space": {"batch_size": [10, 20]}, "arms.optimizer": ["plain"]}
    made = built(tmp_path, {**space, "compare.baseline": "plain", "compare.replicates": 2})
    assert len(made["trials"]) == 12
    assert made["cost"]["tune_seconds"].tolist() == [2 * 2 * 1.5]


def test_times_end_where_they_began_and_their_seconds_later(tmp_path):
    timings = built(tmp_path)["timings"]
    assert set(timings["started"]) == {"2024-02-29T23:59:58.500000Z"}
    assert set(timings["ended"]) == {"2024-03-01T00:00:01.000000Z"}
    assert set(timings["environment"]) == {"cpu, AVX2, torch 2.0, 1 threads"}
    assert timings["step_milliseconds"].isna().all()  # of records of an earlier harness


def test_runs_without_clocks_have_empty_cells(tmp_path):
    made = built(tmp_path, {"tuning": None}, lambda payload: failed("crashed"))
    assert made["timings"][["started", "ended", "train_seconds"]].isna().all().all()
    assert made["timings"]["attempt"].tolist() == [3] * 6
    assert made["cost"]["train_seconds_median"].isna().all()
    assert made["epoch_timings"].empty


@pytest.mark.parametrize("odd", ["overlapped", "environment"])
def test_times_of_overlapped_runs_and_of_mixed_machines_cannot_be_compared(tmp_path, odd):
    class Mixed(Answering):
        def _outcome(self, job):
            outcome = super()._outcome(job)
            if share(job.payload) < 0.5:
                return outcome
            if odd == "overlapped":
                return type(outcome)(
                    job.id, outcome.result, outcome.environment, {**outcome.observed, "overlapped": True}
                )
            return type(outcome)(job.id, outcome.result, {**outcome.environment, "device": "cuda"}, outcome.observed)

    plan = a_plan(tmp_path)
    walk = Coordinator(plan, Store(tmp_path / "r"), executor=Mixed()).run()
    assert tables.build(plan, walk)["cost"]["comparable"].tolist() == [False, False]


@pytest.mark.parametrize(
    ("status", "reason", "counted"),
    [("diverged", None, 0.5), ("not_applicable", "no norm layer", None), ("crashed", "source_failed: oom", None)],
)
def test_a_run_that_says_nothing_of_its_arm_does_not_count_at_the_floor(status, reason, counted):
    metric = SimpleNamespace(name="accuracy", extra={"floor": "chance"})
    plan = SimpleNamespace(floor=lambda problem, metric: 0.5, tested=lambda problem: 100)
    result = {"status": status, "reason": reason, "evaluations": []}
    label = SimpleNamespace(problem="p", arm="a", setting="tuned", replicate=0)
    row = tables._final(plan, SimpleNamespace(label=label, result=result, run_id="r"), metric)
    assert (row["value"], row["counted"], row["status"]) == (None, counted, status)
