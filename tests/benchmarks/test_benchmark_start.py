"""What it takes to do a trivial run: in a worker forked from the warm server, against a fresh interpreter.

Equal work: the same job (8 steps on 120 points of a small data set, evaluation included), from handing it over to
having its outcome. The fresh interpreter imports torch and harness's worker code and does the job; pairs in one run.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from harness import execute
from harness import session as sessions
from harness.execute import Job
from harness.plan import Label
from tests.benchmarks import measured

ROUNDS = 7
ALONE = "import json, sys; from harness.execute import Job, work; print(work.evaluate(Job(**json.loads(sys.argv[1]))))"


def test_the_start_of_a_run(benchmark: Any, project: Any) -> None:
    project.write(suite={"execution.executor": "process"})
    opened = sessions.open_session(Path("suite.toml"), sessions.Options())
    job = Job.of(opened.plan.request(Label("clouds-line", "sgd", 0, "final", "tuned")), opened.plan)
    command = [sys.executable, "-c", ALONE, json.dumps(dataclasses.asdict(job))]
    executor = execute.make(opened.plan, folder=project.folder)
    warm: list[float] = []
    fresh: list[float] = []
    inside: list[float] = []

    def in_a_worker() -> None:
        begun = time.perf_counter()
        executor.submit(job)
        outcomes: list[Any] = []
        while not outcomes:
            outcomes = executor.wait(10)
        warm.append(time.perf_counter() - begun)
        assert outcomes[0].result["status"] == "ok", outcomes[0]
        inside.append(outcomes[0].observed["total_seconds"])

    def together() -> None:
        fresh.append(measured.process(command, project.folder, threads=1).seconds)
        in_a_worker()

    try:
        in_a_worker()  # the server starts with the first run
        del warm[:], inside[:]
        benchmark.pedantic(together, rounds=ROUNDS, iterations=1)
    finally:
        executor.close()
    benchmark.extra_info["warm: seconds"] = measured.median(warm, 3)
    benchmark.extra_info["warm: seconds of it in the run itself"] = measured.median(inside, 3)
    benchmark.extra_info["fresh interpreter: seconds"] = measured.median(fresh, 2)
    ratios = [slow / fast for slow, fast in zip(fresh, warm, strict=True)]
    benchmark.extra_info["times faster than a fresh interpreter"] = measured.median(ratios, 1)
