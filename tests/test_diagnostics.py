"""How mistakes are shown."""

from __future__ import annotations

import json
import pickle

import pytest

from harness.diagnostics import Mistake, MistakesError, Place, escape, render
from harness.errors import SuiteError


def place(line: int, column: int, width: int, text: str, label: str = "", order: int = 0) -> Place:
    return Place(f"--set #{order}" if order else "suites/optimizers.toml", line, column, width, label, text, order)


UNKNOWN_KEY = Mistake(
    "unknown-key",
    "unknown key 'smapler' in [tuning]",
    (place(19, 1, 7, 'smapler = "tpe"'),),
    "trials, sampler, pruner, space",
    "did you mean 'sampler'?",
)
UNKNOWN_NAME = Mistake(
    "unknown-name",
    "[compare] baseline: no arm named 'sdg'",
    (
        place(26, 12, 5, 'baseline = "sdg"'),
        place(13, 13, 27, 'optimizer = ["sgd", "momentum", "adam"]', "arms are made here"),
    ),
    "sgd, momentum, adam",
    "did you mean 'sgd'?",
)

# The example of the specification, to the letter.
SHOWN = """\
error[unknown-key]: unknown key 'smapler' in [tuning]
  --> suites/optimizers.toml:19:1
   |
19 | smapler = "tpe"
   | ^^^^^^^
   = allowed: trials, sampler, pruner, space
   = help: did you mean 'sampler'?

error[unknown-name]: [compare] baseline: no arm named 'sdg'
  --> suites/optimizers.toml:26:12
   |
13 | optimizer = ["sgd", "momentum", "adam"]
   |             --------------------------- arms are made here
26 | baseline = "sdg"
   |            ^^^^^
   = allowed: sgd, momentum, adam
   = help: did you mean 'sgd'?

2 errors in suites/optimizers.toml; nothing was run"""


def test_two_mistakes_are_shown_as_specified() -> None:
    assert render([UNKNOWN_KEY, UNKNOWN_NAME], "suites/optimizers.toml") == SHOWN


def test_the_error_shows_its_mistakes_by_line_and_carries_them() -> None:
    error = MistakesError([UNKNOWN_NAME, UNKNOWN_KEY], "suites/optimizers.toml")
    assert isinstance(error, SuiteError)
    assert error.exit_code == 2
    assert str(error) == SHOWN
    assert error.mistakes == (UNKNOWN_KEY, UNKNOWN_NAME)
    assert str(pickle.loads(pickle.dumps(error))) == SHOWN


def test_a_mistake_as_plain_data_survives_json() -> None:
    plain = json.loads(json.dumps(UNKNOWN_NAME.to_plain()))
    assert plain["code"] == "unknown-name"
    assert plain["places"][1] == {
        "source": "suites/optimizers.toml",
        "line": 13,
        "column": 13,
        "width": 27,
        "label": "arms are made here",
    }


def test_a_mistake_without_a_line_names_the_file_only() -> None:
    text = render([Mistake("no-file", "no suite file 'x'", (Place("x"),), help="look")], "x")
    assert text == "error[no-file]: no suite file 'x'\n --> x\n  = help: look\n\n1 error in x; nothing was run"


def test_a_place_on_the_command_line_shows_no_file_and_no_line() -> None:
    mistake = Mistake("bad-value", "no", (place(1, 3, 1, "a=1", order=2),))
    assert render([mistake], "s.toml") == (
        "error[bad-value]: no\n --> --set #2\n  |\n  | a=1\n  |   ^\n\n1 error in --set; nothing was run"
    )
    assert render([UNKNOWN_KEY, mistake], "s.toml").endswith("2 errors in s.toml and --set; nothing was run")


def test_after_twenty_mistakes_the_others_are_counted() -> None:
    many = [Mistake("x", f"number {n}", (place(n, 1, 1, "x"),)) for n in range(1, 1235)]
    text = render(many, "s.toml")
    assert text.count("error[x]") == 20
    assert "number 20\n" in text
    assert text.endswith("\n\nand 1,214 more\n\n1,234 errors in s.toml; nothing was run")


@pytest.mark.parametrize("column", [1, 60, 150, 296])
def test_a_long_line_is_clipped_around_the_mark(column: int) -> None:
    line = "".join(chr(ord("a") + n % 26) for n in range(300))
    text = render([Mistake("x", "y", (place(7, column, 5, line),))], "s.toml")
    source, marks = text.splitlines()[3:5]
    assert len(source) <= len("7 | ...") + 100 + 3
    start = marks.index("^")
    assert source[start : start + 5] == line[column - 1 : column + 4]
    assert marks.count("^") == 5


def test_control_characters_are_shown_as_code_points_and_marks_stay_below() -> None:
    mistake = Mistake("x", "found '\x1b[31m\u202e'", (place(1, 4, 2, "\x1b\tab\0"),))
    text = render([mistake], "a\nb.toml")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "found '<U+001B>[31m<U+202E>'" in text
    assert "a<U+000A>b.toml" in text
    source, marks = text.splitlines()[3:5]
    assert source == "1 | <U+001B>    ab<U+0000>"
    assert marks.index("^") == source.index("b<")


def test_marks_stay_below_wide_and_combining_characters() -> None:
    text = render([Mistake("x", "y", (place(1, 4, 1, "日e\u0301x"),))], "s.toml")
    # Columns on a terminal: 2 for the first, 1 for the letter with its accent.
    assert text.splitlines()[4] == "  |    ^"


def test_two_places_of_one_line_show_it_once() -> None:
    line = "lr = {low = 2, high = 1}"
    mistake = Mistake("x", "y", (place(3, 13, 1, line), place(3, 23, 1, line, "high")))
    assert render([mistake], "s").splitlines()[2:6] == [
        "  |",
        f"3 | {line}",
        "  |             ^",
        "  |                       - high",
    ]


def test_printable_text_is_not_escaped() -> None:
    assert escape("Größe = 'é' 日本 😀") == "Größe = 'é' 日本 😀"


def test_a_mistake_needs_a_place() -> None:
    with pytest.raises(ValueError, match="at least one place"):
        Mistake("x", "y", ())
