"""Nothing waits for ever: what stands still is ended at its limit, and said."""

from __future__ import annotations

import contextlib
import signal

import psutil

from tests.faults.substitute import SECONDS, write_suite
from tests.faults.test_kills import run_processes
from tests.faults.tools import wait_for


def test_a_run_that_is_stopped_ends_at_its_time_limit_and_can_be_done_again(folder):
    write_suite(folder.path, {"execution.time_limit": 2.0})
    folder.environment[SECONDS] = "0.3"
    command = folder.start("--executor", "process", "--workers", "1")
    wait_for(lambda: len(folder.records()) >= 3 and run_processes(folder), "no run to stop")
    stopped = False
    while not stopped:
        for one in run_processes(folder):
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGSTOP)
                stopped = True
    ended = command.end()
    assert ended.code in (0, 1), ended.err  # 0: it was done, and stopped at its end
    folder.assert_nothing_runs()
    if ended.code == 1:
        assert b"over the limit of 2 s" in b"".join(folder.records().values())
    again = folder.run("--rerun", "failed", "--executor", "process")
    assert again.code == 0
    assert len(folder.records()) == 8
