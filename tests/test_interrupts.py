"""Signals: one ends the command where that is safe, a second one at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from harness import interrupts


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # a signal to oneself is handled before the next instruction or the one after


@pytest.mark.parametrize("number", interrupts.HANDLED)
def test_a_signal_raises_with_its_number_and_the_old_handlers_come_back(number):
    before = [signal.getsignal(one) for one in interrupts.HANDLED]
    with pytest.raises(interrupts.Interrupted) as caught, interrupts.handled():
        send(number)
    assert caught.value.number == number
    assert [signal.getsignal(one) for one in interrupts.HANDLED] == before


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.handled():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_block_that_holds_signals_back_ends_first():
    done = []
    with interrupts.handled(), pytest.raises(interrupts.Interrupted):  # noqa: PT012
        with interrupts.held_back():
            with interrupts.held_back():
                send(signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("after")
    assert done == ["inner", "outer"]


def test_cleaning_up_after_an_interrupt_raises_it_no_second_time():
    done = []
    with interrupts.handled(), pytest.raises(interrupts.Interrupted):  # noqa: PT012
        try:
            send(signal.SIGINT)
        finally:
            with interrupts.held_back():
                done.append("cleaned")
            done.append("after")
    assert done == ["cleaned", "after"]


def test_a_failure_of_the_block_is_not_hidden_by_a_signal_in_it():
    with interrupts.handled(), pytest.raises(ValueError, match="own"), interrupts.held_back():  # noqa: PT012
        send(signal.SIGINT)
        raise ValueError("its own")


TWICE = """
import os, signal, time
from harness import interrupts
with interrupts.handled():
    with interrupts.held_back():
        os.kill(os.getpid(), signal.SIGINT)
        print("held", flush=True)
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_ends_the_process_even_where_signals_are_held_back(name, code):
    done = subprocess.run(
        [sys.executable, "-c", TWICE.format(name=name)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (code, "held\n")


BORN = """
import signal, subprocess, sys
from harness import interrupts
child = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])) == sorted([1, 2, 15]))"
with interrupts.born_deaf():
    subprocess.run([sys.executable, "-c", child], check=True)
print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


def test_processes_started_in_the_block_are_deaf_and_this_one_is_not_afterwards():
    done = subprocess.run([sys.executable, "-c", BORN], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["True", "[]"]
