"""Commands that faults are put into, and the one oracle that ends every test of faults."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest

from tests.faults import substitute

DRIVER = Path(__file__).with_name("driver.py")
MARK = "HARNESS_FAULT"
"""Environment variable that every process of a test inherits."""
PATIENCE_SECONDS = 120.0
"""A limit against hanging, not a timing."""


def wait_for(condition: Callable[[], object], otherwise: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{otherwise} after {seconds:g} s")
        time.sleep(0.005)


class Zygote:
    """A process that has everything imported, and forks one for each command."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), "--serve"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())  # type: ignore[no-any-return]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True)
class Ended:
    """How a command ended, negative for a signal, and what it said."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """A command under way."""

    zygote: Zygote
    pid: int
    folder: Path
    strace: subprocess.Popen[bytes] | None = None

    def end(self, seconds: float = PATIENCE_SECONDS) -> Ended:
        """Wait for its end."""
        status = self.zygote.ask(pid=self.pid, seconds=seconds)["status"]
        if status is None:
            os.killpg(self.pid, signal.SIGKILL)
            pytest.fail(f"still running after {seconds:g} s: {(self.folder / 'err').read_text()}")
        if self.strace is not None:
            self.strace.wait(timeout=PATIENCE_SECONDS)
        return Ended(status, (self.folder / "out").read_text(), (self.folder / "err").read_text())


@dataclass
class Folder:
    """A user's folder with a suite of 8 runs, whose results must end as those of an uninterrupted suite."""

    path: Path
    zygote: Zygote
    reference: Path | None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        substitute.write_suite(self.path)
        self.environment[MARK] = uuid.uuid4().hex
        if self.reference is not None:
            self.environment["HARNESS_CACHE"] = str(self.path / "cache")

    @property
    def results(self) -> Path:
        return self.path / "results" / "suite"

    def start(self, *arguments: str, trace: str = "", inject: str = "", streams: str = "", **asked: Any) -> Command:
        """Begin `harness run suite.toml ARGUMENTS`, under strace if asked; what it says lies in `out` and `err`."""
        files = {name: str(self.path / f"{name}{streams}") for name in ("out", "err")}
        for path in (*files.values(), "ready"):
            (self.path / path).unlink(missing_ok=True)
        traced = bool(trace)
        pid = self.zygote.ask(
            arguments=["run", "suite.toml", *arguments],
            folder=str(self.path), environment=self.environment, traced=traced, **files, **asked,
        )["pid"]  # fmt: skip
        words = ["strace", "-f", "-qq", "-y", "-o", str(self.path / "trace"), "-e", f"trace={trace}", "-p", str(pid)]
        words += ["-e", f"inject={inject}"] if inject else []
        if traced:
            wait_for((self.path / "ready").exists, "the command is not ready to be traced")
        strace = subprocess.Popen(words, stderr=subprocess.DEVNULL) if traced else None
        return Command(self.zygote, pid, self.path, strace)

    def run(self, *arguments: str, **asked: Any) -> Ended:
        """The same, to its end."""
        return self.start(*arguments, **asked).end()

    def said(self, streams: str = "") -> str:
        """What the command has said on stderr so far."""
        path = self.path / f"err{streams}"
        return path.read_text() if path.exists() else ""

    def trace(self) -> list[str]:
        """Lines of strace."""
        return (self.path / "trace").read_text(errors="replace").splitlines()

    def records(self) -> dict[str, bytes]:
        """Records by name, as bytes."""
        return {path.name: path.read_bytes() for path in self.results.glob("runs/*/[0-9a-f]*.json")}

    def processes(self) -> list[psutil.Process]:
        """All that this folder's commands left behind."""
        return [one for one in psutil.process_iter() if _mark(one) == self.environment[MARK]]

    def assert_nothing_runs(self, seconds: float = 20.0) -> None:
        """No process of a command is left, or they end by themselves at once."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            if time.monotonic() > deadline:
                for one in left:
                    one.kill()
                pytest.fail(f"left running: {[(one.pid, one.info) for one in left]}")
            time.sleep(0.02)

    def assert_goes_on(self, *arguments: str, replay: str) -> None:
        """The same command again ends well, keeps every record, and equals an uninterrupted suite."""
        self.assert_nothing_runs()
        self.environment.pop(substitute.SECONDS, None)
        before = self.records()
        ended = self.run(*arguments)
        assert ended.code == 0, f"{replay}\n{ended.err}"
        assert "damaged" not in ended.err, f"{replay}\n{ended.err}"
        after = self.records()
        assert {name: after.get(name) for name in before} == before, f"a record was lost or done again; {replay}"
        self.assert_equal_to_uninterrupted(replay)

    def assert_equal_to_uninterrupted(self, replay: str) -> None:
        """The oracle: tables, records, the sum of runs, and nothing left over."""
        assert self.reference is not None
        uninterrupted = self.reference / "results" / "suite"
        for table in ("runs", "evaluations", "trials", "summary", "comparisons"):
            name = f"tables/{table}.csv"
            assert (self.results / name).read_bytes() == (uninterrupted / name).read_bytes(), f"{name}: {replay}"
        assert _judged(self.results) == _judged(uninterrupted), replay
        plan = json.loads((self.results / "plan.json").read_text())
        planned = sum(row[phase] for row in plan["runs"] for phase in ("tune", "final", "untuned"))
        with (self.results / "tables" / "runs.csv").open(newline="") as file:
            statuses = [row["status"] for row in csv.DictReader(file)]
        assert planned == len(statuses) == statuses.count("ok"), replay
        left = [str(path) for path in self.path.rglob("*") if ".tmp" in path.name or path.name == "lock.json"]
        assert left == [], replay
        assert not (self.results / "quarantine").exists(), replay
        assert set(os.listdir(self.path)) <= {"suite.toml", "results", "out", "err", "trace", "ready", "cache"}, replay
        with filelock.FileLock(self.results / "lock", timeout=0):
            pass
        self.assert_nothing_runs()

    def again(self) -> None:
        """Forget the results."""
        shutil.rmtree(self.path / "results", ignore_errors=True)


def _judged(results: Path) -> dict[str, Any]:
    """What equality of runs is judged on, by file."""
    found = {}
    for path in results.glob("runs/*/*"):
        record = json.loads(path.read_text())
        found[path.name] = {name: record[name] for name in ("spec", "result", "environment")}
    return found


def _mark(process: psutil.Process) -> str | None:
    """The mark that the process was started with; a command itself is forked, and known by its pid."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None
