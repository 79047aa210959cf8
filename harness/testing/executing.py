"""Checks of an executor: what it is handed comes back, whatever becomes of it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.execute import LOOK, Evaluator, Job, Outcome, Settings
from harness.execute.serial import SerialExecutor
from harness.hookspecs import Executor
from harness.registry.catalog import Origin
from harness.spec import digest
from harness.testing.case import Case, Options

_WAIT_SECONDS = 0.5


def check_executor(part: Executor, *, options: Options = None, seconds: float = 300.0) -> tuple[str, ...]:
    """Slots, outcomes and the end of an executor, on a job that succeeds and one that fails; each wait has that limit.

    Raises:
        NonConforming: the first rule that the part breaks.
    """
    case = Case(part, options)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workers=1, threads=1, time_limit=seconds, logs=str(Path(folder, "logs")), device="cpu")
        executor: Evaluator = case.run("is built", part.build, settings, **case.options)
        try:
            _check_outcomes(case, executor, seconds)
        finally:
            case.run("is closed", executor.close)
        case.run("is closed once more, which does nothing", executor.close)
    return case.kept


def _check_outcomes(case: Case, executor: Evaluator, seconds: float) -> None:
    nothing = case.run("waits for nothing", executor.wait, 0.0)
    case.require(nothing == [], "no outcome comes of no job", repr(nothing))
    deadline = time.monotonic() + seconds
    while executor.slots == 0 and time.monotonic() < deadline:
        case.run("waits for slots", executor.wait, _WAIT_SECONDS)
    slots = executor.slots
    case.require(isinstance(slots, int) and slots > 0, "has a slot in time", f"{slots!r} after {seconds:g} s")
    for job in _jobs():
        found = _finish(case, executor, job, seconds)
        serial = SerialExecutor()
        serial.submit(job)
        (expected,) = serial.wait(0.0)
        same = (found.id, found.result) == (job.id, expected.result)
        case.require(same, "the outcome is the job's own, as computed here", f"{found.result} of {found.id[:12]}")
        plain = [found.result, found.environment, found.observed]
        text = case.run("an outcome is plain data", json.dumps, plain, allow_nan=False)
        case.require(json.loads(text) == plain, "an outcome is plain data", repr(plain))


def _jobs() -> list[Job]:
    """One that looks at no data set, and one whose data set is in a plugin that is not there."""
    origin: dict[str, Any] = Origin("", "", "nowhere", "nowhere.py", "", local=True).__dict__
    payloads = (
        {"phase": LOOK, "threads": 1, "datasets": []},
        {"phase": "tune", "threads": 1, "problem": {"dataset": {}}},
    )
    return [Job(digest(payload), payload, {"dataset": origin}, "", "cpu") for payload in payloads]


def _finish(case: Case, executor: Evaluator, job: Job, seconds: float) -> Outcome:
    case.run("takes a job", executor.submit, job)
    deadline = time.monotonic() + seconds
    outcomes: list[Outcome] = []
    while not outcomes and time.monotonic() < deadline:
        outcomes = case.run("waits", executor.wait, _WAIT_SECONDS)
    case.require(len(outcomes) == 1, "one job has one outcome in time", f"{len(outcomes)} after {seconds:g} s")
    return outcomes[0]
