"""The workers of a Dask cluster: who is there, what each has, and who may do runs."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import ClusterError
from harness.execute import Settings
from harness.execute.cluster import LOG
from harness.execute.sameness import differences, environment_differences, most_common

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_SECONDS = 600.0
"""In which a worker must have said what it has: it imports torch and loads the data for that."""
_ROUND_SECONDS = 1.0
_REPLY_SECONDS = 30.0


@dataclasses.dataclass
class Worker:
    """One worker process of the cluster."""

    address: str
    slots: int
    since: float
    state: Literal["asked", "answered", "ready", "refused", "lost"] = "asked"
    report: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    busy: int = 0
    """Slots with a run on them."""


class Roster:
    """Each worker is asked what it has before its first run, and gets none if that is not what the plan needs."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        look: Callable[[str], bytes],
        ended: Callable[[Future], None],
        resources: Mapping[str, float],
        patience: float,
        allow_mixed_environment: bool,
    ) -> None:
        self.given = json.dumps(dataclasses.asdict(settings), sort_keys=True)
        """What every task is told of the plan."""
        self._client, self._settings, self._look, self._ended = client, settings, look, ended
        self._resources, self._patience, self._mixed = dict(resources), patience, allow_mixed_environment
        self._workers: dict[str, Worker] = {}
        self._looks: dict[str, tuple[Worker, Future]] = {}
        self._refusals: list[str] = []
        self._environment = settings.environment
        self._last_round = float("-inf")
        self._last_hope = time.monotonic()

    @property
    def slots(self) -> int:
        """Of the workers that may be used now."""
        return sum(worker.slots for worker in self._workers.values() if worker.state == "ready")

    def free(self) -> Worker | None:
        """The worker that has most slots free, None where all are taken."""
        able = [w for w in self._workers.values() if w.state == "ready" and w.busy < w.slots]
        return max(able, key=lambda worker: worker.slots - worker.busy, default=None)

    def send(self, worker: Worker, name: str, function: Callable[..., bytes], *arguments: str) -> Future:
        """A task for just this worker, which Dask itself never tries again."""
        future = self._client.submit(
            function,
            *arguments,
            key=f"harness-{name}-{uuid.uuid4().hex[:8]}",  # never the task of another coordinator
            workers=[worker.address],
            allow_other_workers=False,
            pure=False,
            retries=0,
            resources=self._resources or None,
        )
        future.add_done_callback(self._ended)
        return future

    def round(self) -> None:
        """Look at who is there, at most once a second.

        Raises:
            ClusterError: the scheduler is gone, or no worker is left that may be used.
        """
        if time.monotonic() - self._last_round < _ROUND_SECONDS:
            return
        there = self._there()
        for address in sorted(self._workers.keys() - there.keys()):
            self.lose(self._workers[address])
        for address in sorted(there.keys() - self._workers.keys()):
            self._meet(address, there[address])
        for worker in self._workers.values():
            if worker.state == "asked" and time.monotonic() - worker.since > LOOK_SECONDS:
                self.refuse(worker, [f"it did not say within {LOOK_SECONDS:g} s what it has"])
        self._judge()
        self._check_hope()
        self._last_round = time.monotonic()

    def _there(self) -> dict[str, Any]:
        """Workers as the scheduler knows them, by address."""
        try:
            if self._client.status != "running":
                raise OSError(f"the connection is {self._client.status}")
            there = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the Dask scheduler is gone ({error}); the same command goes on when it is back") from (
                error
            )
        return {address: info for address, info in there.items() if info["status"] in ("running", "paused")}

    def _meet(self, address: str, info: Mapping[str, Any]) -> None:
        slots = int(info["nthreads"])
        for name, amount in self._resources.items():
            slots = min(slots, int(info["resources"].get(name, 0) // amount))
        worker = self._workers[address] = Worker(address, slots, time.monotonic())
        if slots < 1:
            declared = ", ".join(f"{name} = {amount:g}" for name, amount in self._resources.items())
            self.refuse(worker, [f"it does not declare the resources of a run ({declared})"])
            return
        future = self.send(worker, "look", self._look, self.given)
        self._looks[str(future.key)] = (worker, future)

    def hear(self, future: Future, said: bytes | None) -> bool:
        """Take in what a worker says that it has; False where that is not what the future is about."""
        worker, _ = self._looks.pop(str(future.key), (None, None))
        if worker is None:
            return False
        if said is None and future.status == "error":
            self.refuse(worker, [error_text(future)])
        elif said is not None:  # else the worker was lost meanwhile, which the next round finds
            worker.report = json.loads(said)
            worker.state = "answered"
            if found := differences(self._settings, worker.report):
                self.refuse(worker, found)
        self._judge()
        return True

    def _judge(self) -> None:
        """Let those of the workers that answered do runs that compute in the same environment."""
        workers = sorted(self._workers.values(), key=lambda worker: worker.address)
        answered = [worker for worker in workers if worker.state == "answered"]
        if self._environment is None and answered:
            if any(worker.state == "asked" for worker in workers):
                return  # the first to answer may be the odd one out
            self._environment = most_common([worker.report["environment"] for worker in answered])
        for worker in answered:
            found = environment_differences(self._environment or {}, worker.report["environment"])
            if found and not self._mixed:
                self.refuse(worker, [*found, "allow_mixed_environment = true lets it do runs all the same"])
            else:
                worker.state = "ready"

    def refuse(self, worker: Worker, reasons: list[str]) -> None:
        """Give the worker no run any more, and tell why."""
        if worker.state not in ("refused", "lost"):
            worker.state = "refused"
            self._refusals.append(f"worker {worker.address} gets no run: {'; '.join(reasons)}")
            LOG.warning("%s", self._refusals[-1])

    def lose(self, worker: Worker) -> None:
        """Forget a worker that is gone."""
        worker.state = "lost"
        if self._workers.get(worker.address) is worker:
            del self._workers[worker.address]

    def _check_hope(self) -> None:
        """Give up where no worker is left that may be used, or none has come for too long."""
        if any(worker.state != "refused" for worker in self._workers.values()):
            self._last_hope = time.monotonic()
        elif self._workers:
            raise ClusterError("no worker is left that may be used\n" + "\n".join(self._refusals))
        elif time.monotonic() - self._last_hope > self._patience:
            raise ClusterError(f"no worker was there for {self._patience:g} s (option 'patience'); start some")


def error_text(future: Future) -> str:
    """The exception that a task ended with, in one line."""
    error = future.exception(timeout=_REPLY_SECONDS)
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
