"""Signals that ask a command to end: one stops it at the next safe point, a second one ends it at once.

Only the coordinator handles signals. In the middle of handing a run to a worker, or of taking workers down, an
exception would leave half a conversation behind, so there it is held back until the block ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORDS = "interrupted; finished runs are kept, the same command goes on"


def exit_code(number: int) -> int:
    """Of a command that a signal ended: 130 for Ctrl-C, 143 where it was asked to end or its terminal was closed."""
    return 128 + (number if number == signal.SIGINT else signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the command to end; its number is in `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    """What the handler knows; signals belong to the process, and so does this."""

    active = False
    number: int | None = None
    """Of the first signal; 0 where there is nothing left to stop."""
    raised = False
    holding = 0


@contextlib.contextmanager
def handled(*, to_the_end: bool = False) -> Iterator[None]:
    """Raise `Interrupted` in the block for SIGINT, SIGTERM and SIGHUP; a second one ends the process there and then.

    A signal that this process was started to ignore (`nohup`, a job in the background) stays ignored. Inside another
    such block this one does nothing. With `to_the_end` a signal after the block ends the process at once: what is left
    to do then is the interpreter's.
    """
    if _State.active:
        yield
        return
    ours = [number for number in HANDLED if signal.getsignal(number) is not signal.SIG_IGN]
    _State.active = True
    before = {number: signal.signal(number, _stop) for number in ours}
    try:
        yield
    finally:
        if to_the_end:
            _State.number = 0
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
            _State.number, _State.raised, _State.active = None, False, False


def _stop(number: int, frame: Any) -> None:
    if _State.number is not None:
        if _State.number == 0:  # the command is done, or has said what it has to say
            os.write(2, f"{WORDS}\n".encode())
        os._exit(128 + number)  # workers and their server die with this process
    _State.number = number
    if not _State.holding:
        _raise()


def _raise() -> NoReturn:
    assert _State.number is not None
    _State.raised = True
    raise Interrupted(_State.number)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let the block end first: a signal that comes in it is raised after it."""
    _State.holding += 1
    try:
        yield
    finally:
        _State.holding -= 1
    if _State.number is not None and not _State.raised and not _State.holding:
        _raise()


@contextlib.contextmanager
def born_deaf() -> Iterator[None]:
    """Processes that are started in the block have the signals blocked from birth, until they unblock them themselves.

    Here they are delivered after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
