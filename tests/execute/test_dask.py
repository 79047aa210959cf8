"""Dask on this machine: the same results as anywhere, whoever comes and goes, and no run for a worker that differs."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness import execute
from harness import session as sessions
from harness.execute import Job, cluster
from tests.conftest import TINY, Project
from tests.test_sources import MOVED

pytest.importorskip("distributed")

WAIT_SECONDS = 240
PLUGIN = """
from torch import optim
import harness

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("versioned", build=optim.SGD, defaults={"lr": 0.1})]
"""


def wait_for(condition, *, seconds=WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def finish(executor, jobs):
    """Outcomes by id."""
    waiting, outcomes = list(jobs), {}
    deadline = time.monotonic() + WAIT_SECONDS
    while len(outcomes) < len(jobs):
        assert time.monotonic() < deadline, "waited in vain"
        while waiting and len(jobs) - len(waiting) - len(outcomes) < executor.slots:
            executor.submit(waiting.pop(0))
        outcomes |= {outcome.id: outcome for outcome in executor.wait(0.5)}
    return outcomes


def gather(executor, runs):
    """Outcomes of that many runs that are under way, by id."""
    outcomes, deadline = {}, time.monotonic() + WAIT_SECONDS
    while len(outcomes) < runs:
        assert time.monotonic() < deadline, "waited in vain"
        outcomes |= {outcome.id: outcome for outcome in executor.wait(0.5)}
    return outcomes


def until_slots(executor, slots):
    deadline = time.monotonic() + WAIT_SECONDS
    while executor.slots != slots:
        assert time.monotonic() < deadline, f"{executor.slots} slots, not {slots}"
        assert executor.wait(0.5) == []


@pytest.fixture(scope="module")
def two_workers():
    """A cluster of two workers, in processes of their own."""
    found = cluster.start(2)
    yield found
    found.close()


def address(found):
    return found.local.scheduler_address


def pids(found):
    """Process ids of the workers, by address."""
    return found.client.run(os.getpid)


@pytest.fixture(scope="module")
def opened(_finished_once, tmp_path_factory):
    """The small suite, with the records of its runs, which were done in one process."""
    folder = tmp_path_factory.mktemp("dask")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(_finished_once)
        options = sessions.Options(results=_finished_once / "results/suite")
        return folder, sessions.open_session(Path("suite.toml"), options)


@pytest.fixture(scope="module")
def expected(opened):
    """Each run of the small suite as a job, with the result that it has in one process."""
    plan = opened[1].plan
    found = []
    for entry in sessions.walk_records(opened[1]).entries:
        request = plan.request(entry.label, entry.hyperparameters)
        assert request.spec.id == entry.run_id
        found.append((Job.of(request, plan), entry.record))
    return found


@pytest.fixture(scope="module")
def executor(two_workers, opened):
    """An executor on the cluster, as the command line builds it, when both workers have said what they have."""
    folder, session = opened
    plan = execute.choose(session.plan, executor="dask", scheduler=address(two_workers))
    made = execute.make(plan, folder=folder)
    until_slots(made, 2)
    yield made
    made.close()


def test_every_run_of_a_suite_has_the_result_that_it_has_in_one_process_bit_for_bit(executor, expected):
    outcomes = finish(executor, [job for job, _ in expected])
    for job, record in expected:
        assert outcomes[job.id].result == record["result"]
        assert outcomes[job.id].environment == record["environment"]
        assert outcomes[job.id].observed["attempt"] == 1


def test_a_worker_that_is_killed_costs_an_attempt_of_its_own_run_and_nothing_else(executor, two_workers, expected):
    (first, first_record), (second, second_record) = expected[:2]
    victim = next(iter(pids(two_workers).values()))
    os.kill(victim, signal.SIGSTOP)  # so that its run cannot end before it does
    executor.submit(first)
    executor.submit(second)
    os.kill(victim, signal.SIGKILL)
    outcomes = gather(executor, 2)
    found = [outcomes[first.id], outcomes[second.id]]
    assert [outcome.result for outcome in found] == [first_record["result"], second_record["result"]]
    assert sorted(outcome.observed["attempt"] for outcome in found) == [1, 2]


def test_a_worker_that_comes_later_gets_its_share_and_changes_nothing(executor, two_workers, expected):
    two_workers.local.scale(3)
    until_slots(executor, 3)
    jobs = [job for job, _ in expected[:3]]
    for job in jobs:
        executor.submit(job)
    assert [worker.busy for worker in executor._roster._workers.values() if worker.state == "ready"] == [1, 1, 1]
    outcomes = gather(executor, 3)
    assert [outcomes[job.id].result for job in jobs] == [record["result"] for _, record in expected[:3]]
    two_workers.local.scale(2)


def test_a_cluster_of_this_machine_is_reached_from_this_machine_only(two_workers):
    ours = psutil.Process()
    addresses = {
        one.laddr.ip
        for process in [ours, *ours.children(recursive=True)]
        for one in process.net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


# Plugins that differ -------------------------------------------------------------------------------------------------


def distribution(folder, version):
    """A distribution with one plugin, as pip would have put it into a folder of installed packages."""
    info = folder / f"versioned-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: versioned\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[harness]\nversioned = versioned\n")
    (folder / "versioned.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def suite_with_plugin(project):
    return project.write(suite={"arms.optimizer": ["sgd", "versioned"], "tuning": None, "compare.replicates": 1})


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (None, "plugin versioned (versioned): not installed; here it is versioned 0.3"),
        ("0.2", "plugin versioned (versioned): version 0.2 there, 0.3 here"),
    ],
    ids=["missing", "other version"],
)
def test_a_worker_whose_plugin_is_missing_or_another_gets_no_run(suite_with_plugin, monkeypatch, there, says):
    project = suite_with_plugin
    here = distribution(project.folder / "here", "0.3")
    with monkeypatch.context() as patch:  # workers have the path that this process has when they start
        if there is not None:
            patch.syspath_prepend(distribution(project.folder / "there", there))
        found = cluster.start(1)
    try:
        monkeypatch.syspath_prepend(here)
        monkeypatch.setenv("PYTHONPATH", str(here))
        result = project.run("run", "suite.toml", "--executor", "dask", "--scheduler", address(found))
    finally:
        found.close()
    assert (result.code, result.out) == (4, ""), result.err
    assert "no worker is left that may be used" in result.err
    assert f"gets no run: {says}" in result.err
    assert not list((project.folder / "results/suite/runs").glob("*/*.json"))


# Whole commands ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_suite_on_a_cluster_ends_in_the_bytes_of_worker_processes_though_workers_are_killed(project):
    project.write(suite={"execution": {"executor": "process", "workers": 2}, "problem.epochs": 10})
    plain = project.run_apart("run", "suite.toml", "--results", "plain")
    assert plain.code == 0, plain.err
    process = project.start("run", "suite.toml", "--executor", "dask", "--workers", "2", "--results", "dask")
    for records in (3, 9, 15):
        wait_for(lambda records=records: _records(project, "dask") >= records)
        workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in _command(child)]
        workers[0].kill()
    _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, err
    for table in ("runs", "evaluations", "trials", "summary", "comparisons"):
        assert project.read(f"dask/tables/{table}.csv") == project.read(f"plain/tables/{table}.csv")


@pytest.mark.slow
def test_runs_that_start_from_weights_end_on_a_cluster_in_the_bytes_of_one_process(project):
    project.write(suite=MOVED)
    for executor, folder in (("serial", "one/suite"), ("dask", "two/suite")):  # apart, so that none borrows weights
        said = project.run_apart("run", "suite.toml", "--executor", executor, "--workers", "2", "--results", folder)
        assert said.code == 0, said.err
        assert "21 runs done" in said.err
    for table in ("runs", "evaluations", "trials", "blocks", "summary", "comparisons"):
        assert project.read(f"two/suite/tables/{table}.csv") == project.read(f"one/suite/tables/{table}.csv")
    weights = [sorted((project.folder / one / "suite/weights").iterdir()) for one in ("one", "two")]
    assert [path.read_bytes() for path in weights[0]] == [path.read_bytes() for path in weights[1]]
    assert len(weights[0]) == 3
    assert not list((project.folder / "two/suite").glob(".*"))


@contextlib.contextmanager
def _worker_of_another_view(scheduler, hidden):
    """A worker that has an empty folder in the place of `hidden`, as one on a machine without that disk."""
    dask = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-dashboard"]
    mounted = f"mount -t tmpfs none {shlex.quote(str(hidden))} && exec {shlex.join(dask)}"
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    worker = subprocess.Popen(["unshare", "-rm", "sh", "-c", mounted], env=environment, **quiet)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(30)


def _can_unshare():
    try:
        mounted = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/tmp"]
        return subprocess.run(mounted, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _can_unshare(), reason="needs a view of the disk of its own (unshare -rm)")
def test_a_worker_that_does_not_see_the_results_gets_no_run_and_the_command_ends_before_the_first(project):
    project.write(suite=MOVED)
    results = project.folder / "results"
    results.mkdir()
    found = cluster.start(0)
    try:
        with _worker_of_another_view(address(found), results):
            said = project.run_apart("run", "suite.toml", "--executor", "dask", "--scheduler", address(found))
    finally:
        found.close()
    assert (said.code, said.out) == (4, ""), said.err
    assert "no worker is left that may be used" in said.err
    assert f"{results / 'suite'}: not the folder that it is here (no such file or directory); weights" in said.err
    assert not list((results / "suite").glob("runs/*/*"))


def _records(project, folder):
    return len(list((project.folder / folder / "runs").glob("*/*.json")))


def _command(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_command_that_is_ended_leaves_no_process_and_goes_on(project, number, code):
    project.write(suite={"execution": {"executor": "dask", "workers": 2}, "problem.epochs": 20})
    process = project.start("run", "suite.toml", start_new_session=True)
    wait_for(lambda: _records(project, "results/suite") >= 2)
    started = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    # As a terminal sends it: to all of the foreground.
    os.killpg(process.pid, number) if number == signal.SIGINT else os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(started, timeout=30)
    seconds = time.monotonic() - begun
    assert (process.returncode, alive) == (code, [])
    assert "Traceback" not in err
    assert seconds < 30  # the promise is 10 s; this is the limit against hanging
    print(f"ended after {seconds:.1f} s")
    done = _records(project, "results/suite")
    result = project.run_apart("run", "suite.toml", "--executor", "process")
    assert f"{done} of 24 runs done" in result.err
    assert result.code == 0


@pytest.mark.slow
def test_runs_on_a_cluster_of_others_end_when_their_coordinator_is_gone(tmp_path, two_workers):
    project = Project(tmp_path, None).plugin("tiny", TINY)
    project.write(suite={"problem.epochs": 20000})
    process = project.start("run", "suite.toml", "--executor", "dask", "--scheduler", address(two_workers))
    forked = {}

    def running():
        children = psutil.Process().children(recursive=True)
        ours = psutil.Process(process.pid).children(recursive=True)
        forked.update({c.pid: c for c in children if c not in ours and _is_a_run(c)})
        return len(forked) >= 2

    wait_for(running)
    process.kill()
    process.communicate(timeout=60)
    begun = time.monotonic()
    _, alive = psutil.wait_procs(list(forked.values()), timeout=30)
    assert alive == []
    print(f"ended after {time.monotonic() - begun:.1f} s")


def _is_a_run(process):
    """Whether the process was forked from the server of worker processes."""
    try:
        parent = process.parent()
        return parent is not None and "forkserver" in _command(parent)
    except psutil.Error:
        return False


def test_without_the_extra_the_way_to_it_is_named(monkeypatch):
    from harness.errors import ClusterError

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"needs the extra: pip install 'harness\[dask\]'"):
        cluster.need_distributed()
