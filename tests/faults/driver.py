"""The command line of harness with a pure function in place of training, in processes that are cheap to start.

`python driver.py run suite.toml` is one command. `python driver.py --serve` imports everything once and forks a process
for each line of JSON on stdin, so that a command costs milliseconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[2])


def command(arguments: list[str]) -> None:
    """Run one command as `python -m harness` would."""
    from harness.__main__ import main

    sys.argv = ["harness", *arguments]
    main()


def serve() -> None:
    """Answer `{"arguments": [...], ...}` with `{"pid": n}` and `{"wait": pid, "seconds": s}` with `{"status": n}`."""
    import harness.__main__
    import harness.cli
    import harness.coordinator
    import harness.execute.process
    import harness.going_on
    import harness.progress
    import harness.recheck
    import harness.report
    import harness.session
    import harness.tables.datapackage
    import harness.verdict

    harness.execute.process._GRACE_SECONDS = 0.5  # a run that is stopped hears no SIGTERM, however long one waits
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {"status": _wait(**asked)} if "pid" in asked else {"pid": _fork(asked)}
        print(json.dumps(answer), flush=True)


def _wait(pid: int, seconds: float) -> int | None:
    """Exit status of the process, negative for a signal; None while it runs."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _fork(asked: dict[str, Any]) -> int:
    from harness import interrupts

    signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.HANDLED)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.HANDLED)
        return pid
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.chdir(asked["folder"])
        os.environ |= asked["environment"]
        for stream, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", 0), (2, "err", 0)):
            path = name if stream == 0 else asked[name]
            made = os.open(path, flags or os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(made, stream)
            os.close(made)
        if asked.get("traced"):
            _wait_for_tracer()
        if asked.get("largest_file") is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest_file"],) * 2)
        with interrupts.handled(to_the_end=True):  # what `harness.__main__` does before its first import
            signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.HANDLED)
            command(asked["arguments"])
    except SystemExit as end:
        code = int(end.code or 0)
    except interrupts.Interrupted as interrupted:
        print(interrupts.WORDS, file=sys.stderr)
        code = 128 + interrupted.number
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait_for_tracer() -> None:
    """Nothing before this is traced, so that calls are counted the same every time."""
    status = os.open("/proc/self/status", os.O_RDONLY)
    os.close(os.open("ready", os.O_WRONLY | os.O_CREAT, 0o666))
    while b"TracerPid:\t0\n" in os.pread(status, 4096, 0):
        time.sleep(0.002)
    os.close(status)


if __name__ == "__main__":
    sys.path[0] = os.environ["PYTHONPATH"] = ROOT  # also where the server of worker processes finds the stubs
    from tests.faults import substitute

    substitute.install()
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        command(sys.argv[1:])
