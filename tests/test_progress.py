"""Progress: plain lines in a log, a bar on a terminal, and an honest time that is left."""

from __future__ import annotations

import io
import re
from functools import partial

import pytest

from harness import progress
from harness.coordinator import Entry
from harness.plan import Label
from harness.progress import Tally, duration, shown
from harness.store import make_record
from tests.small import a_plan, failed, ok


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def entry(number=0, *, arm="sgd", score=0.5, result=None):
    payload = {"phase": "tune", "problem": {"validation_examples": 80}, "seeds": {"init": number}}
    result = result or ok(payload, lambda split, epoch: score if split == "validation" else 0.99)
    record = make_record(payload, result, environment={}, observed={})
    return Entry(Label("clouds-line", arm, 0, "tune", "tuned", number), record["id"], record, {})


def tally(**given):
    return Tally(**{"planned": 10, "sign": 1.0, "fraction": True, "metric": "accuracy", "clock": Clock(), **given})


# Counting ------------------------------------------------------------------------------------------------------------


def test_every_run_counts_and_failed_ones_are_shown():
    one = tally()
    for number, result in enumerate([None, failed(), None, failed("diverged")]):
        one.add(entry(number, result=result), fresh=True)
    assert (one.done, one.fresh, one.failed) == (4, 4, 2)
    assert one.line().startswith("4/10 runs, 2 failed")


def test_pruned_runs_are_shown_apart_and_are_no_best_value():
    one = tally()
    one.add(entry(0, score=0.5), fresh=True)
    pruned = entry(1, score=0.9).result
    one.add(entry(1, result={**pruned, "status": "pruned"}), fresh=True)
    assert (one.done, one.pruned, one.failed, one.best) == (2, 1, 0, {"sgd": 0.5})
    assert one.line().startswith("2/10 runs, 1 pruned")


def test_a_run_without_a_record_counts_as_failed():
    one = tally()
    one.add(Entry(Label("clouds-line", "sgd", 0, "final", "tuned"), "", None, {}), fresh=False)
    assert (one.done, one.failed) == (1, 1)


@pytest.mark.parametrize(("sign", "best"), [(1.0, {"sgd": 0.75, "adam": 0.25}), (-1.0, {"sgd": 0.5, "adam": 0.25})])
def test_the_best_validation_value_of_each_arm_is_kept(sign, best):
    one = tally(sign=sign)
    for number, (arm, score) in enumerate([("sgd", 0.5), ("sgd", 0.75), ("adam", 0.25)]):
        one.add(entry(number, arm=arm, score=score), fresh=True)
    assert one.best == best


@pytest.mark.parametrize(("fraction", "shown"), [(True, "sgd 97.53 %"), (False, "sgd 0.9753")])
def test_a_fraction_is_shown_in_percent(fraction, shown):
    one = tally(fraction=fraction)
    one.add(entry(score=0.97531), fresh=True)
    assert one.best_text() == shown


# Time left -----------------------------------------------------------------------------------------------------------


def test_before_runs_were_timed_the_plans_estimate_counts_down():
    clock = Clock()
    one = tally(clock=clock, expected_seconds=60.0)
    clock.now += 20
    assert one.left_seconds == 40
    clock.now += 100
    assert one.left_seconds is None  # runs are missing, and nothing is known of how long they take
    assert "left" not in one.line()


def test_three_runs_set_the_pace_and_recorded_ones_do_not():
    clock = Clock()
    one = tally(clock=clock, planned=14, expected_seconds=500.0)
    for number in range(5):
        one.add(entry(number), fresh=False)
    assert one.left_seconds == 500
    for number in range(3):
        clock.now += 4
        one.add(entry(5 + number), fresh=True)
    assert one.left_seconds == 6 * 4
    clock.now += 3
    assert one.left_seconds == 6 * 5


def test_without_an_estimate_nothing_is_said_of_time():
    one = tally()
    assert one.left_seconds is None
    assert "left" not in one.line()


def test_at_the_end_no_time_is_left():
    clock = Clock()
    one = tally(clock=clock, planned=3)
    for number in range(3):
        clock.now += 1
        one.add(entry(number), fresh=True)
    assert one.left_seconds == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


# Displays ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The clock of every tally that `shown` makes."""
    made = Clock()
    monkeypatch.setattr(progress, "Tally", partial(Tally, clock=made))
    return made


def test_a_log_gets_plain_lines_every_ten_seconds_and_at_the_end(tmp_path, clock):
    stream = io.StringIO()
    with shown(a_plan(tmp_path), expected_seconds=48.0, quiet=False, stream=stream) as add:
        for number in range(24):
            clock.now += 2
            add(entry(number, score=0.5), True)
    lines = stream.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["5/24", "10/24", "15/24", "20/24", "24/24"]
    assert lines[0] == "5/24 runs, about 38 s left; best validation accuracy: sgd 50.00 %"
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_runs_that_were_recorded_before_print_nothing(tmp_path, clock):
    stream = io.StringIO()
    with shown(a_plan(tmp_path), expected_seconds=48.0, quiet=False, stream=stream) as add:
        for number in range(24):
            clock.now += 20
            add(entry(number), False)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with shown(a_plan(tmp_path), expected_seconds=48.0, quiet=False, stream=stream) as add:
        for number in range(24):
            add(entry(number, result=failed() if number == 3 else None), True)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "24/24" in said
    assert "1 failed" in said
    assert "best validation accuracy: sgd 50.00 %" in said
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("wanted", "coloured"), [(None, True), ("1", False)])
def test_a_bar_has_no_colours_where_the_user_wants_none(tmp_path, monkeypatch, wanted, coloured):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", wanted) if wanted else monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    with shown(a_plan(tmp_path), expected_seconds=48.0, quiet=False, stream=stream) as add:
        for number in range(24):
            add(entry(number, result=failed() if number == 3 else None), True)
    assert "24/24" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    codes = set(re.findall(r"\x1b\[([0-9;]*)m", stream.getvalue()))
    assert (codes > {"0"}) is True
    assert (not codes <= {"0", "1", "2"}) is coloured


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_quiet_shows_nothing(tmp_path, stream):
    with shown(a_plan(tmp_path), expected_seconds=48.0, quiet=True, stream=stream) as add:
        for number in range(24):
            add(entry(number), True)
    assert stream.getvalue() == ""


def test_a_metric_to_be_minimised_is_shown_as_it_is(tmp_path, clock):
    stream = io.StringIO()
    changes = {"compare.metric": "loss", "tuning": None}
    with shown(a_plan(tmp_path, changes), expected_seconds=None, quiet=False, stream=stream) as add:
        for number in range(6):
            add(entry(number, score=number / 10), True)
    # The loss in these answers is 1 - score; the smallest is the best.
    assert stream.getvalue() == "6/6 runs, about 0 s left; best validation loss: sgd 0.5\n"
