"""Runs in this process: what one run does to its spec is no other run's business."""

from __future__ import annotations

from harness.execute import Job, Outcome, work
from harness.execute.serial import SerialExecutor
from harness.plan import Label
from tests.small import a_plan


def test_a_run_that_changes_its_options_changes_no_other_run(tmp_path, monkeypatch):
    plan = a_plan(tmp_path)
    seen = []

    def greedy(job):
        seen.append(dict(job.payload["problem"]["model"]))
        job.payload["problem"]["model"].clear()
        return Outcome(job.id, {}, {})

    monkeypatch.setattr(work, "evaluate", greedy)
    executor = SerialExecutor()
    for number in (0, 1):
        executor.submit(Job.of(plan.request(Label("clouds-line", "sgd", 0, "tune", "tuned", number)), plan))
        executor.wait(0)
    assert seen == [{"use": "line", "width": 8}] * 2
