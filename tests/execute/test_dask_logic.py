"""Who gets which run, how often, and who gets none: the executor on a cluster that is made up, without Dask."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import threading
from types import SimpleNamespace

import pytest

from harness.errors import ClusterError
from harness.execute import Job, Outcome, Settings, cluster, roster
from harness.execute import dask as dask_module
from harness.execute.dask import DaskExecutor
from harness.execute.sameness import differences
from harness.registry.catalog import Origin

HERE = {"torch": "2.10", "device": "cpu", "capability": "AVX2", "threads": 1}
PLUGIN = Origin("extra", "0.3", "lion", "lion.py", "ab" * 32)
DATA = {"options": {"use": "clouds"}, "fingerprints": {"train": "11" * 32, "test": "22" * 32}}
SETTINGS = Settings(2, 1, 600.0, "logs", preload=(DATA,), origins=(PLUGIN.__dict__,))


def report(**changed):
    """What a worker says that has what the plan needs, with something changed."""
    sources = [{"version": "0.3", "sha256": "ab" * 32}]
    result = {"status": "ok", "reason": None, "evaluations": [], "fingerprints": [dict(DATA["fingerprints"])]}
    return {"daemon": False, "sources": sources, "unseen": [], "result": result, "environment": HERE, **changed}


class Future:
    """A task of the made-up cluster."""

    def __init__(self, key, worker, arguments):
        self.key, self.worker, self.arguments = key, worker, arguments
        self.status, self.value, self.error = "pending", None, None

    def add_done_callback(self, function):
        self.ended = function

    def exception(self, timeout):
        return self.error

    def end(self, value=None, *, error=None):
        self.status = "error" if error is not None else "lost" if value is None else "finished"
        self.value, self.error = value, error
        self.ended(self)


class Client:
    """A client of the made-up cluster; what it was asked to do is in `looks` and `runs`."""

    status = "running"

    def __init__(self):
        loop = asyncio.new_event_loop()
        self.loop = SimpleNamespace(asyncio_loop=loop)
        self._thread = threading.Thread(target=loop.run_forever)
        self._thread.start()
        self.workers, self.looks, self.runs, self.cancelled = {}, [], [], []

    def submit(self, function, *arguments, key, workers, allow_other_workers, pure, retries, resources):
        assert (allow_other_workers, pure, retries) == (False, False, 0)
        future = Future(key, workers[0], arguments)
        (self.looks if function is look else self.runs).append(future)
        return future

    async def gather(self, futures, *, errors, asynchronous):
        return [future.value for future in futures if future.value is not None]

    def scheduler_info(self, n_workers):
        if self.status != "running":
            raise OSError("no route")
        return {"workers": self.workers}

    def cancel(self, futures, *, force):
        self.cancelled += futures

    def close(self, timeout):
        self.loop.asyncio_loop.call_soon_threadsafe(self.loop.asyncio_loop.stop)
        self._thread.join(10)
        self.loop.asyncio_loop.close()

    def join(self, *names, nthreads=1, **resources):
        self.workers |= {name: {"nthreads": nthreads, "resources": resources, "status": "running"} for name in names}

    def unanswered(self):
        return [future for future in self.looks if future.status == "pending"]


def look(given):
    raise AssertionError


def run(given, job):
    raise AssertionError


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(roster, "_ROUND_SECONDS", 0.0)
    return Client()


@pytest.fixture
def start(client):
    """Makes an executor; with names, on workers of these names that all have what the plan needs."""
    made = []

    def begin(*names, settings=SETTINGS, nthreads=1, **options):
        import contextlib

        found = cluster.Cluster(client, None, contextlib.ExitStack())
        executor = DaskExecutor(settings, found, run=run, look=look, **options)
        made.append(executor)
        client.join(*names, nthreads=nthreads)
        executor.wait(0)
        for future in client.unanswered():
            future.end(json.dumps(report()).encode())
        executor.wait(0)
        return executor

    yield begin
    for executor in made or [SimpleNamespace(close=lambda: client.close(timeout=1))]:
        executor.close()


def job(name):
    return Job(name, {"phase": "tune"}, {}, "", "cpu")


def outcome(name, status="ok"):
    result = {"status": status, "reason": None if status == "ok" else "why", "evaluations": []}
    return json.dumps(dataclasses.asdict(Outcome(name, result, HERE, {"attempt": 3}))).encode()


def named(future):
    """Id of the job that a task is for."""
    return json.loads(future.arguments[1])["id"]


# Runs ----------------------------------------------------------------------------------------------------------------


def test_each_worker_has_a_slot_a_thread_and_gets_no_more_runs_than_that(start, client):
    executor = start("a", "b", nthreads=2)
    assert executor.slots == 4
    for name in "1234":
        executor.submit(job(name))
    assert sorted(future.worker for future in client.runs) == ["a", "a", "b", "b"]
    executor.submit(job("5"))
    assert len(client.runs) == 4
    client.runs[0].end(outcome(named(client.runs[0])))
    executor.wait(0)
    assert (len(client.runs), client.runs[4].worker) == (5, client.runs[0].worker)


def test_a_job_comes_back_as_its_outcome_with_the_coordinators_count_of_attempts(start, client):
    executor = start("a")
    executor.submit(job("1"))
    (task,) = client.runs
    assert json.loads(task.arguments[0])["time_limit"] == 600.0
    assert task.key.startswith("harness-1-1-")
    task.end(outcome("1"))
    (found,) = executor.wait(0)
    assert (found.id, found.result["status"], found.observed["attempt"]) == ("1", "ok", 1)
    assert executor.wait(0) == []


def test_a_lost_worker_costs_its_own_runs_an_attempt_and_the_third_is_the_last(start, client):
    executor = start("a", "b", "c", "d")
    for name in "1234":
        executor.submit(job(name))
    lost, names = next(future for future in client.runs if named(future) == "1"), []
    for _ in range(3):
        names.append(lost.key[: len("harness-1-1")])
        del client.workers[lost.worker]
        outcomes = executor.wait(0)
        if not outcomes:  # another worker has a slot free when its run ends
            other = next(
                f for f in client.runs if f.status == "pending" and named(f) != "1" and f.worker in client.workers
            )
            other.end(outcome(named(other)))
            assert [one.result["status"] for one in executor.wait(0)] == ["ok"]
            lost = client.runs[-1]
    assert names == ["harness-1-1", "harness-1-2", "harness-1-3"]
    reason = "ended without a result (its worker was lost) in 3 attempts"
    assert [(one.id, one.result) for one in outcomes] == [
        ("1", {"status": "killed", "reason": reason, "evaluations": []})
    ]
    assert lost in client.cancelled


def test_a_task_that_ends_in_an_error_is_begun_three_times(start, client):
    executor = start("a")
    executor.submit(job("1"))
    outcomes = []
    for attempt in (1, 2, 3):
        assert outcomes == []
        assert len(client.runs) == attempt
        client.runs[-1].end(error=OSError("no space"))
        outcomes = executor.wait(0)
    reason = "ended without a result (OSError: no space) in 3 attempts"
    assert outcomes[0].result == {"status": "crashed", "reason": reason, "evaluations": []}


def test_a_run_whose_worker_was_killed_goes_to_another_at_once(start, client):
    executor = start("a", "b")
    executor.submit(job("1"))
    client.runs[0].end(error=type("KilledWorker", (Exception,), {})("gone"))
    assert executor.wait(0) == []
    assert client.runs[1].worker != client.runs[0].worker
    client.runs[1].end(outcome("1"))
    (found,) = executor.wait(0)
    assert (found.result["status"], found.observed["attempt"]) == ("ok", 2)


@pytest.mark.parametrize("status", ["killed", "crashed", "oom"])
def test_a_run_whose_process_was_ended_is_begun_three_times(start, client, status):
    executor = start("a")
    executor.submit(job("1"))
    for _ in range(2):
        client.runs[-1].end(outcome("1", status))
        assert executor.wait(0) == []
    client.runs[-1].end(outcome("1", status))
    (found,) = executor.wait(0)
    assert (found.result["status"], found.observed["attempt"], len(client.runs)) == (status, 3, 3)


@pytest.mark.parametrize("status", ["error", "timeout", "diverged", "bad_output"])
def test_a_failure_that_is_the_runs_own_is_its_result(start, client, status):
    executor = start("a")
    executor.submit(job("1"))
    client.runs[0].end(outcome("1", status))
    (found,) = executor.wait(0)
    assert (found.result["status"], len(client.runs)) == (status, 1)


def test_a_result_that_was_lost_on_its_way_is_computed_again(start, client):
    executor = start("a")
    executor.submit(job("1"))
    client.runs[0].end(None)
    assert executor.wait(0) == []
    executor.wait(0)
    client.unanswered()[0].end(json.dumps(report()).encode())
    executor.wait(0)
    client.runs[1].end(outcome("1"))
    (found,) = executor.wait(0)
    assert found.observed["attempt"] == 2


def test_a_run_far_over_its_limit_is_given_up_and_its_worker_gets_no_other(start, client, monkeypatch):
    executor = start("a", "b")
    executor.submit(job("1"))
    monkeypatch.setattr(dask_module, "GRACE_SECONDS", -600.0 - 1.0)
    (found,) = executor.wait(0)
    assert found.result == {"status": "timeout", "reason": "over the limit of 600 s", "evaluations": []}
    assert client.cancelled == client.runs
    assert executor.slots == 1


def test_closing_takes_back_what_is_under_way(start, client):
    executor = start("a", "b")
    executor.submit(job("1"))
    executor.submit(job("2"))
    executor.close()
    assert client.cancelled == client.runs


def test_a_process_that_took_a_workers_address_is_asked_what_it_has_first(start, client):
    executor = start("a")
    executor.submit(job("1"))
    client.runs[0].end(error=type("NotLookedAt", (Exception,), {})("not asked"))
    assert executor.wait(0) == []
    executor.wait(0)
    (asked,) = client.unanswered()
    assert len(client.runs) == 1
    asked.end(json.dumps(report()).encode())
    executor.wait(0)
    assert client.runs[1].key.startswith("harness-1-2-")


# Workers -------------------------------------------------------------------------------------------------------------


def test_a_worker_gets_no_run_before_it_said_what_it_has(start, client):
    executor = start("a")
    client.join("b")
    executor.wait(0)
    assert (executor.slots, len(client.unanswered())) == (1, 1)
    client.unanswered()[0].end(json.dumps(report()).encode())
    executor.wait(0)
    assert executor.slots == 2


def refusal(start, client, said, **options):
    """What the command ends with when the only worker says that."""
    executor = start(**options)
    client.join("w")
    executor.wait(0)
    client.unanswered()[0].end(json.dumps(said).encode())
    executor.wait(0)
    with pytest.raises(ClusterError, match="no worker is left that may be used") as caught:
        executor.wait(0)
    assert caught.value.exit_code == 4
    return str(caught.value)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"sources": [None]}, "plugin lion (extra): not installed; here it is extra 0.3"),
        ({"sources": [{"version": "0.2", "sha256": "ab" * 32}]}, "version 0.2 there, 0.3 here"),
        ({"sources": [{"version": "0.3", "sha256": "cd" * 32}]}, "source cdcdcdcdcdcd there, abababababab here"),
        ({"daemon": True}, "start workers with DASK_DISTRIBUTED__WORKER__DAEMON=False"),
        ({"result": {"status": "data_changed", "reason": "no file"}}, "its data: no file"),
        (
            {"unseen": ["/results/moved: not the folder that it is here (no such file or directory)"]},
            "/results/moved: not the folder that it is here (no such file or directory); weights that runs start from",
        ),
        (
            {"result": {"status": "ok", "fingerprints": [{"train": "33" * 32, "test": "22" * 32}]}},
            "data set 'clouds', train split: 333333333333 there, 111111111111 here",
        ),
    ],
)
def test_a_worker_that_differs_gets_no_run_and_both_values_are_named(start, client, said, says):
    assert says in refusal(start, client, report(**said), allow_mixed_environment=True)


def test_a_mark_lies_in_the_folder_of_weights_while_the_cluster_is_used_and_workers_are_told_of_it(
    start, client, tmp_path
):
    executor = start("w", settings=dataclasses.replace(SETTINGS, folder=str(tmp_path)))
    (mark,) = tmp_path.iterdir()
    (told,) = json.loads(client.looks[0].arguments[0])["files"]
    assert told == {"path": str(mark), "sha256": hashlib.sha256(mark.read_bytes()).hexdigest()}
    executor.close()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_is_held_against_the_environment_of_the_records(start, client):
    settings = dataclasses.replace(SETTINGS, environment={**HERE, "torch": "2.9"})
    text = refusal(start, client, report(), settings=settings)
    assert "torch 2.10 there, 2.9 with the others" in text
    assert "allow_mixed_environment = true" in text


def test_the_environment_of_most_workers_counts_whoever_answers_first(start, client, caplog):
    executor = start()
    client.join("a", "b", "c")
    executor.wait(0)
    for future, capability in zip(client.unanswered(), ("AVX512", "AVX2", "AVX2"), strict=True):
        future.end(json.dumps(report(environment={**HERE, "capability": capability})).encode())
        executor.wait(0)
    assert executor.slots == 2
    assert "worker a gets no run: capability AVX512 there, AVX2 with the others" in caplog.text


def test_a_mixed_environment_is_let_through_where_that_is_said(start, client):
    executor = start("a", allow_mixed_environment=True)
    client.join("b")
    executor.wait(0)
    client.unanswered()[0].end(json.dumps(report(environment={**HERE, "torch": "2.11"})).encode())
    executor.wait(0)
    assert executor.slots == 2


def test_a_worker_that_cannot_say_what_it_has_gets_no_run(start, client, caplog):
    executor = start("a")
    client.join("b")
    executor.wait(0)
    client.unanswered()[0].end(error=ModuleNotFoundError("No module named 'harness'"))
    executor.wait(0)
    assert executor.slots == 1
    assert "worker b gets no run: ModuleNotFoundError: No module named 'harness'" in caplog.text


def test_a_worker_that_never_says_what_it_has_gets_no_run(start, client, monkeypatch, caplog):
    executor = start("a")
    client.join("b")
    executor.wait(0)
    monkeypatch.setattr(roster, "LOOK_SECONDS", -1.0)
    executor.wait(0)
    assert "worker b gets no run: it did not say within" in caplog.text


def test_resources_limit_the_runs_of_a_worker_and_who_lacks_them_gets_none(start, client, caplog):
    executor = start(resources={"GPU": 1})
    client.join("a", nthreads=4, GPU=2)
    client.join("b", nthreads=4)
    executor.wait(0)
    for future in client.unanswered():
        future.end(json.dumps(report()).encode())
    executor.wait(0)
    assert executor.slots == 2
    assert "worker b gets no run: it does not declare the resources of a run (GPU = 1)" in caplog.text


def test_without_workers_the_command_ends_when_its_patience_does(start):
    with pytest.raises(ClusterError, match=r"no worker was there for 0 s \(option 'patience'\)"):
        start(patience=0.0)


def test_a_scheduler_that_is_gone_ends_the_command(start, client):
    executor = start("a")
    client.status = "connecting"
    with pytest.raises(ClusterError, match=r"the Dask scheduler is gone .*the same command goes on"):
        executor.wait(0)


def test_nothing_differs_on_a_worker_that_has_what_the_plan_needs():
    assert differences(SETTINGS, report()) == []


@pytest.mark.parametrize("address", ["head:8786", "http://head", "tcp://", ""])
def test_a_scheduler_that_is_no_address_is_refused(address):
    from harness.errors import PluginError

    with pytest.raises(PluginError, match="must be an address like tcp://host:8786"):
        cluster.connect(address)


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("tls://head:8786", True), ("tcp://127.0.0.1:8786", True), ("tcp://localhost:1", True), ("inproc://1/2", True),
        ("tcp://head:8786", False), ("tcp://10.0.0.1:8786", False), ("tcp://localhost.example.org:1", False),
    ],
)  # fmt: skip
def test_a_scheduler_that_others_can_listen_to_is_warned_of(address, safe):
    assert cluster._is_safe(address) is safe
