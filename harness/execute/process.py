"""Runs in worker processes, a fresh one for each run, forked from a server that has torch and the data loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

from harness import interrupts
from harness.execute import Job, Outcome, cores
from harness.execute.server import PRELOAD

LARGEST_MESSAGE = 2**22
ATTEMPTS = 3
"""How often a run is begun that was killed from outside or crashed."""
_GRACE_SECONDS = 3.0


@dataclass
class _Running:
    job: Job
    process: Any
    messages: connection.Connection
    begun: float
    attempt: int


class ProcessExecutor:
    """`slots` worker processes at a time, `threads` torch threads each.

    Messages are JSON; nothing that a run's process sends is ever unpickled.
    """

    def __init__(
        self, slots: int, *, threads: int, preload: Sequence[Mapping[str, Any]], time_limit: float, logs: Path
    ) -> None:
        self.slots = slots
        self._threads, self._preload, self._time_limit, self._logs = threads, preload, time_limit, logs
        self._overlapped = slots * threads > cores()
        self._running: list[_Running] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.execute.server"])

    def submit(self, job: Job, *, attempt: int = 1) -> None:
        """Fork a process for the job."""
        ours, theirs = self._context.Pipe(duplex=False)
        log = self._logs / f"{job.id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(target=_work, args=(theirs, json.dumps(dataclasses.asdict(job)), str(log)))
        with interrupts.held_back():  # the server dies of a conversation that breaks off
            with interrupts.born_deaf(), _server_environment(self._threads, self._preload):
                forkserver.ensure_running()
            process.start()
            theirs.close()
            self._running.append(_Running(job, process, ours, time.monotonic(), attempt))

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the processes that ended; one killed from outside is begun again."""
        # A child of a run may hold its pipe open, so that the end of the process has to be seen by itself.
        ends = [end for running in self._running for end in (running.messages, running.process.sentinel)]
        ready = connection.wait(ends, timeout=seconds)
        outcomes = []
        for running in list(self._running):
            if running.messages in ready or running.process.sentinel in ready:
                outcome = self._finish(running)
            elif time.monotonic() - running.begun > self._time_limit:
                outcome = self._time_out(running)
            else:
                continue
            outcomes += [] if outcome is None else [outcome]
        return outcomes

    def _finish(self, running: _Running) -> Outcome | None:
        """The outcome in the message; without one the process has crashed, and gets two more attempts."""
        message = _receive(running.messages)
        _end(running.process, patience=_GRACE_SECONDS)
        code = running.process.exitcode
        self._drop(running)
        if message is not None:
            observed = {**message["observed"], "attempt": running.attempt, "overlapped": self._overlapped}
            return Outcome(running.job.id, message["result"], message["environment"], observed)
        if running.attempt < ATTEMPTS:
            self.submit(running.job, attempt=running.attempt + 1)
            return None
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        status = "killed" if code == -signal.SIGKILL else "crashed"
        return self._failed(running, status, f"ended without a result ({how}) in {ATTEMPTS} attempts")

    def _time_out(self, running: _Running) -> Outcome:
        _end(running.process, patience=0)
        self._drop(running)
        return self._failed(running, "timeout", f"over the limit of {self._time_limit:g} s")

    def _failed(self, running: _Running, status: str, reason: str) -> Outcome:
        observed = {"attempt": running.attempt, "total_seconds": time.monotonic() - running.begun}
        return Outcome(running.job.id, {"status": status, "reason": reason, "evaluations": []}, {}, observed)

    def _drop(self, running: _Running) -> None:
        running.messages.close()
        running.process.close()
        self._running.remove(running)
        log = self._logs / f"{running.job.id}.log"
        if log.exists() and log.stat().st_size == 0:
            log.unlink()

    def close(self) -> None:
        """Kill what is under way, and the server."""
        with interrupts.held_back():
            for running in list(self._running):
                _end(running.process, patience=0)
                self._drop(running)
            # There is no public way to end the server before the interpreter ends. It is killed first, since it would
            # wait for whatever a run left behind in a session of its own.
            server = forkserver._forkserver
            if (pid := server._forkserver_pid) is not None:  # type: ignore[attr-defined]
                os.kill(pid, signal.SIGKILL)
            server._stop()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _server_environment(threads: int, preload: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """The environment that the server is started in, at the first run."""
    given = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONSAFEPATH": "1",  # a torch.py in the working folder must not hide the package
        PRELOAD: json.dumps(list(preload)),
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ |= given
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _receive(messages: connection.Connection) -> Any:
    """The message, or None where the process ended without one that can be read."""
    try:
        return json.loads(messages.recv_bytes(LARGEST_MESSAGE)) if messages.poll() else None
    except (EOFError, OSError, ValueError):
        return None


def _end(process: Any, *, patience: float) -> None:
    """See the process and its session ended: by itself within `patience` seconds, by SIGTERM, at last by SIGKILL."""
    process.join(patience)
    if process.is_alive():
        _signal(process, signal.SIGTERM)
        process.join(_GRACE_SECONDS)
    if process.is_alive():
        _signal(process, signal.SIGKILL)
        process.join(_GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever the run left behind in its session


def _signal(process: Any, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # not yet the head of a session of its own
        process.terminate() if number == signal.SIGTERM else process.kill()


def _work(messages: connection.Connection, job: str, log: str) -> None:
    """The worker process: one job, one message."""
    from harness.execute.server import die_with_parent

    os.setsid()
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server ignores it
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    from harness.execute.work import evaluate

    outcome = evaluate(Job(**json.loads(job)))
    messages.send_bytes(json.dumps(dataclasses.asdict(outcome), allow_nan=False).encode())
    messages.close()
    os._exit(0)  # threads and exit handlers of a plugin must not keep the worker alive
