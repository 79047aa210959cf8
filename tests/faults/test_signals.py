"""One Ctrl-C or SIGTERM ends a command at any moment with its state kept; a second one ends it at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from harness.interrupts import WORDS
from tests.faults.substitute import SECONDS
from tests.faults.tools import Command, Folder

NUMBERS = {"SIGINT": 130, "SIGTERM": 143}
LIMIT_SECONDS = 20.0
"""Promised are 5 s; a busy machine gets more."""
PROCESS = ("--executor", "process", "--workers", "2")


def whole_seconds(folder: Folder, executor: tuple[str, ...]) -> float:
    """How long the command takes on this machine when nobody interrupts it."""
    begun = time.monotonic()
    assert start(folder, executor).end(LIMIT_SECONDS).code == 0
    folder.again()
    return time.monotonic() - begun


def start(folder: Folder, executor: tuple[str, ...]) -> Command:
    folder.environment[SECONDS] = "0.03"
    return folder.start(*executor)


def interrupted(
    folder: Folder,
    name: str,
    seed: int,
    *,
    executor: tuple[str, ...] = PROCESS,
    twice: bool = False,
    within: float = 1.4,
) -> int:
    """Send it at a moment of the first `within` seconds, see nothing left, and go on; returns the exit code."""
    replay = f"signal {name}, seed {seed}, {' '.join(executor)}, twice {twice}"
    print(replay)
    chance = random.Random(seed)
    command = start(folder, executor)
    time.sleep(chance.uniform(0.0, within))
    os.kill(command.pid, getattr(signal, name))
    if twice:
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(command.pid, signal.SIGINT)
    begun = time.monotonic()
    ended = command.end(LIMIT_SECONDS)
    print(f"exit {ended.code} after {time.monotonic() - begun:.2f} s")
    assert ended.code in ((NUMBERS[name], 130, 0) if twice else (NUMBERS[name], 0)), f"{replay}\n{ended.err}"
    assert "Traceback" not in ended.err, f"{replay}\n{ended.err}"
    assert "Exception ignored" not in ended.err, f"{replay}\n{ended.err}"
    if ended.code and not twice:
        assert ended.err.count(WORDS) == 1, f"{replay}\n{ended.err}"
        assert ended.out == "" or "report:" in ended.out, replay
    folder.assert_goes_on(*executor, replay=replay)
    return ended.code


@pytest.mark.parametrize(("name", "seed"), [("SIGINT", 1), ("SIGINT", 7), ("SIGTERM", 4), ("SIGTERM", 5)])
def test_a_signal_at_a_random_moment_ends_the_command_and_keeps_its_state(folder, name, seed):
    interrupted(folder, name, seed)


@pytest.mark.parametrize("seed", [1, 7])
def test_a_signal_while_runs_are_done_in_this_process_does_the_same(folder, seed):
    interrupted(folder, "SIGINT", seed, executor=())


@pytest.mark.parametrize("seed", [8])
def test_a_second_signal_ends_it_at_once(folder, seed):
    interrupted(folder, "SIGTERM", seed, twice=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seeds"), [("SIGINT", range(100, 120)), ("SIGTERM", range(200, 210))])
def test_signals_at_many_moments_end_the_command_and_keep_its_state(folder, name, seeds):
    seconds = {executor: whole_seconds(folder, executor) for executor in (PROCESS, ())}
    codes = []
    for seed in seeds:
        executor = PROCESS if seed % 4 else ()
        codes.append(interrupted(folder, name, seed, executor=executor, within=seconds[executor]))
        folder.again()
    assert codes.count(NUMBERS[name]) >= len(codes) // 2


@pytest.mark.slow
def test_second_signals_at_many_moments_end_it_at_once(folder):
    for seed in range(300, 305):
        interrupted(folder, "SIGINT", seed, twice=True)
        folder.again()


STARTING = "import sys; from harness.__main__ import main; print('up', flush=True); main()"


def start_and_interrupt(name: str, seed: int, tmp_path) -> tuple[int, str]:
    command = [sys.executable, "-c", STARTING, "plan", "nowhere.toml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    # `main` has taken signals over a moment later, before the first import that takes time.
    time.sleep(random.Random(seed).uniform(0.02, 0.2))
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, err


def check_start(name: str, seed: int, tmp_path) -> int:
    code, err = start_and_interrupt(name, seed, tmp_path)
    assert code in (NUMBERS[name], 2), f"{name}, seed {seed}: {code}\n{err}"
    assert "Traceback" not in err, f"{name}, seed {seed}\n{err}"
    if code != 2:
        assert WORDS in err, f"{name}, seed {seed}\n{err}"
    return code


@pytest.mark.parametrize(("name", "seed"), [("SIGINT", 1), ("SIGTERM", 2)])
def test_a_signal_while_the_command_line_is_imported_ends_it_the_same_way(name, seed, tmp_path):
    check_start(name, seed, tmp_path)


@pytest.mark.slow
def test_signals_at_many_moments_of_the_start_end_it_the_same_way(tmp_path):
    codes = [check_start(("SIGINT", "SIGTERM")[seed % 2], seed, tmp_path) for seed in range(40)]
    assert len(codes) - codes.count(2) >= 5
