"""Studies that are cut short or taken up again: pruned trials, and what was asked before."""

from __future__ import annotations

import json
import math

import optuna
import pytest

from harness import pruning, tune
from harness.coordinator import Coordinator
from harness.hookspecs import Choice, Float, Int
from harness.plan import Label
from harness.store import Store
from harness.tune.asking import Asker, Method, Told, rebuild
from harness.tune.memo import Memo
from tests.small import Answering, a_plan, failed, ok, share

SPACE = {
    "optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True},
    "batch_size": [8, 16, 32],
    "model.width": {"low": 2, "high": 20},
}
LABEL = Label("clouds-line", "sgd", 0, "tune", "tuned")
PRUNERS = ("median", "halving", "hyperband", "wilcoxon")
SAMPLERS = ("random", "tpe", "qmc", "gp")


def planned(folder, pruner="none", *, epochs=4, **changes):
    """A plan of runs with so many evaluations; with `wilcoxon`, of trials with six repeats."""
    dotted = {name if "." in name else f"tuning.{name}": value for name, value in changes.items()}
    repeats = {"tuning.repeats": 6} if pruner == "wilcoxon" else {}
    base = {"tuning.space": SPACE, "tuning.pruner": pruner, "problem.epochs": epochs}
    return a_plan(folder, {**base, **repeats, **dotted})


def curved(payload):
    """Validation accuracy that rises with the epochs, to a value that has its best at lr = 0.03 and width 9."""
    problem = payload["problem"]
    away = abs(math.log10(problem["optimizer"]["lr"] / 0.03)) / 3 + abs(problem["model"].get("width", 8) - 9) / 20
    top = 1 - away / 2 - share({"seeds": payload["seeds"]}) / 50
    return ok(payload, lambda split, epoch: top * (1 - 0.5**epoch), epochs=problem["epochs"])


def drive(plan, answer=curved, *, memo=None, batches=None):
    """Run the coroutine to its end, or for so many rounds; the study and the runs it asked for."""
    coroutine, asked = tune.tune(plan, LABEL, memo), []
    try:
        asked.append(next(coroutine))
        while batches is None or len(asked) <= batches:
            asked.append(coroutine.send([answer(request.spec.payload) for request in asked[-1]]))
    except StopIteration as stop:
        return stop.value, asked
    coroutine.close()
    return None, asked


def ids(asked):
    return [[request.spec.id for request in batch] for batch in asked]


# What was there before -----------------------------------------------------------------------------------------------


def test_without_a_pruner_runs_have_the_ids_that_they_had_before_there_were_pruners(tmp_path):
    # Recorded by the version before pruners.
    plan = a_plan(tmp_path, {"tuning.space": SPACE, "tuning.trials": 4})
    setting = {"optimizer.lr": 0.125, "batch_size": 16, "model.width": 5}
    tuned = plan.request(Label("clouds-line", "sgd", 0, "tune", "tuned", 0, 0), setting)
    final = plan.request(Label("clouds-line", "sgd", 0, "final", "tuned"), setting)
    assert tuned.spec.id == "10ae3f0ba4528a0838a0af5724f0fde3015479004da2fb0bc834d4b3be352427"
    assert final.spec.id == "7673d999f82959497a8d1f1d219b2a562ada8db7b863ec560dae9389c20f6533"
    assert tune.study_key(plan, LABEL) == "a610f4bc5dbc26c9e291bb3b7aea3fe0f4a4f54ec0ae1f9630ea6be3a9ee2eb2"


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        ("random", [(0.5175455248255089, 8, 4), (0.0282064910771936, 8, 14), (0.0032058655284623976, 32, 9)]),
        ("tpe", [(0.5175455248255089, 8, 4), (0.0282064910771936, 8, 14), (0.0032058655284623976, 32, 9)]),
        ("qmc", [(0.005478356752378084, 32, 19), (0.005504263435020546, 16, 3), (0.09965452410161749, 16, 19)]),
    ],
)
def test_without_a_pruner_the_first_settings_are_those_of_before(tmp_path, sampler, settings):
    study, _ = drive(a_plan(tmp_path, {"tuning.space": SPACE, "tuning.trials": 3, "tuning.sampler": sampler}))
    found = [tuple(trial.hyperparameters[name] for name in SPACE) for trial in study.trials]
    assert found == [(pytest.approx(lr, rel=1e-9), size, width) for lr, size, width in settings]


# Going on ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", ["none", *PRUNERS])
@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_resumed_study_equals_an_uninterrupted_one_with_its_memo_and_without(tmp_path, pruner, sampler, batch):
    plan = planned(tmp_path, pruner, trials=9, sampler=sampler, batch=batch)
    whole, asked = drive(plan)
    path = tmp_path / "memo.json"
    drive(plan, memo=Memo(path, keep=True), batches=len(asked) // 2)
    for memo in (Memo(path), None, Memo(path, keep=True), Memo(path)):
        again, requests = drive(plan, memo=memo)
        assert (again, ids(requests)) == (whole, ids(asked))
    if pruner != "none":
        assert {trial.state for trial in whole.trials} == {"complete", "pruned"}


def test_a_resumed_study_of_gaussian_processes_equals_an_uninterrupted_one(tmp_path):
    # Optuna's Gaussian process learns from complete trials alone; the sixth is the first that is modelled.
    plan = planned(tmp_path, "median", trials=6, sampler="gp")
    whole, asked = drive(plan)
    path = tmp_path / "memo.json"
    drive(plan, memo=Memo(path, keep=True), batches=5)
    again, requests = drive(plan, memo=Memo(path))
    assert (again, ids(requests)) == (whole, ids(asked))


@pytest.mark.parametrize("pruner", PRUNERS)
def test_more_trials_begin_with_the_same_ones(tmp_path, pruner):
    path = tmp_path / "memo.json"
    few, asked = drive(planned(tmp_path, pruner, trials=7, batch=2), memo=Memo(path, keep=True))
    many, more = drive(planned(tmp_path, pruner, trials=12, batch=2), memo=Memo(path, keep=True))
    assert many == drive(planned(tmp_path, pruner, trials=12, batch=2))[0]
    assert many.trials[:6] == few.trials[:6]
    assert many.trials[6] == few.trials[6]  # the last batch of the shorter study was not full
    assert {one for batch in ids(asked) for one in batch} <= {one for batch in ids(more) for one in batch}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_any_number_of_workers_gives_the_same_walk(tmp_path, pruner):
    plan = planned(tmp_path, pruner, trials=10 if pruner == "median" else 6, batch=2, **{"compare.replicates": 1})
    walks = []
    for slots in (1, 2, 4):
        executor = Answering(curved, slots=slots, seed=slots)
        made = Coordinator(plan, Store(tmp_path / f"r{slots}"), executor=executor).run()
        found = made.counts(plan)
        assert found["planned"] == found["ok"] + found["pruned"]
        assert found["pruned"] > 0
        entries = [(entry.label, entry.run_id, entry.result, dict(entry.hyperparameters)) for entry in made.entries]
        walks.append((entries, made.studies, found))
    assert walks[0] == walks[1] == walks[2]


# Pruned trials -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_thresholds_come_from_earlier_batches_alone(tmp_path, pruner):
    plan = planned(tmp_path, pruner, trials=15, batch=3)
    study, asked = drive(plan)
    prunes = [[request.spec.payload.get("prune") for request in batch] for batch in asked]
    assert prunes[0] == [None] * 3
    for number, trial in enumerate(study.trials):
        past = [pruning.Past(t.number, t.state == "complete", t.curves[0]) for t in study.trials[: number // 3 * 3]]
        assert prunes[number // 3][number % 3] == pruning.payload(
            pruner, past, metric="accuracy", direction="maximize", times=4, study=study.id, number=trial.number
        )
    assert any(prune for batch in prunes for prune in batch)


def test_a_pruned_trial_is_spent_and_told_and_never_chosen(tmp_path):
    tops = iter([0.5, 0.25, 0.75])

    def answer(payload):
        top = next(tops)
        # The second rises above all others, but is stopped before.
        curve = {1: top, 2: top, 3: 1.0 if top == 0.25 else top}
        return ok(payload, lambda split, epoch: curve[epoch], epochs=3)

    study, _ = drive(planned(tmp_path, "halving", epochs=3, trials=3), answer)
    assert [trial.state for trial in study.trials] == ["complete", "pruned", "complete"]
    assert [trial.value for trial in study.trials] == [0.5, None, 0.75]
    assert (study.trials[1].pruned_epoch, study.trials[1].told, study.trials[1].reported) == (1.0, 0.25, (0.25,))
    assert study.trials[1].reason == "validation accuracy 0.25 at evaluation 1 was worse than 0.5"
    assert study.best is study.trials[2]


def test_a_repeat_is_judged_against_the_same_repeat_and_one_that_is_pruned_prunes_its_trial(tmp_path):
    values = iter([0.5, 0.25, 0.375, 0.375])
    answer = lambda payload: (lambda value: ok(payload, lambda split, epoch: value, epochs=3))(next(values))  # noqa: E731
    study, asked = drive(planned(tmp_path, "halving", epochs=3, trials=2, repeats=2), answer)
    thresholds = [request.spec.payload["prune"]["thresholds"] for request in asked[1]]
    assert thresholds == [[0.5, None, None], [0.25, None, None]]
    assert study.trials[1].state == "pruned"
    assert study.trials[1].curves == ((0.375,), (0.375, 0.375, 0.375))
    assert study.trials[1].reported == (0.375,)


def test_a_failed_trial_prunes_nobody(tmp_path):
    def answer(payload):
        failing = "prune" not in payload and not seen
        seen.append(payload)
        good = ok(payload, lambda split, epoch: 0.9 if failing else 0.1, epochs=4)
        return {**failed("diverged", "nan"), "evaluations": good["evaluations"]} if failing else good

    seen = []
    study, _ = drive(planned(tmp_path, "halving", trials=2), answer)
    assert [trial.state for trial in study.trials] == ["failed", "complete"]


def test_wilcoxon_spares_the_repeats_of_a_hopeless_trial(tmp_path):
    plan = planned(tmp_path, "wilcoxon", trials=2, **{"compare.replicates": 1, "compare.untuned": False})
    values = {}

    def answer(payload):
        key = (payload["problem"]["optimizer"]["use"], json.dumps(payload["problem"], sort_keys=True))
        rank = values.setdefault(key, len([k for k in values if k[0] == key[0]]))
        return ok(payload, lambda split, epoch: 0.9 - 0.4 * rank + share(payload["seeds"]) / 100)

    made = Coordinator(plan, Store(tmp_path / "r"), executor=Answering(answer)).run()
    for study in made.studies:
        assert [len(trial.run_ids) for trial in study.trials] == [6, 4]
        assert (study.trials[1].state, study.trials[1].pruned_epoch) == ("pruned", None)
        assert study.trials[1].reason == "wilcoxon: hopeless after 4 of 6 repeats"
        assert len(study.trials[1].reported) == 4
    # of 2 arms, 2 trials of 6 repeats and a final run each
    assert made.counts(plan) == {"planned": 26, "ok": 22, "pruned": 4, "failed": 0, "missing": 0}
    spared = [entry for entry in made.entries if entry.run_id == ""]
    assert [(entry.label.trial, entry.label.repeat) for entry in spared] == [(1, 4), (1, 5)] * 2


@pytest.mark.parametrize("repeats", [5, 7])
def test_wilcoxon_stops_where_scipys_test_says_so(tmp_path, repeats):
    from scipy.stats import wilcoxon

    method = Method("key", "maximize", {"x": Float(0, 1)}, "random", "wilcoxon", trials=9)
    best, others = [0.5 + 0.01 * n for n in range(repeats)], [0.49, 0.6, 0.5, 0.48, 0.51, 0.3, 0.2]
    asker = Asker(method, Memo())
    asker.ask(1)
    asker.tell([Told({"x": 0.5}, sum(best) / len(best), tuple(best))])
    for done in range(4, repeats):
        for shift in (0.0, -0.02, -0.05, -0.3):
            values = [value + shift for value in others[:done]]
            differences = [value - top for value, top in zip(values, best, strict=False)]
            p = wilcoxon(differences, alternative="less", zero_method="zsplit").pvalue
            assert asker.hopeless([values]) == [p < 0.1 and sum(values) / done < sum(best) / len(best)]


# Optuna's view -------------------------------------------------------------------------------------------------------

HISTORY = [
    Told({"a": 0.5, "b": 3, "c": "x"}, 0.75, (0.5, 0.75)),
    Told({"a": 0.25, "b": 2, "c": "y"}, None, (0.25,), pruned=True),
    Told({"a": 0.125, "b": 1, "c": "x"}, None),
    Told({"a": 1.0, "b": 4, "c": "y"}, 0.5),
]
AREA = {"a": Float(0.01, 1.0, log=True), "b": Int(1, 9), "c": Choice("x", "y")}


def test_a_trial_that_is_put_back_is_the_one_that_was_told():
    live = optuna.create_study(direction="maximize")
    for told in HISTORY:
        live.enqueue_trial(dict(told.setting))
    asker = Asker(Method("key", "maximize", AREA, "random"), Memo())
    asker._study = live
    asker.ask(len(HISTORY))
    asker.tell(HISTORY)
    put_back = rebuild("key", "maximize", AREA, HISTORY)
    names = ("number", "state", "value", "params", "distributions", "intermediate_values")
    seen = [[[getattr(trial, name) for name in names] for trial in study.trials] for study in (live, put_back)]
    assert seen[0] == seen[1]
    assert [trial.state.name for trial in put_back.trials] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert put_back.best_trial.number == 0


def test_a_model_of_hyperbands_brackets_learns_from_its_own_bracket(monkeypatch):
    seen = []
    real = optuna.samplers.TPESampler.sample_relative

    def watched(self, study, trial, space):
        seen.append((trial.number, {one.number for one in study.get_trials(deepcopy=False)}))
        return real(self, study, trial, space)

    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_relative", watched)
    method = Method("key", "maximize", {"x": Float(0, 1)}, "tpe", "hyperband", trials=12, evaluations=9)
    asker = Asker(method, Memo())
    for number in range(12):
        (setting,) = asker.ask(1)
        asker.tell([Told(setting, number / 12)])
    brackets = {number: pruning.bracket("key", number, 9) for number in range(12)}
    assert len(set(brackets.values())) > 1
    for number, known in seen:
        assert known == {one for one in range(number + 1) if brackets[one] == brackets[number]}
    assert method.startup == 2  # of five, in three brackets


# Memo ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", ["none", "hyperband", "wilcoxon"])
def test_a_study_that_is_remembered_is_walked_without_asking(tmp_path, monkeypatch, pruner):
    plan = planned(tmp_path, pruner, trials=6, **{"compare.replicates": 1})
    first = Coordinator(plan, Store(tmp_path / "r"), executor=Answering(curved)).run()
    monkeypatch.setattr(Asker, "_caught_up", lambda self: pytest.fail("Optuna was asked"))
    again = Coordinator(plan, Store(tmp_path / "r")).run()
    assert again.studies == first.studies
    assert again.counts(plan)["missing"] == 0


@pytest.fixture
def remembered(tmp_path):
    """A plan, its study, and the file that remembers it."""
    plan, path = planned(tmp_path, "median", trials=6, sampler="random"), tmp_path / "memo.json"
    study, _ = drive(plan, memo=Memo(path, keep=True))
    return plan, study, path


def test_a_damaged_memo_is_none(remembered, monkeypatch):
    plan, study, path = remembered
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            path.write_bytes(bad)
            assert Memo(path).get(tune.method(plan, LABEL).question()) is None
    path.write_bytes(good[: len(good) // 2])
    assert drive(plan, memo=Memo(path, keep=True))[0] == study
    assert path.read_bytes() == good


@pytest.mark.parametrize("text", ["", "[]", "7", '{"answers": []}', '{"answers": {}, "sha256": 7}', "[" * 100_000])
def test_what_is_no_memo_is_none(remembered, text):
    plan, study, path = remembered
    path.write_text(text)
    assert drive(plan, memo=Memo(path))[0] == study


def test_a_memo_that_is_no_regular_file_is_not_read(remembered, tmp_path):
    plan, study, path = remembered
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert Memo(link).get(tune.method(plan, LABEL).question()) is None
    assert drive(plan, memo=Memo(link))[0] == study


@pytest.mark.parametrize(
    "answer",
    [[], [{}], {}, "text", [{"optimizer.lr": 9.0, "batch_size": 8, "model.width": 4}], [{"optimizer.lr": 0.1}], [7]],
)
def test_an_answer_that_does_not_fit_is_asked_again(remembered, tmp_path, answer):
    plan, study, _ = remembered
    memo = Memo(tmp_path / "other.json", keep=True)
    memo.put(tune.method(plan, LABEL).question(), answer)
    assert drive(plan, memo=Memo(tmp_path / "other.json"))[0] == study


def test_another_history_finds_nothing_in_the_memo(remembered):
    plan, study, path = remembered
    memo = Memo(path)
    other, _ = drive(plan, lambda payload: ok(payload, lambda split, epoch: 0.5, epochs=4), memo=memo)
    # Only the first question is the same: nothing was told before it.
    assert len(set(memo._read) & set(memo._used)) == 1
    assert other.trials[0].hyperparameters == study.trials[0].hyperparameters


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"}, {"direction": "minimize"}, {"space": {"x": Float(0, 2)}}, {"sampler": "random"},
        {"pruner": "hyperband"}, {"trials": 60}, {"batch": 2},
    ],
    ids=str,
)  # fmt: skip
def test_another_way_of_asking_is_another_question(change):
    base = {"key": "key", "direction": "maximize", "space": {"x": Float(0, 1)}}
    assert Method(**base).question() != Method(**{**base, **change}).question()
    assert Method(**base).question() == Method(**base, trials=9, evaluations=7).question()


def test_another_version_of_optuna_is_another_question(monkeypatch):
    from harness.tune import asking

    before, now = Method("key", "maximize", {}).question(), asking.versions()
    monkeypatch.setattr(asking, "versions", lambda: ["6.0", *now[1:]])
    assert Method("key", "maximize", {}).question() != before


def test_who_only_looks_writes_nothing(tmp_path):
    plan = planned(tmp_path, trials=3)
    store = Store(tmp_path / "r")
    Coordinator(plan, store, executor=Answering(curved)).run()
    kept = sorted(path.name for path in (tmp_path / "r" / "studies").iterdir())
    assert len(kept) == 6
    for path in (tmp_path / "r" / "studies").iterdir():
        path.unlink()
    Coordinator(plan, Store(tmp_path / "r")).run()
    assert list((tmp_path / "r" / "studies").iterdir()) == []
    Coordinator(plan, Store(tmp_path / "r"), keep_asked=True).run()
    assert sorted(path.name for path in (tmp_path / "r" / "studies").iterdir()) == kept
