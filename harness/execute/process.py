"""Runs in worker processes, a fresh one for each run, forked from a server that has torch and the data loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any

from harness import interrupts
from harness.errors import ResultsError
from harness.execute import Job, Outcome, cores, watch
from harness.execute.server import PLUGINS, PRELOAD
from harness.execute.worker import LARGEST_MESSAGE, Assignment, work
from harness.outcomes import failure
from harness.train import checkpoints

ATTEMPTS = 3
"""How often a run is begun that was killed from outside, crashed, or ran out of memory."""
AGAIN = ("killed", "crashed", "oom")
FIRST_ANSWER_SECONDS = 660.0
"""In which the server must have imported torch and loaded the data."""
ANSWER_SECONDS = 60.0
"""In which it must have forked a process after that."""
LARGEST_LOG_MB = 10.0
MOST_THREADS = 256
_GRACE_SECONDS = 3.0
_LOOK_EVERY_SECONDS = 0.1
_TAIL = 4000


@dataclass
class _Running:
    job: Job
    process: Any
    messages: connection.Connection
    begun: float
    attempt: int
    scratch: Path
    children: set[int] = dataclasses.field(default_factory=set)


@dataclass(frozen=True)
class _Ended:
    """How a run was ended that gave no result itself."""

    status: str
    reason: str


class ProcessExecutor:
    """`slots` worker processes at a time, `threads` torch threads each.

    Messages are JSON; nothing that a run's process sends is ever unpickled. Beyond its limits of time, memory (above
    what it was forked with), threads and log a run is ended, with all processes that it began.
    """

    def __init__(
        self,
        slots: int,
        *,
        threads: int,
        preload: Sequence[Mapping[str, Any]],
        time_limit: float,
        logs: Path,
        memory_limit: float | None = None,
        loaders: int = 0,
        plugins: Sequence[Mapping[str, Any]] = (),
        checkpoints: Path | None = None,
        checkpoint_seconds: float = 600.0,
    ) -> None:
        self.slots = slots
        self._threads, self._time_limit, self._logs = threads, time_limit, logs
        self._preload = {PRELOAD: json.dumps(list(preload)), PLUGINS: json.dumps(list(plugins))}
        self._memory_limit, self._loaders = memory_limit, loaders
        self._checkpoints, self._checkpoint_seconds = checkpoints, checkpoint_seconds
        self._overlapped = slots * threads > cores()
        self._running: list[_Running] = []
        self._looked = 0.0
        self._answered = False
        self._scratch = _scratch_folder()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["harness.execute.server"])

    def submit(self, job: Job, *, attempt: int = 1) -> None:
        """Fork a process for the job, which goes on from its newest checkpoint if there is one."""
        ours, theirs = self._context.Pipe(duplex=False)
        log = self._logs / f"{job.id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.is_symlink() or (log.exists() and not log.is_file()):
            log.unlink()  # planted: harness writes through no links, and a FIFO would wait for a reader
        scratch = Path(tempfile.mkdtemp(dir=self._scratch))
        resume = None if self._checkpoints is None else checkpoints.newest(self._checkpoints / job.id)
        assignment = Assignment(
            job=dataclasses.asdict(job),
            log=str(log.resolve()),
            scratch=str(scratch),
            resume=None if resume is None else str(resume.resolve()),
            checkpoint_seconds=None if self._checkpoints is None else self._checkpoint_seconds,
            time_limit=self._time_limit,
            loaders=self._loaders,
        )
        process = self._context.Process(target=work, args=(theirs, assignment.to_json()))
        with interrupts.held_back():  # the server dies of a conversation that breaks off
            with interrupts.born_deaf(), _server_environment(self._threads, self._preload):
                forkserver.ensure_running()
            with _answer_within(ANSWER_SECONDS if self._answered else FIRST_ANSWER_SECONDS):
                process.start()
            self._answered = True
            theirs.close()
            self._running.append(_Running(job, process, ours, time.monotonic(), attempt, scratch))

    def wait(self, seconds: float) -> list[Outcome]:
        """Outcomes of the processes that ended; one killed from outside is begun again."""
        # A child of a run may hold its pipe open, so that the end of the process has to be seen by itself.
        ends = [end for running in self._running for end in (running.messages, running.process.sentinel)]
        ready = connection.wait(ends, timeout=seconds)
        look = time.monotonic() - self._looked >= _LOOK_EVERY_SECONDS
        self._looked = time.monotonic() if look else self._looked
        outcomes = []
        for running in list(self._running):
            outcome = None
            if running.messages in ready or running.process.sentinel in ready:
                outcome = self._hear(running)
            elif look and (ended := self._beyond_limits(running)) is not None:
                outcome = self._stop(running, ended)
            outcomes += [] if outcome is None else [outcome]
        return outcomes

    def _hear(self, running: _Running) -> Outcome | None:
        """Take what the run says: a checkpoint, or its outcome; without a word its process has ended."""
        message = _receive(running.messages)
        if message is not None and "checkpoint" in message:
            self._keep_checkpoint(running, message["checkpoint"])
            return None
        _end(running.process, patience=_GRACE_SECONDS)
        code = running.process.exitcode
        self._drop(running)
        if message is not None:
            observed = {**message["observed"], "attempt": running.attempt, "overlapped": self._overlapped}
            if message["result"]["status"] in AGAIN and running.attempt < ATTEMPTS:
                self.submit(running.job, attempt=running.attempt + 1)
                return None
            return Outcome(running.job.id, message["result"], message["environment"], observed)
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        status = "killed" if code == -signal.SIGKILL else "crashed"
        return self._again_or(running, _Ended(status, f"ended without a result ({how}) in {ATTEMPTS} attempts"))

    def _keep_checkpoint(self, running: _Running, said: Mapping[str, Any]) -> None:
        assert self._checkpoints is not None
        source = running.scratch / Path(str(said["name"])).name
        folder = self._checkpoints / running.job.id
        checkpoints.keep(folder, source, step=int(said["step"]), sha256=str(said["sha256"]))
        source.unlink(missing_ok=True)

    def _beyond_limits(self, running: _Running) -> _Ended | None:
        """Which limit the run is over, if any."""
        if time.monotonic() - running.begun > self._time_limit:
            return _Ended("timeout", f"over the limit of {self._time_limit:g} s")
        log = self._logs / f"{running.job.id}.log"
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > LARGEST_LOG_MB * 2**20:
                return _Ended("error", f"over the limit of {LARGEST_LOG_MB:g} MB of log")
        used = watch.usage(running.process.pid)
        if used is None:
            return None
        if used.threads > MOST_THREADS:
            return _Ended("error", f"over the limit of {MOST_THREADS} threads")
        running.children = set(watch.descendants(running.process.pid))
        if self._memory_limit is not None and self._memory_mb(running, used) > self._memory_limit:
            return _Ended("oom", f"over the limit of {self._memory_limit:.0f} MB of memory")
        return None

    def _memory_mb(self, running: _Running, used: watch.Usage) -> float:
        """Memory of the run and all its children above what the server holds, which the run was forked with."""
        server = watch.usage(_server_pid() or 0)
        own = used.memory_mb - (0.0 if server is None else server.memory_mb)
        return own + sum(map(watch.private_mb, running.children))

    def _stop(self, running: _Running, ended: _Ended) -> Outcome | None:
        _end(running.process, patience=0)
        watch.kill([pid for pid in running.children if pid not in (os.getpid(), _server_pid())])
        self._drop(running)
        return self._again_or(running, ended)

    def _again_or(self, running: _Running, ended: _Ended) -> Outcome | None:
        """Begin the run again where that may help, else its outcome."""
        if ended.status in AGAIN and running.attempt < ATTEMPTS:
            self.submit(running.job, attempt=running.attempt + 1)
            return None
        observed: dict[str, Any] = {"attempt": running.attempt, "total_seconds": time.monotonic() - running.begun}
        with contextlib.suppress(OSError):
            observed["traceback"] = _end_of(self._logs / f"{running.job.id}.log")
        return Outcome(running.job.id, failure(ended.status, ended.reason), {}, observed)

    def _drop(self, running: _Running) -> None:
        running.messages.close()
        running.process.close()
        self._running.remove(running)
        self._end_orphans()
        shutil.rmtree(running.scratch, ignore_errors=True)
        log = self._logs / f"{running.job.id}.log"
        if log.exists() and log.stat().st_size == 0:
            log.unlink()

    def _end_orphans(self) -> None:
        """End what ended runs have left behind: the server inherits it, whatever session it made for itself."""
        known = {running.process.pid for running in self._running}
        server, deadline = _server_pid(), time.monotonic() + _GRACE_SECONDS
        while server is not None and time.monotonic() < deadline:
            orphans = [pid for pid in watch.children(server) if pid not in known]
            if not orphans:
                return
            watch.kill(orphans)
            time.sleep(0.005)  # the server has to bury them, and inherits theirs

    def close(self) -> None:
        """Kill what is under way, and the server."""
        with interrupts.held_back():
            for running in list(self._running):
                _end(running.process, patience=0)
                self._drop(running)
            # There is no public way to end the server before the interpreter ends. It is killed first, since it would
            # wait for whatever a run left behind in a session of its own.
            if (pid := _server_pid()) is not None:
                os.kill(pid, signal.SIGKILL)
            forkserver._forkserver._stop()  # type: ignore[attr-defined]
            shutil.rmtree(self._scratch, ignore_errors=True)


@contextlib.contextmanager
def _answer_within(seconds: float) -> Iterator[None]:
    """Kill the server where it does not answer in time: the conversation with it has no deadline of its own.

    Raises:
        ResultsError: it did not answer.
    """
    late = threading.Event()

    def give_up() -> None:
        late.set()
        if (pid := _server_pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (EOFError, OSError) as error:
        if not late.is_set():
            raise
        raise ResultsError(
            f"the process that workers are forked from did not answer within {seconds:g} s, so it was ended (was it "
            "stopped, or does a data set wait for something?); the same command goes on"
        ) from error
    finally:
        timer.cancel()


def _end_of(log: Path) -> str:
    """Its last characters; a run that was ended for its words has written gigabytes."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4 * _TAIL))  # a character has 4 bytes at most
        return file.read().decode(errors="replace")[-_TAIL:]


def _server_pid() -> int | None:
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def _scratch_folder() -> Path:
    """A folder outside the results for what runs write; those of coordinators that were killed are removed."""
    base = Path(tempfile.gettempdir())
    for old in base.glob("harness-*-*"):
        pid = old.name.split("-")[1]
        if pid.isdigit() and not _lives(int(pid)) and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"harness-{os.getpid()}-"))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _server_environment(threads: int, preload: Mapping[str, str]) -> Iterator[None]:
    """The environment that the server is started in, at the first run."""
    given = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # to ask for a GPU must not begin with it before the fork
        "PYTHONSAFEPATH": "1",  # a torch.py in the working folder must not hide the package
        **preload,
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
