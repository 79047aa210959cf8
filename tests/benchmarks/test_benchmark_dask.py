"""What Dask costs: time a run on a local cluster, and how many runs a second one coordinator keeps in hand.

Workers sleep for 50 ms in the place of training. In `extra_info` of `--benchmark-json`: the overhead of a run in ms,
beside that of a bare task in the same cluster, and the coordinator's throughput.
"""

from __future__ import annotations

import time

import pytest

from harness.coordinator import Coordinator
from harness.execute import Job, Settings, cluster
from harness.execute.dask import DaskExecutor
from harness.store import Store
from tests import dask_stubs
from tests.small import a_plan

pytest.importorskip("distributed")


def _until_slots(executor, slots):
    deadline = time.monotonic() + 300
    while executor.slots < slots:
        assert time.monotonic() < deadline, f"{executor.slots} of {slots} slots"
        executor.wait(0.1)


def _executor(found, plan, folder):
    settings = Settings.of(plan, folder=folder)
    return DaskExecutor(settings, found, run=dask_stubs.run, look=dask_stubs.look)


def _do(executor, jobs):
    """Keep every slot busy until all jobs are done."""
    left, under_way, done = list(jobs), 0, []
    while left or under_way:
        while left and under_way < executor.slots:
            executor.submit(left.pop())
            under_way += 1
        ended = executor.wait(0.1)
        under_way -= len(ended)
        done += ended
    return done


def test_a_run_on_a_local_cluster(benchmark, tmp_path):
    plan = a_plan(tmp_path, {"tuning": None, "compare.replicates": 100})
    jobs = [Job.of(request, plan) for request in _requests(plan)]
    found = cluster.start(2)
    executor = _executor(found, plan, tmp_path)
    try:
        _until_slots(executor, 2)
        bare_ms = _bare_overhead_ms(found.client)
        done = benchmark.pedantic(_do, (executor, jobs), rounds=3, iterations=1)
    finally:
        executor.close()
    assert len(done) == len(jobs) == 200
    overhead_ms = (benchmark.stats.stats.median * 2 / len(jobs) - dask_stubs.STUB_SECONDS) * 1000
    benchmark.extra_info["overhead of a run (ms)"] = round(overhead_ms, 1)
    benchmark.extra_info["overhead of a bare task, one at a time (ms)"] = round(bare_ms, 1)


def _bare_overhead_ms(client):
    """Of a task that sleeps as long, submitted and waited for by Dask's own means."""
    found = []
    for number in range(20):
        begun = time.perf_counter()
        client.submit(time.sleep, dask_stubs.STUB_SECONDS, key=f"bare-{number}", pure=False).result(timeout=60)
        found.append(time.perf_counter() - begun)
    return (sorted(found)[10] - dask_stubs.STUB_SECONDS) * 1000


def _requests(plan):
    from harness.plan import Label

    for replicate in range(plan.suite.compare.replicates):
        for problem, arm in plan.settings:
            yield plan.request(Label(problem, arm, replicate, "final", "given"))


def test_ten_thousand_runs_on_64_workers(benchmark, tmp_path):
    """Simulated: the workers are 64 in this process, and share its interpreter with scheduler and coordinator."""
    from contextlib import ExitStack

    import dask
    from distributed import Client, LocalCluster

    plan = a_plan(tmp_path, {"tuning": None, "compare.replicates": 5000})
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(cluster.LOCAL_CONFIG))
        options = {"processes": False, "dashboard_address": None, "memory_limit": None}
        options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
        local = stack.enter_context(LocalCluster(n_workers=64, threads_per_worker=1, **options))
        found = cluster.Cluster(Client(local, set_as_default=False), None, stack.pop_all())
    executor = _executor(found, plan, tmp_path)
    try:
        _until_slots(executor, 64)
        coordinator = Coordinator(plan, Store(tmp_path / "results"), executor=executor)
        walk = benchmark.pedantic(coordinator.run, rounds=1, iterations=1)
    finally:
        executor.close()
    assert walk.computed == 10_000
    assert walk.counts(plan) == {"planned": 10_000, "ok": 10_000, "pruned": 0, "failed": 0, "missing": 0}
    benchmark.extra_info["runs a second, recorded"] = round(10_000 / benchmark.stats.stats.median, 1)
