"""Ask questions of a child process that may import anything, with a deadline for each answer."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DEADLINE_SECONDS = 60.0
_STARTUP_SECONDS = 60.0


@dataclass(frozen=True)
class Failed:
    """Why a question has no answer; `kind` is the class of the HarnessError that said so, if one did."""

    reason: str
    kind: str = ""


def ask(questions: Sequence[dict[str, Any]], *, deadline_seconds: float = DEADLINE_SECONDS) -> list[Any]:
    """The answers in order, `Failed` in place of each that could not be had.

    One child answers them all. When it hangs or dies, the question at hand has failed and another child goes on.
    """
    answers: list[Any] = []
    while len(answers) < len(questions):
        answers += _ask_one_child(questions[len(answers) :], deadline_seconds)
    return answers


def _ask_one_child(questions: Sequence[dict[str, Any]], deadline_seconds: float) -> list[Any]:
    """Answers up to and including the first question at which the child hung or died."""
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.describe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    answers: list[Any] = []
    try:
        process.stdin.write(json.dumps(list(questions)).encode())
        process.stdin.close()
        while len(answers) < len(questions):
            answers.append(_next_answer(lines, process, deadline_seconds))
            if isinstance(answers[-1], Failed) and answers[-1].kind == "died":
                break
    finally:
        _end(process)
        reader.join(timeout=5)
        process.stdout.close()
    return answers


def _next_answer(lines: queue.Queue[str | None], process: subprocess.Popen[bytes], deadline_seconds: float) -> Any:
    while True:
        try:
            line = lines.get(timeout=deadline_seconds + _STARTUP_SECONDS)
        except queue.Empty:
            return Failed(f"no answer within {deadline_seconds:g} s", kind="died")
        if line is None:
            code = process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Failed(f"ended its process ({how}) while it was imported or asked", kind="died")
        message = json.loads(line)
        if "begun" in message:
            continue
        return Failed(message["failed"], message["kind"]) if "failed" in message else message["answer"]


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.decode())
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
