"""Walking a plan: everything is counted, nothing is done twice, and no order of completion shows in the end."""

from __future__ import annotations

import random

import pytest

from harness.coordinator import Coordinator
from harness.errors import DataError, ResultsError
from harness.store import Store
from tests.small import Answering, a_plan, failed, ok, share


def walk(plan, folder, executor=None, notify=None):
    """One walk; that planned = ok + pruned + failed + missing is asserted of every one."""
    made = Coordinator(plan, Store(folder), executor=executor, notify=notify).run()
    counts = made.counts(plan)
    assert counts["planned"] == counts["ok"] + counts["pruned"] + counts["failed"] + counts["missing"]
    assert min(counts.values()) >= 0
    return made


def counts(plan, made):
    found = made.counts(plan)
    return tuple(found[name] for name in ("planned", "ok", "failed", "missing"))


def tuned_finals(made):
    return [entry for entry in made.entries if (entry.label.setting, entry.label.phase) == ("tuned", "final")]


def described(made):
    return [(entry.label, entry.run_id, entry.result, dict(entry.hyperparameters)) for entry in made.entries]


# Counting ------------------------------------------------------------------------------------------------------------


def test_a_walk_does_every_run_of_the_plan(tmp_path):
    plan = a_plan(tmp_path)
    made = walk(plan, tmp_path / "r", Answering())
    # 2 arms x 3 replicates x (2 trials + 1 final + 1 untuned)
    assert counts(plan, made) == (24, 24, 0, 0)
    assert made.computed == 24
    assert len(list(Store(tmp_path / "r").ids())) == 24
    assert len(made.studies) == 6


def test_without_an_executor_all_that_is_not_recorded_is_missing(tmp_path):
    plan = a_plan(tmp_path)
    made = walk(plan, tmp_path / "r")
    assert counts(plan, made) == (24, 0, 0, 24)
    assert (made.entries, made.studies) == ([], [])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("kept", [0, 1, 5, 11, 23])
def test_a_walk_over_part_of_the_records_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, kept):
    plan = a_plan(tmp_path)
    whole = walk(plan, tmp_path / "whole", Answering())
    store = Store(tmp_path / "part")
    for run_id in random.Random(kept).sample([entry.run_id for entry in whole.entries], kept):
        store.write(Store(tmp_path / "whole").read(run_id))
    before = walk(plan, tmp_path / "part")
    executor = Answering()
    after = walk(plan, tmp_path / "part", executor)
    assert counts(plan, before)[0] == 24
    assert counts(plan, before)[1] <= kept
    assert len(executor.done) == after.computed == 24 - kept
    assert described(after) == described(whole)
    assert after.studies == whole.studies


def test_a_second_walk_computes_nothing_and_knows_the_same(tmp_path):
    plan = a_plan(tmp_path)
    first = walk(plan, tmp_path / "r", Answering())
    again = walk(plan, tmp_path / "r", executor := Answering())
    assert (again.computed, executor.done) == (0, [])
    assert described(again) == described(first)


def test_failed_runs_are_counted_and_the_rest_is_done(tmp_path):
    plan = a_plan(tmp_path)

    def answer(payload):
        return failed("diverged") if payload["phase"] == "final" and share(payload) < 0.5 else ok(payload)

    made = walk(plan, tmp_path / "r", Answering(answer))
    planned, fine, spoilt, missing = counts(plan, made)
    assert (planned, missing) == (24, 0)
    assert spoilt == sum(entry.result["status"] == "diverged" for entry in made.entries) > 0
    assert fine == 24 - spoilt


@pytest.mark.parametrize(("claim", "planned", "trials"), [("method", 24, 6), ("setting", 16, 2)])
def test_final_runs_for_which_no_trial_left_a_setting_are_failed_and_never_begun(tmp_path, claim, planned, trials):
    plan = a_plan(tmp_path, {"compare.claim": claim})

    def answer(payload):
        tuned_sgd = payload["phase"] == "tune" and payload["problem"]["optimizer"]["use"] == "sgd"
        return failed("oom") if tuned_sgd else ok(payload)

    made = walk(plan, tmp_path / "r", executor := Answering(answer))
    lost = [entry for entry in made.entries if entry.record is None]
    assert counts(plan, made) == (planned, planned - trials - 3, trials + 3, 0)
    assert [entry.label.replicate for entry in lost] == [0, 1, 2]
    assert {entry.result["reason"] for entry in lost} == {"no setting: every trial of its study failed"}
    assert {(entry.label.arm, entry.label.setting, entry.run_id) for entry in lost} == {("sgd", "tuned", "")}
    assert len(executor.done) == planned - 3


def test_final_runs_of_a_study_that_never_had_weights_to_start_from_have_that_reason(tmp_path):
    plan = a_plan(tmp_path)
    fallen = {"status": "crashed", "reason": "source_failed: diverged: loss is nan", "evaluations": []}

    def answer(payload):
        tuned_sgd = payload["phase"] == "tune" and payload["problem"]["optimizer"]["use"] == "sgd"
        return fallen if tuned_sgd else ok(payload)

    made = walk(plan, tmp_path / "r", Answering(answer))
    lost = [entry for entry in made.entries if entry.record is None]
    assert [(entry.label.arm, entry.label.setting, entry.label.replicate) for entry in lost] == [
        ("sgd", "tuned", replicate) for replicate in range(3)
    ]
    assert all(entry.result == fallen for entry in lost)


def test_a_study_with_one_trial_that_failed_by_itself_has_no_setting_by_itself(tmp_path):
    plan = a_plan(tmp_path)

    def answer(payload):
        if payload["phase"] != "tune" or payload["problem"]["optimizer"]["use"] != "sgd":
            return ok(payload)
        own = share(payload) < 0.5
        return failed("oom") if own else {**failed("crashed"), "reason": "source_failed: weights are gone"}

    made = walk(plan, tmp_path / "r", Answering(answer))
    by_replicate = {study.replicate: [t.reason for t in study.trials] for study in made.studies if study.arm == "sgd"}
    mixed = [r for r, reasons in by_replicate.items() if len({reason[:3] for reason in reasons}) == 2]
    lost = {entry.label.replicate: entry.result for entry in made.entries if entry.record is None}
    assert mixed
    assert all(lost[r]["reason"] == "no setting: every trial of its study failed" for r in mixed)


def test_without_tuning_every_run_is_a_given_final_one(tmp_path):
    plan = a_plan(tmp_path, {"tuning": None})
    made = walk(plan, tmp_path / "r", Answering())
    assert counts(plan, made) == (6, 6, 0, 0)
    assert {(entry.label.phase, entry.label.setting) for entry in made.entries} == {("final", "given")}
    assert made.studies == []


def test_the_untuned_row_can_be_left_out(tmp_path):
    plan = a_plan(tmp_path, {"compare.untuned": False})
    made = walk(plan, tmp_path / "r", Answering())
    assert counts(plan, made) == (18, 18, 0, 0)
    assert {entry.label.setting for entry in made.entries} == {"tuned"}


# Claims --------------------------------------------------------------------------------------------------------------


def test_claim_setting_has_one_study_an_arm_and_its_choice_in_all_final_runs(tmp_path):
    plan = a_plan(tmp_path, {"compare.claim": "setting", "tuning.trials": 4})
    made = walk(plan, tmp_path / "r", Answering(slots=3))
    assert counts(plan, made) == (2 * (4 + 3 + 3), 20, 0, 0)
    assert [(study.arm, study.replicate) for study in made.studies] == [("sgd", 0), ("adam", 0)]
    for study in made.studies:
        finals = [entry for entry in tuned_finals(made) if entry.label.arm == study.arm]
        assert [entry.label.replicate for entry in finals] == [0, 1, 2]
        assert {str(entry.hyperparameters) for entry in finals} == {str(study.best.hyperparameters)}
        assert len({entry.run_id for entry in finals}) == 3


def test_claim_method_gives_each_replicate_the_choice_of_its_own_study(tmp_path):
    plan = a_plan(tmp_path, {"tuning.trials": 4})
    made = walk(plan, tmp_path / "r", Answering(slots=3))
    chosen = {(study.arm, study.replicate): study.best.hyperparameters for study in made.studies}
    assert len({str(value) for value in chosen.values()}) == 6
    assert {(e.label.arm, e.label.replicate): e.hyperparameters for e in tuned_finals(made)} == chosen


# Nothing twice -------------------------------------------------------------------------------------------------------


def test_arms_that_are_the_same_computation_share_their_runs(tmp_path):
    twins = [{"name": "one", "optimizer": "adam"}, {"name": "two", "optimizer": "adam"}]
    plan = a_plan(tmp_path, {"arms": None, "arm": twins, "tuning": None, "compare.baseline": "one"})
    made = walk(plan, tmp_path / "r", executor := Answering(slots=4))
    assert counts(plan, made) == (6, 6, 0, 0)
    assert (made.computed, len(executor.done)) == (3, 3)
    ids = {arm: [e.run_id for e in made.entries if e.label.arm == arm] for arm in ("one", "two")}
    assert ids["one"] == ids["two"]


@pytest.mark.parametrize("batch", [1, 6])
def test_a_setting_that_is_tried_again_is_spent_but_not_done_again(tmp_path, batch):
    space = {
        "tuning.trials": 6,
        "tuning.batch": batch,
        "tuning.space": {"batch_size": [10, 20]},
        "arms.optimizer": ["plain"],
    }
    plan = a_plan(tmp_path, {**space, "compare.baseline": "plain", "compare.replicates": 1, "compare.untuned": False})
    made = walk(plan, tmp_path / "r", executor := Answering(slots=3))
    assert counts(plan, made) == (7, 7, 0, 0)
    tries = [entry for entry in made.entries if entry.label.phase == "tune"]
    assert [entry.label.trial for entry in tries] == list(range(6))
    assert len({entry.run_id for entry in tries}) == 2
    assert len(executor.done) == made.computed == 3


def test_an_untuned_run_with_the_chosen_setting_is_the_same_run(tmp_path):
    only = {"tuning.space": {"batch_size": [30, 40]}, "arms.optimizer": ["plain"], "compare.baseline": "plain"}
    plan = a_plan(tmp_path, {**only, "compare.replicates": 2, "tuning.trials": 8})

    def answer(payload):
        return ok(payload, lambda split, epoch: 0.9 if payload["problem"]["batch_size"] == 30 else 0.1)

    made = walk(plan, tmp_path / "r", Answering(answer))
    finals = [(e.label.setting, e.run_id) for e in made.entries if e.label.phase == "final"]
    tuned, untuned = ([run_id for setting, run_id in finals if setting == wanted] for wanted in ("tuned", "untuned"))
    assert tuned == untuned
    assert made.computed == 2 * (2 + 1)


# Order ---------------------------------------------------------------------------------------------------------------


def test_no_order_of_completion_and_no_number_of_slots_shows_in_the_end(tmp_path):
    plan = a_plan(tmp_path, {"tuning.trials": 4, "tuning.batch": 2, "tuning.repeats": 2})
    expected = walk(plan, tmp_path / "one", Answering())
    for seed in range(5):
        executor = Answering(slots=1 + seed, seed=seed)
        made = walk(plan, tmp_path / f"r{seed}", executor)
        assert described(made) == described(expected)
        assert made.studies == expected.studies
        assert executor.most <= executor.slots


def test_many_slots_are_filled_by_the_many_studies(tmp_path):
    plan = a_plan(tmp_path)
    walk(plan, tmp_path / "r", executor := Answering(slots=6))
    assert executor.most == 6


def test_entries_stand_in_the_plans_order(tmp_path):
    made = walk(a_plan(tmp_path), tmp_path / "r", Answering(slots=5, seed=3))
    places = [(e.label.arm, e.label.phase, e.label.setting, e.label.replicate, e.label.trial) for e in made.entries]
    expected = []
    for arm in ("sgd", "adam"):
        expected += [(arm, "tune", "tuned", replicate, trial) for replicate in range(3) for trial in range(2)]
        expected += [
            (arm, "final", setting, replicate, None) for setting in ("tuned", "untuned") for replicate in range(3)
        ]
    assert places == expected


def test_each_entry_is_told_once_and_whether_it_was_done_just_now(tmp_path):
    plan, told = a_plan(tmp_path), []
    walk(plan, tmp_path / "r", Answering(slots=4), notify=lambda entry, fresh: told.append((entry.label, fresh)))
    assert len(told) == len({label for label, _ in told}) == 24
    assert all(fresh for _, fresh in told)
    told.clear()
    walk(plan, tmp_path / "r", notify=lambda entry, fresh: told.append((entry.label, fresh)))
    assert len(told) == 24
    assert not any(fresh for _, fresh in told)


# Records -------------------------------------------------------------------------------------------------------------


def test_every_outcome_is_recorded_before_the_next_is_asked_for(tmp_path):
    plan = a_plan(tmp_path)

    class Checking(Answering):
        def submit(self, job):
            assert all(Store(tmp_path / "r").read(done.id) is not None for done in self.done)
            super().submit(job)

    walk(plan, tmp_path / "r", Checking(slots=2))


def test_an_interruption_keeps_what_was_done(tmp_path):
    plan = a_plan(tmp_path)

    class Interrupted(Answering):
        def wait(self, seconds):
            if len(self.done) >= 7:
                raise KeyboardInterrupt
            return super().wait(seconds)

    with pytest.raises(KeyboardInterrupt):
        walk(plan, tmp_path / "r", Interrupted())
    assert counts(plan, walk(plan, tmp_path / "r")) == (24, 7, 0, 17)


def test_data_that_changed_stop_the_walk_and_leave_no_record(tmp_path):
    plan = a_plan(tmp_path)
    with pytest.raises(DataError, match="the train split changed"):
        walk(plan, tmp_path / "r", Answering(lambda payload: failed("data_changed", "the train split changed")))
    assert list(Store(tmp_path / "r").ids()) == []


def test_weights_that_cannot_be_written_stop_the_walk_and_leave_no_record(tmp_path):
    plan = a_plan(tmp_path)
    with pytest.raises(ResultsError, match="cannot write weights/a"):
        walk(plan, tmp_path / "r", Answering(lambda payload: failed("unwritable", "cannot write weights/a")))
    assert list(Store(tmp_path / "r").ids()) == []


def test_entries_show_what_the_arm_searches_with_the_values_of_the_run(tmp_path):
    plan = a_plan(tmp_path)
    made = walk(plan, tmp_path / "r", Answering())
    untuned = {e.label.arm: e.hyperparameters for e in made.entries if e.label.setting == "untuned"}
    assert untuned == {"sgd": {"optimizer.lr": 0.01}, "adam": {"optimizer.lr": 0.001}}
    for study in made.studies:
        place = ("tune", study.arm, study.replicate)
        tried = [e for e in made.entries if (e.label.phase, e.label.arm, e.label.replicate) == place]
        assert [entry.hyperparameters for entry in tried] == [trial.hyperparameters for trial in study.trials]
