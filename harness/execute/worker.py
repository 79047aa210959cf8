"""A worker process from its first instruction to its last: one assignment, checkpoints on the way, one outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LARGEST_MESSAGE = 2**22
MOST_FILES = 1024


@dataclass(frozen=True)
class Assignment:
    """What a worker process is started with: plain data."""

    job: Mapping[str, Any]
    log: str
    """File that its output goes to."""
    scratch: str
    """Folder of its own, where it works and hands over checkpoints."""
    resume: str | None
    """Checkpoint to go on from."""
    checkpoint_seconds: float | None
    """Least time between two checkpoints; None: it makes none."""
    time_limit: float
    loaders: int

    def to_json(self) -> str:
        """As one text."""
        return json.dumps(dataclasses.asdict(self))


def work(messages: Connection, assignment: str) -> None:
    """Do the run and send its outcome; never returns."""
    from harness.execute.server import die_with_parent, inherit_orphans

    given = Assignment(**json.loads(assignment))
    os.setsid()
    die_with_parent()
    inherit_orphans()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server ignores it
    _redirect(given.log)
    _limit(given.time_limit)
    os.chdir(given.scratch)
    from harness.execute import Job
    from harness.execute.work import Means, evaluate

    keep = None if given.checkpoint_seconds is None else _keeper(messages, Path(given.scratch), given)
    resume = None if given.resume is None else Path(given.resume)
    outcome = evaluate(Job(**given.job), Means(given.loaders, keep, resume))
    faulthandler.cancel_dump_traceback_later()
    _send(messages, dataclasses.asdict(outcome))
    messages.close()
    os._exit(0)  # threads and exit handlers of a plugin must not keep the worker alive


def _send(messages: Connection, message: Mapping[str, Any]) -> None:
    messages.send_bytes(json.dumps(message, allow_nan=False).encode())


def _redirect(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)


def _limit(seconds: float) -> None:
    """No core files, not too many open ones, and a traceback in the log of whatever hangs or dies in C."""
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, MOST_FILES)):
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    faulthandler.enable(file=2)
    faulthandler.dump_traceback_later(max(seconds - 5.0, 0.5 * seconds), file=2)


def _keeper(messages: Connection, scratch: Path, given: Assignment) -> Callable[[int, Callable[[], Any]], None]:
    """Writes a state when enough time has gone by since the last one, and tells the coordinator.

    One that finds no room is left out: without it the run gives the same.
    """
    last = time.monotonic()

    def keep(step: int, state: Callable[[], Any]) -> None:
        nonlocal last
        assert given.checkpoint_seconds is not None
        if time.monotonic() - last < given.checkpoint_seconds:
            return
        from harness.train import snapshot
        from harness.train.checkpoints import sha256_of

        path, due = scratch / f"{step}.safetensors", state()
        last = time.monotonic()
        try:
            snapshot.save(path, due)
        except snapshot.NotPlain:
            raise
        except Exception as error:  # a full disk, of which more than one library has an error of its own
            path.unlink(missing_ok=True)
            sys.stderr.write(f"no checkpoint after step {step}: {error}\n")  # the run's log
            return
        _send(messages, {"checkpoint": {"name": path.name, "step": step, "sha256": sha256_of(path)}})
        last = time.monotonic()

    return keep
