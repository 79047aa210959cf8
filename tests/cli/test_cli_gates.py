"""`harness report --require`: the exit code says whether the results are as a script needs them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pandas as pd
import pytest

from harness.cli import gates
from harness.verdict.judgement import Code


def found(*verdicts: tuple[str, str, str], warnings: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> Any:
    """Findings with verdicts (kind, arm, code); a kind with `further` is exploratory."""
    rows = [
        {"kind": kind.split()[0], "primary": kind == "pair", "arm": arm, "problem": "mnist", "verdict": code}
        for kind, arm, code in verdicts
    ]
    remarks = [SimpleNamespace(code=code, level="W") for code in warnings]
    remarks += [SimpleNamespace(code=code, level="N") for code in notes]
    frame = pd.DataFrame(rows, columns=["kind", "primary", "arm", "problem", "verdict"])
    return SimpleNamespace(tables={"comparisons": frame}, remarks=tuple(remarks))


BOTH = (("pair", "adam", "better"), ("pair", "lion", "equivalent"), ("pair further", "sgd", "worse"))


def test_every_verdict_there_is_may_be_required():
    assert set(gates.WORDS) == {gates.CLEAN, *get_args(Code)}


@pytest.mark.parametrize(
    ("verdicts", "required"),
    [
        (BOTH, []),
        (BOTH, ["better", "equivalent"]),
        (BOTH, ["clean"]),
        ((("claim", "sgd", "reproduced"), *BOTH[:1]), ["reproduced"]),
        ((("claim", "sgd", "reproduced"), *BOTH[:1]), ["reproduced", "better"]),
        ((("claim", "sgd", "undecided"),), ["undecided"]),
    ],
)
def test_nothing_is_said_where_all_is_as_required(verdicts, required):
    assert gates.unmet(found(*verdicts, notes=("H011",)), required) == ""


@pytest.mark.parametrize(
    ("verdicts", "required", "says"),
    [
        (BOTH, ["better"], "'better' is required, and 1 of 2 are others: the first is 'equivalent', lion on mnist"),
        ((), ["better"], "'better' is required, and the suite declares no comparison"),
        (BOTH, ["reproduced"], "'reproduced' is required, and the suite declares no claim"),
        (BOTH, ["clean"], "'clean' is required, and there are warnings (H007, H012)"),
        (
            (("claim", "sgd", "undecided"),),
            ["reproduced"],
            "'reproduced' is required, and 1 of 1 are others: the first is 'undecided', sgd on mnist",
        ),
        (
            BOTH,
            ["clean", "worse"],
            "'clean' is required, and there are warnings (H007, H012); 'worse' is required, and 2",
        ),
    ],
)
def test_what_is_not_as_required_is_one_line(verdicts, required, says):
    said = gates.unmet(found(*verdicts, warnings=("H007", "H007", "H012")), required)
    assert said.startswith(says)
    assert "\n" not in said


def test_the_command_exits_with_3_and_still_writes_and_answers(finished):
    page = finished.folder / "results/suite/report/report.html"
    page.unlink()
    result = finished.run("report", "suite.toml", "--require", "identical")
    assert result.code == 3
    assert "report: results/suite/report/report.html" in result.out
    assert result.err.startswith("not met: 'identical' is required, and 1 of 1 are others")
    assert page.exists()


def test_a_word_that_nobody_knows_is_a_mistake_and_nothing_is_written(finished):
    page = finished.folder / "results/suite/report/report.html"
    page.unlink()
    result = finished.run("report", "suite.toml", "--require", "claen")
    assert result.code == 2
    assert "'claen' is not one of 'clean', 'better'" in result.err
    assert not page.exists()
