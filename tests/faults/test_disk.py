"""A full or broken disk stops with one message and exit code 4, loses no record, and the same command goes on."""

from __future__ import annotations

import re

import pytest

from tests.faults.tools import Folder

SAID = {"ENOSPC": "No space left on device", "EIO": "Input/output error", "EROFS": "Read-only file system"}
SAID["EDQUOT"] = "Disk quota exceeded"


def calls_on_results(folder: Folder, call: str) -> list[int]:
    """The numbers of those of the command's calls that write below the results folder, in a run without faults."""
    command = folder.start(trace=call)
    assert command.end().code == 0
    lines = [line.split(maxsplit=1)[1] for line in folder.trace()]
    lines = [line for line in lines if line.startswith(f"{call}(")]
    folder.again()
    # Not what is printed: a line of the report's path has the folder's name in it too.
    place = re.compile(r"write\(\d+<[^>]*results/suite" if call == "write" else "results/suite")
    ours = [(n, line) for n, line in enumerate(lines, 1) if place.search(line)]
    writes = [n for n, line in ours if call != "openat" or "O_CREAT" in line]
    assert writes
    return writes


def failed_at(folder: Folder, call: str, number: int, error: str, more: str = "") -> None:
    """Have the NUMBERth call fail (and, with `more` = +, all that follow), see it said, and go on."""
    replay = f"call {call}, error {error}, when={number}{more}"
    print(replay)
    command = folder.start(trace=call, inject=f"{call}:error={error}:when={number}{more}")
    ended = command.end()
    assert any("(INJECTED)" in line for line in folder.trace()), f"the injection did not fire: {replay}"
    assert ended.code == 4, f"{replay}\n{ended.err}"
    assert "Traceback" not in ended.err, f"{replay}\n{ended.err}"
    if not (call == "write" and more):  # then stderr is on the full disk too
        assert re.search(rf"error: cannot write \S+: {SAID[error]} \([\d,]+ bytes free, [\d,]+ needed\)", ended.err), (
            f"{replay}\n{ended.err}"
        )
    folder.assert_goes_on(replay=replay)


SOME = [
    ("write", 3, "ENOSPC", ""), ("write", -1, "EIO", ""), ("write", 6, "ENOSPC", "+"),
    ("fsync", 4, "EIO", ""), ("fsync", 7, "ENOSPC", "+"),
    ("rename", 2, "EIO", ""), ("rename", 9, "ENOSPC", "+"), ("openat", 5, "EROFS", ""), ("openat", 0, "EDQUOT", ""),
]  # fmt: skip


@pytest.fixture(scope="session")
def found() -> dict[str, list[int]]:
    """What `calls_on_results` has found: every run without faults makes the same calls."""
    return {}


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("call", "place", "error", "more"), SOME)
def test_an_error_of_the_disk_is_one_message_and_loses_nothing(folder, found, call, place, error, more):
    if call not in found:
        found[call] = calls_on_results(folder, call)
    failed_at(folder, call, found[call][place], error, more)


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "openat"])
def test_errors_at_every_operation_lose_nothing(folder, call):
    numbers = calls_on_results(folder, call)[:25]
    for place, number in enumerate(numbers):
        failed_at(folder, call, number, ("ENOSPC", "EIO")[place % 2], ("", "+")[place // 2 % 2])
        folder.again()
    print(f"{len(numbers)} errors at {call}")


def too_large(folder: Folder, largest: int) -> int:
    """Let no file be larger, and go on; returns the exit code."""
    ended = folder.run(largest_file=largest)
    assert ended.code in (0, 4), ended.err
    assert "Traceback" not in ended.err
    if ended.code == 4 and largest > 600:  # else its words did not fit into the file either that stderr is
        assert re.search(r"cannot write \S+: File too large \([\d,]+ bytes free, [\d,]+ needed\)", ended.err), ended.err
    folder.assert_goes_on(replay=f"RLIMIT_FSIZE {largest}")
    return ended.code


@pytest.mark.parametrize("largest", [0, 300, 1500, 3000])
def test_files_that_may_not_grow_stop_the_suite_and_lose_nothing(folder, largest):
    assert too_large(folder, largest) == 4


@pytest.mark.slow
def test_ten_limits_of_file_size_lose_nothing(folder):
    codes = []
    for largest in (1, 100, 500, 1000, 2000, 2500, 3500, 5000, 8000, 1_000_000):
        codes.append(too_large(folder, largest))
        folder.again()
    assert codes[0] == 4
    assert codes[-1] == 0


def test_too_little_room_is_said_before_anything_runs(folder, monkeypatch):
    folder.environment["HARNESS_PURE_FREE"] = "1000"
    ended = folder.run()
    assert ended.code == 4
    assert re.search(r"too little room for 8 runs in results/suite: [\d,]+ bytes free, about [\d,]+ needed", ended.err)
    assert folder.records() == {}
    del folder.environment["HARNESS_PURE_FREE"]
    folder.assert_goes_on(replay="require_space")
