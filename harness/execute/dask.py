"""Runs on the workers of a Dask cluster.

Every task is for one worker and one slot of it. So a worker that is lost costs its own runs only, one that came later
is asked first what it has, and this module alone counts attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness import interrupts
from harness.execute import Job, Outcome, Settings, cluster, cores, sharing, station
from harness.execute.process import AGAIN, ATTEMPTS
from harness.execute.roster import Roster, Worker, error_text
from harness.execute.sameness import own_origin
from harness.outcomes import failure

if TYPE_CHECKING:
    from distributed import Future

GRACE_SECONDS = 60.0
"""Over its time limit, after which a run's worker is not waited for: it should have ended the run itself."""
_GATHER_SECONDS = 30.0


@dataclasses.dataclass
class _Task:
    """One attempt at a job, on a worker."""

    job: Job
    attempt: int
    worker: Worker
    future: Future
    begun: float


def build(
    settings: Settings,
    *,
    scheduler: str = "",
    resources: Mapping[str, float] | None = None,
    patience: float = 300.0,
    allow_mixed_environment: bool = False,
) -> DaskExecutor:
    """The executor on the cluster at the address, or on one that is made here.

    Raises:
        ClusterError: no cluster, or the extra is not installed.
    """
    cluster.need_distributed()
    settings = dataclasses.replace(settings, origins=(*settings.origins, dict(own_origin().__dict__)))
    found = cluster.connect(scheduler) if scheduler else cluster.start(settings.workers)
    return DaskExecutor(
        settings, found, resources=resources, patience=patience, allow_mixed_environment=allow_mixed_environment
    )


class DaskExecutor:
    """As many slots as the workers that may be used have threads; workers may come and go."""

    def __init__(
        self,
        settings: Settings,
        found: cluster.Cluster,
        *,
        resources: Mapping[str, float] | None = None,
        patience: float = 300.0,
        allow_mixed_environment: bool = False,
        run: Callable[[str, str], bytes] = station.run,
        look: Callable[[str], bytes] = station.look,
    ) -> None:
        self._settings, self._cluster, self._run = settings, found, run
        self._mark = None if settings.folder is None else sharing.mark(Path(settings.folder))
        seen = settings.files if self._mark is None else (self._mark, *settings.files)
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._roster = Roster(
            found.client,
            dataclasses.replace(settings, files=seen),
            look=look,
            ended=self._ended.put,
            resources=resources or {},
            patience=patience,
            allow_mixed_environment=allow_mixed_environment,
        )
        self._tasks: dict[str, _Task] = {}
        self._waiting: deque[tuple[Job, int]] = deque()
        self._outcomes: list[Outcome] = []

    @property
    def slots(self) -> int:
        """Of the workers that may be used now."""
        return self._roster.slots

    def submit(self, job: Job) -> None:
        """Give the job to the worker that has most slots free."""
        self._waiting.append((job, 1))
        self._hand_out()

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the runs that ended; one whose worker was lost is begun again on another.

        Raises:
            ClusterError: the scheduler is gone, or no worker is left that may be used.
        """
        self._roster.round()
        self._watch()
        self._receive(0 if self._outcomes else seconds)
        self._hand_out()
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def close(self) -> None:
        """Take back what is under way, and leave the cluster; workers end the processes of what is taken back."""
        with interrupts.held_back():
            self._cancel(list(self._tasks.values()))
            self._waiting.clear()
            self._cluster.close()
            if self._mark is not None:
                sharing.take_away(self._mark)

    def _hand_out(self) -> None:
        while self._waiting and (worker := self._roster.free()) is not None:
            job, attempt = self._waiting.popleft()
            text = json.dumps(dataclasses.asdict(job))
            with interrupts.held_back():
                future = self._roster.send(worker, f"{job.id}-{attempt}", self._run, self._roster.given, text)
                worker.busy += 1
                self._tasks[str(future.key)] = _Task(job, attempt, worker, future, time.monotonic())

    def _watch(self) -> None:
        """See to runs whose worker is lost or refused, and to those that it should have ended long ago."""
        limit = self._settings.time_limit + GRACE_SECONDS
        late = [task for task in self._tasks.values() if time.monotonic() - task.begun > limit]
        for task in late:
            self._cancel([task])
            self._give_up(task, "timeout", f"over the limit of {self._settings.time_limit:g} s")
            self._roster.refuse(task.worker, [f"it let a run go on for {GRACE_SECONDS:g} s over its limit"])
        for task in [task for task in self._tasks.values() if task.worker.state in ("lost", "refused")]:
            self._cancel([task])
            if task.worker.state == "lost":
                self._again(task, "killed", "its worker was lost")
            else:
                self._waiting.appendleft((task.job, task.attempt))

    def _cancel(self, tasks: list[_Task]) -> None:
        """Take runs back from their workers."""
        for task in tasks:
            self._tasks.pop(str(task.future.key), None)
            task.worker.busy -= 1
        with contextlib.suppress(Exception):
            self._cluster.client.cancel([task.future for task in tasks], force=True)

    def _again(self, task: _Task, status: str, how: str) -> None:
        """Begin a run once more, or give it up."""
        if task.attempt < ATTEMPTS:
            self._waiting.appendleft((task.job, task.attempt + 1))
        else:
            self._give_up(task, status, f"ended without a result ({how}) in {ATTEMPTS} attempts")

    def _give_up(self, task: _Task, status: str, reason: str) -> None:
        observed = {"attempt": task.attempt, "total_seconds": time.monotonic() - task.begun}
        self._outcomes.append(Outcome(task.job.id, failure(status, reason), {}, observed))

    # What comes back -------------------------------------------------------------------------------------------------

    def _receive(self, seconds: float) -> None:
        futures = self._done(seconds)
        said = self._fetch([future for future in futures if future.status == "finished"])
        for future in futures:
            value = said.get(str(future.key))
            if self._roster.hear(future, value):
                continue
            if (task := self._tasks.pop(str(future.key), None)) is not None:
                task.worker.busy -= 1
                self._keep(task, value)

    def _done(self, seconds: float) -> list[Future]:
        """Futures that are done, as soon as there is one."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=seconds) if seconds else self._ended.get(block=False))
            while True:
                found.append(self._ended.get(block=False))
        return found

    def _fetch(self, futures: list[Future]) -> dict[str, bytes]:
        """What the tasks gave, by key, fetched in one go; without those whose worker is gone."""
        if not futures:
            return {}
        client = self._cluster.client
        fetching = asyncio.run_coroutine_threadsafe(
            client.gather(futures, errors="skip", asynchronous=True), client.loop.asyncio_loop
        )
        try:
            got = fetching.result(timeout=_GATHER_SECONDS)
        except Exception:  # whatever a broken connection raises; the runs are done again
            fetching.cancel()
            return {}
        if len(got) == len(futures):
            return {str(future.key): value for future, value in zip(futures, got, strict=True)}
        each = [self._fetch([future]) for future in futures] if len(futures) > 1 else []
        return {key: value for one in each for key, value in one.items()}

    def _keep(self, task: _Task, said: bytes | None) -> None:
        """The outcome of a task, or its next attempt."""
        if said is not None:
            outcome = Outcome(**json.loads(said))
            if outcome.result["status"] in AGAIN and task.attempt < ATTEMPTS:
                self._waiting.appendleft((task.job, task.attempt + 1))
            else:
                self._outcomes.append(dataclasses.replace(outcome, observed=self._observed(outcome, task)))
            return
        how = error_text(task.future) if task.future.status == "error" else "KilledWorker"
        if how.startswith(("KilledWorker", "NotLookedAt")):
            self._roster.lose(task.worker)  # the next round meets whoever has its address now
            self._again(task, "killed", "its worker was lost")
        else:
            self._again(task, "crashed", how)

    def _observed(self, outcome: Outcome, task: _Task) -> dict[str, object]:
        observed = {**outcome.observed, "attempt": task.attempt}
        if self._cluster.local is not None and "overlapped" in observed:
            observed["overlapped"] = self._settings.workers * self._settings.threads > cores()
        return observed
