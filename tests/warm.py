"""Children that answer questions about plugins, forked from a process that has torch: there in milliseconds.

`Warm` stands where `harness.registry.child` looks for `subprocess`. What it starts does what
`python -P -m harness.registry.describe` does, in a session of its own, with pipes, environment and working folder.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

LARGEST_MESSAGE = 2**17


class Warm:
    """Takes the place of the module `subprocess`; its process begins with the first child that is wanted."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def Popen(self, command: Sequence[str], *, env: Mapping[str, str], **_: Any) -> Child:  # noqa: N802
        """A child that reads questions from `stdin` and writes answers to `stdout`."""
        assert list(command[1:]) == ["-P", "-m", "harness.registry.describe"], command
        (read_questions, questions), (answers, write_answers) = os.pipe(), os.pipe()
        asked = {"folder": os.getcwd(), "environment": dict(env)}
        pid = self.ask(asked, read_questions, write_answers)["pid"]
        for theirs in (read_questions, write_answers):
            os.close(theirs)
        return Child(self, pid, os.fdopen(questions, "wb"), os.fdopen(answers, "rb"))

    def ask(self, question: Mapping[str, Any], *descriptors: int) -> dict[str, Any]:
        """What the process answers."""
        if self._channel is None:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._process = subprocess.Popen([sys.executable, "-P", __file__], stdin=theirs, start_new_session=True)
            theirs.close()
        socket.send_fds(self._channel, [json.dumps(question).encode()], descriptors)
        return json.loads(self._channel.recv(LARGEST_MESSAGE))  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._channel is not None:
            self._channel.close()
            self._process.wait(timeout=30)


class Child:
    """What `subprocess.Popen` would be of it."""

    def __init__(self, warm: Warm, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._warm = warm
        self._code: int | None = None

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        if self._code is None:
            self._code = int(self._warm.ask({"wait": self.pid})["code"])
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        return self._code


def serve(channel: socket.socket) -> None:
    """Fork a child for each folder and environment, and bury those that are asked for."""
    for name in ("torch", "harness.probe", "harness.outline", "harness.registry.describe"):
        importlib.import_module(name)
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, LARGEST_MESSAGE, 2)
        if not message:
            return
        asked = json.loads(message)
        if "wait" in asked:
            code = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
            channel.send(json.dumps({"code": code}).encode())
        elif os.fork() == 0:
            _become_a_child(channel, asked, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_a_child(channel: socket.socket, asked: Mapping[str, Any], questions: int, answers: int) -> None:
    from harness.registry import describe

    try:
        os.setsid()
        channel.send(json.dumps({"pid": os.getpid()}).encode())  # now, since its session is what it is killed by
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream, descriptor in enumerate((questions, answers, os.open(os.devnull, os.O_WRONLY))):
            os.dup2(descriptor, stream)
        os.closerange(3, 1024)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [path for path in paths if path and path not in sys.path]
        importlib.invalidate_caches()
        sys.argv = [describe.__file__]
        describe.main()
    finally:  # nothing of it may come back into the loop that it was forked in
        os._exit(1)


if __name__ == "__main__":
    from harness.execute.server import die_with_parent

    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=os.dup(0)))
