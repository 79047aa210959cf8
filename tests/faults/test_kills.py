"""kill -9 of any process at any moment loses at most the runs in flight; the same command ends as if nothing were."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time

import psutil
import pytest

from tests.faults.substitute import SECONDS
from tests.faults.tools import PATIENCE_SECONDS, Command, Folder

CALLS = {"rename": "rename,renameat,renameat2", "unlink": "unlink,unlinkat", "fsync": "fsync,fdatasync"}


def kind(call: str, line: str) -> str:
    """What the call of a line of strace is about: the last path that it names, without what differs between runs.

    A file that is synced is any file: what is left of it is what is left where its renaming is killed.
    """
    if call == "fsync" and line.endswith(".tmp>) = 0"):
        return "a file"
    path = re.findall(r"results/suite[^\s\">]*", line)[-1].removeprefix("results/suite").removeprefix("/")
    path = re.sub(r"\.([\w.]+)\.[\w-]+\.\d+\.\w{8}\.tmp$", r"\1", path)
    return re.sub(r"\w{64}", "*", re.sub(r"\bruns/\w\w\b", "runs/*", re.sub(r"tables/\w+\.csv", "tables/*.csv", path)))


@pytest.fixture(scope="session")
def numbers(zygote, reference, tmp_path_factory) -> dict[tuple[str, str], list[int]]:
    """The numbers of the calls of each kind in a run without faults."""
    folder = Folder(tmp_path_factory.mktemp("traced"), zygote, reference)
    found: dict[tuple[str, str], list[int]] = {}
    for call, names in CALLS.items():
        assert folder.start(trace=names).end().code == 0
        lines = [line.split(maxsplit=1)[1] for line in folder.trace()]
        lines = [line for line in lines if line.partition("(")[0] in names.split(",")]
        for number, line in enumerate(lines, 1):
            found.setdefault((call, kind(call, line)), []).append(number)
        folder.again()
    return found


def killed_at(folder: Folder, call: str, number: int) -> bool:
    """Kill the command at its NUMBERth call and go on; False where it ended before."""
    replay = f"killed at {call} {number}"
    print(replay)
    command = folder.start(trace=CALLS[call], inject=f"{CALLS[call]}:signal=KILL:when={number}")
    ended = command.end()
    fired = ended.code == -signal.SIGKILL
    assert fired or ended.code == 0, f"{replay}\n{ended.err}"
    assert fired == any("killed by SIGKILL" in line for line in folder.trace()), replay
    folder.assert_goes_on(replay=replay)
    return fired


POINTS = [
    ("rename", "lock.json", 0), ("rename", "suite.toml", 0), ("rename", "plan.json", 0),
    ("rename", "environment.json", 0), ("rename", "studies/*.json", 0), ("rename", "studies/*.json", -1),
    ("rename", "runs/*/*.json", 0), ("rename", "runs/*/*.json", 3), ("rename", "runs/*/*.json", -1),
    ("rename", "tables/*.csv", 0), ("rename", "tables/*.csv", -1), ("rename", "datapackage.json", 0),
    ("rename", "report/report.html", 0), ("rename", "report/answer.json", 0), ("unlink", "lock.json", 0),
    ("fsync", "a file", 0), ("fsync", "a file", 6), ("fsync", "", -1), ("fsync", "runs/*", 4),
]  # fmt: skip
"""Call, what it is about, and which of its kind."""


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "what", "at"), POINTS)
def test_a_kill_at_any_kind_of_call_is_put_right(folder, numbers, call, what, at):
    assert killed_at(folder, call, numbers[call, what][at]), "the injection did not fire"


@pytest.mark.usefixtures("strace")
def test_every_kind_of_call_is_killed_at(numbers):
    assert set(numbers) == {(call, what) for call, what, _ in POINTS}


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "least"), [("rename", 24), ("unlink", 1), ("fsync", 20)])
def test_a_kill_at_every_call_is_put_right(folder, call, least):
    number = 1
    while killed_at(folder, call, number):
        folder.again()
        number += 1
    print(f"{number - 1} kills at {call}")
    assert number > least


def run_processes(folder: Folder) -> list[psutil.Process]:
    """The run processes that live: children of the server."""
    marked = {one.pid: one for one in folder.processes()}
    found = []
    for one in marked.values():
        with contextlib.suppress(psutil.Error):
            if one.ppid() in marked:
                found.append(one)
    return found


def kill_run(folder: Folder, command: Command) -> None:
    """Kill the first run process that is found, if the command still has one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and psutil.Process(command.pid).status() != psutil.STATUS_ZOMBIE:
        for one in run_processes(folder):
            with contextlib.suppress(psutil.Error):
                one.kill()
                return


def killed_at_random(folder: Folder, whom: str, seed: int) -> None:
    """Kill at a moment drawn from the seed, see nothing left, and go on."""
    replay = f"replay: pytest 'tests/faults/test_kills.py::test_a_random_kill_is_put_right[{whom}-{seed}]'"
    print(replay)
    folder.environment[SECONDS] = "0.03"
    command = folder.start("--executor", "process", "--workers", "2")
    time.sleep(random.Random(seed).uniform(0.02, 1.5))
    if whom == "run":
        kill_run(folder, command)
        ended = command.end()
        assert ended.code == 0, f"{replay}\n{ended.err}"
        folder.assert_equal_to_uninterrupted(replay)
        return
    (os.killpg if whom == "group" else os.kill)(command.pid, signal.SIGKILL)
    ended = command.end(PATIENCE_SECONDS)
    assert ended.code in (-signal.SIGKILL, 0), replay
    folder.assert_goes_on("--executor", "process", "--workers", "2", replay=replay)


# After 0.2 and 0.5 s.
RANDOM = [(whom, seed) for seed in (1, 7) for whom in ("coordinator", "run", "group")]


@pytest.mark.parametrize(("whom", "seed"), RANDOM)
def test_a_random_kill_is_put_right(folder, whom, seed):
    killed_at_random(folder, whom, seed)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["coordinator", "run", "group"])
def test_many_random_kills_are_put_right(folder, whom):
    for seed in range(100, 110):
        killed_at_random(folder, whom, seed)
        folder.again()


@pytest.mark.usefixtures("strace")
def test_every_record_is_written_then_synced_then_named_then_its_folder_synced(folder):
    command = folder.start(trace="openat,write,fsync,rename")
    assert command.end().code == 0
    lines = [line.split(maxsplit=1)[1] for line in folder.trace() if "results/suite" in line]
    names = [line.split('"')[3] for line in lines if line.startswith("rename(") and "/runs/" in line]
    assert len(names) == len(set(names)) == 8
    for name in names:
        at = next(i for i, line in enumerate(lines) if line.startswith("rename(") and name in line)
        temporary = lines[at].split('"')[1].rpartition("/")[2]
        before = [line.partition("(")[0] for line in lines[:at] if temporary in line]
        opened = next(line for line in lines if line.startswith("openat(") and temporary in line)
        assert all(flag in opened for flag in ("O_CREAT", "O_EXCL", "O_NOFOLLOW")), opened
        assert (before[0], before[-1], set(before[1:-1])) == ("openat", "fsync", {"write"})
        after = next(line for line in lines[at + 1 :] if line.startswith("fsync("))
        folder_synced = after.split("<")[1].split(">")[0]
        assert (folder.path / name).parent.as_posix().endswith(folder_synced.rpartition("/results/")[2])
