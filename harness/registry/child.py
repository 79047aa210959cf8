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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.locations import may_download

DEADLINES_SECONDS = {
    "plugin": 60.0,
    "data": 600.0,
    "price": 60.0,
    "outline": 60.0,
    "weights": 600.0,
    "conformance": 600.0,
}
"""By question: an import is short, but large data and weights take their time; a price bounds its own work."""
DOWNLOAD_SECONDS = 86400.0
"""For a data set, or weights, that may have to be downloaded first."""
_STARTUP_SECONDS = 60.0


@dataclass(frozen=True)
class Failed:
    """Why a question has no answer; `kind` is the class of the HarnessError that said so, if one did."""

    reason: str
    kind: str = ""


def ask(questions: Sequence[dict[str, Any]], *, deadline_seconds: float | None = None) -> list[Any]:
    """The answers in order, as `answers` gives them one by one."""
    return list(answers(questions, deadline_seconds=deadline_seconds))


def answers(questions: Sequence[dict[str, Any]], *, deadline_seconds: float | None = None) -> Iterator[Any]:
    """Each answer as it comes, `Failed` in place of one that could not be had in time (by default that of its kind).

    One child answers them all. When it hangs or dies, the question at hand has failed and another child goes on.
    """
    answered = 0
    while answered < len(questions):
        for one in _ask_one_child(questions[answered:], deadline_seconds):
            answered += 1
            yield one


def _ask_one_child(questions: Sequence[dict[str, Any]], deadline_seconds: float | None) -> Iterator[Any]:
    """Answers up to and including the first question at which the child hung or died."""
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(
        # -P: a `torch.py` in the working folder hides nothing
        [sys.executable, "-P", "-m", "harness.registry.describe"],
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
    try:
        with contextlib.suppress(BrokenPipeError):  # why it died is seen where its answers end
            process.stdin.write(json.dumps(list(questions)).encode())
            process.stdin.close()
        for question in questions:
            answer = _next_answer(lines, process, deadline_seconds or _deadline_seconds(question["ask"]))
            yield answer
            if isinstance(answer, Failed) and answer.kind == "died":
                break
    finally:
        _end(process)
        reader.join(timeout=5)
        process.stdout.close()


def _deadline_seconds(kind: str) -> float:
    return (
        DOWNLOAD_SECONDS if kind in ("data", "weights", "conformance") and may_download() else DEADLINES_SECONDS[kind]
    )


def _next_answer(lines: queue.Queue[str | None], process: subprocess.Popen[bytes], deadline_seconds: float) -> Any:
    patience = deadline_seconds + _STARTUP_SECONDS
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            return Failed(f"no answer within {deadline_seconds:g} s", kind="died")
        if line is None:
            code = process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            return Failed(f"ended its process ({how}) before it had answered", kind="died")
        try:
            message = json.loads(line)
            if "begun" not in message:
                return Failed(message["failed"], message["kind"]) if "failed" in message else message["answer"]
        except (ValueError, LookupError, TypeError):
            return Failed("wrote into the channel that its answer was expected on", kind="died")
        patience = deadline_seconds


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.decode(errors="replace"))
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
