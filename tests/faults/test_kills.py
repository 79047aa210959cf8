"""kill -9 of any process at any moment loses at most the runs in flight, and the same command ends as if nothing were."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.faults.tools import Folder

CALLS = {"rename": "rename,renameat,renameat2", "unlink": "unlink,unlinkat", "fsync": "fsync,fdatasync"}
pytestmark = pytest.mark.usefixtures("strace")


def killed_at(folder: Folder, call: str, number: int) -> bool:
    """Kill the command at its NUMBERth call and go on; False where it ended before."""
    replay = f"pytest tests/faults/test_kills.py -k 'enumerated' (call {call}, N = {number})"
    print(replay)
    calls = CALLS[call]
    command = folder.start(trace=calls, inject=f"{calls}:signal=KILL:when={number}")
    ended = command.end()
    fired = ended.code == -signal.SIGKILL
    assert fired or ended.code == 0, f"{replay}\n{ended.err}"
    assert fired == any("killed by SIGKILL" in line for line in folder.trace()), replay
    folder.assert_goes_on(replay=replay)
    return fired


ENUMERATED = [("rename", n) for n in (*range(1, 13), 14, 17, 20, 23, 26)]
ENUMERATED += [("unlink", 1), *(("fsync", n) for n in range(1, 22, 2))]


@pytest.mark.parametrize(("call", "number"), ENUMERATED)
def test_an_enumerated_kill_leaves_nothing_that_the_same_command_does_not_put_right(folder, call, number):
    assert killed_at(folder, call, number), "the injection did not fire"
