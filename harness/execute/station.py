"""What runs inside a Dask worker: it looks at what is there, and has runs done in processes that it watches over.

A station is a thread that owns the executor of worker processes. The kernel ends the server of these when the thread
that started it ends, so that no thread of Dask's own may be the one.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.execute import LOOK, Job, Outcome, Settings, in_processes
from harness.execute.process import ATTEMPTS, ProcessExecutor
from harness.execute.sameness import source_of
from harness.execute.sharing import unseen
from harness.registry.catalog import Origin
from harness.spec import digest

_IDLE_SECONDS = 60.0
_LEAVING_SECONDS = 20.0
_POLL_SECONDS = 0.1


class NotLookedAt(RuntimeError):
    """A run came to a process that was not asked first what it has; it took the place of one that was."""


@dataclasses.dataclass
class _Ticket:
    """A job that a thread of Dask waits for."""

    job: Job
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)
    outcome: Outcome | None = None
    error: BaseException | None = None
    cancelled: bool = False


class Station:
    """A thread with the executor of this process; it ends by itself when nothing has come for a minute."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._arrivals: queue.SimpleQueue[_Ticket] = queue.SimpleQueue()
        self._waiting: list[_Ticket] = []
        self._under_way: dict[str, _Ticket] = {}
        self._executor: ProcessExecutor | None = None
        self._open = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="harness-station", daemon=True)
        self._thread.start()

    def evaluate(self, job: Job, *, cancelled: Callable[[], bool]) -> Outcome:
        """The job's outcome; when it is cancelled, its process is ended.

        Raises:
            RuntimeError: the station has closed, or its executor failed.
        """
        ticket = _Ticket(job)
        with self._lock:
            if not self._open:
                raise RuntimeError("the station has closed")
            self._arrivals.put(ticket)
        while not ticket.ended.wait(_POLL_SECONDS):
            ticket.cancelled = ticket.cancelled or cancelled()
        if ticket.outcome is None:
            raise RuntimeError(f"no outcome: {ticket.error}") from ticket.error
        return ticket.outcome

    def is_open(self) -> bool:
        """Whether it takes jobs."""
        return self._open

    def leave(self, seconds: float) -> bool:
        """Close as soon as nothing is under way; False where that is not so within the time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                if self._arrivals.empty() and not self._under_way and not self._waiting:
                    self._open = False
                    break
            time.sleep(_POLL_SECONDS)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        error: BaseException | None = None
        idle_since = time.monotonic()
        try:
            while self._open or self._under_way or self._waiting:
                self._receive()
                self._begin()
                self._end()
                if self._under_way or self._waiting:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _IDLE_SECONDS:
                    self._open = not self._close_if_idle()
        except BaseException as caught:
            error = caught
        finally:
            self._give_up(error)

    def _close_if_idle(self) -> bool:
        with self._lock:
            if self._arrivals.empty():
                self._open = False
            return not self._open

    def _receive(self) -> None:
        """Take what arrived; waits for it only where nothing else is to be watched."""
        try:
            self._waiting.append(
                self._arrivals.get(block=not (self._under_way or self._waiting), timeout=_POLL_SECONDS)
            )
            while True:
                self._waiting.append(self._arrivals.get(block=False))
        except queue.Empty:
            return

    def _begin(self) -> None:
        for ticket in list(self._waiting):
            if ticket.cancelled:
                self._waiting.remove(ticket)
                self._answer(ticket, error=RuntimeError("cancelled"))
            elif ticket.job.id not in self._under_way and len(self._under_way) < self.settings.workers:
                self._executor = self._executor or in_processes(self.settings)
                self._waiting.remove(ticket)
                self._under_way[ticket.job.id] = ticket
                # The last attempt that there is: the coordinator alone counts them.
                self._executor.submit(ticket.job, attempt=ATTEMPTS)

    def _end(self) -> None:
        if self._executor is None or not self._under_way:
            return
        if all(ticket.cancelled for ticket in self._under_way.values()):
            self._stop(RuntimeError("cancelled"))
            return
        # With a slot free, a job that arrives must not wait for one that ends.
        free = len(self._under_way) < self.settings.workers
        for outcome in self._executor.wait(0.02 if free else _POLL_SECONDS):
            self._answer(self._under_way.pop(outcome.id), outcome=outcome)

    def _stop(self, error: BaseException) -> None:
        """End what is under way, the server included."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None
        for ticket in self._under_way.values():
            self._answer(ticket, error=error)
        self._under_way.clear()

    def _give_up(self, error: BaseException | None) -> None:
        error = error or RuntimeError("the station has closed")
        with self._lock:
            self._open = False
        try:
            self._stop(error)
        finally:
            while not self._arrivals.empty():
                self._waiting.append(self._arrivals.get(block=False))
            for ticket in self._waiting:
                self._answer(ticket, error=error)

    @staticmethod
    def _answer(ticket: _Ticket, *, outcome: Outcome | None = None, error: BaseException | None = None) -> None:
        ticket.outcome, ticket.error = outcome, error
        ticket.ended.set()


class _Here:
    """The station of this process: one, since there is one server of worker processes."""

    station: Station | None = None
    looked_at: set[str] = set()  # noqa: RUF012
    lock = threading.Lock()


def _station(settings: Settings) -> Station:
    with _Here.lock:
        here = _Here.station
        if here is not None and here.settings == settings and here.is_open():
            return here
        if here is not None and here.settings != settings and not here.leave(_LEAVING_SECONDS):
            raise RuntimeError("this worker is busy with the runs of another suite")
        _Here.station = Station(settings)
        return _Here.station


def look(given: str) -> bytes:
    """What this worker has of what the plan needs, as JSON; plugins are imported only where all are as they should."""
    settings = _settings(given)
    sources = [source_of(Origin(**origin)) for origin in settings.origins]
    daemon = bool(multiprocessing.current_process().daemon)
    plain = json.loads(given)
    missing = unseen(plain["files"], plain["folder"])
    report: dict[str, Any] = {"daemon": daemon, "sources": sources, "unseen": missing}
    expected = [{"version": origin["version"], "sha256": origin["sha256"]} for origin in settings.origins]
    if not daemon and not missing and sources == expected:
        payload = {"phase": LOOK, "threads": settings.threads, "datasets": list(settings.preload)}
        job = Job(digest([LOOK, given]), payload, {}, "", settings.device)
        outcome = _station(settings).evaluate(job, cancelled=_cancellation())
        report |= {"result": outcome.result, "environment": outcome.environment}
        _Here.looked_at.add(given)
    return json.dumps(report, allow_nan=False).encode()


def run(given: str, job: str) -> bytes:
    """The outcome of a job, as JSON.

    Raises:
        NotLookedAt: this process was not asked first what it has.
    """
    if given not in _Here.looked_at:
        raise NotLookedAt("this process was not asked first what it has")
    outcome = _station(_settings(given)).evaluate(Job(**json.loads(job)), cancelled=_cancellation())
    return json.dumps(dataclasses.asdict(outcome), allow_nan=False).encode()


def _settings(given: str) -> Settings:
    """The settings of the coordinator, as they are on this worker: its slots, and a folder for logs that is there."""
    from distributed import get_worker

    plain: Mapping[str, Any] = json.loads(given)
    logs = Path(plain["logs"])
    if not logs.parent.is_dir():
        logs = Path(tempfile.gettempdir()) / "harness-logs"
    lists = {name: tuple(plain[name]) for name in ("preload", "origins")}
    here = {"workers": get_worker().state.nthreads, "logs": str(logs), "checkpoints": None}
    here |= {"folder": None, "files": ()}  # else every command would need a station of its own
    return Settings(**{**plain, **lists, **here})


def _cancellation() -> Callable[[], bool]:
    """Whether Dask has taken back the task of this thread: by the coordinator's word, or since it is gone."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state != "executing" or worker.status.name not in ("running", "paused")

    return cancelled
