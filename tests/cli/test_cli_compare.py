"""`harness compare`: verdicts in the terminal, and any two arms against each other."""

from __future__ import annotations

import csv

import pytest
from scipy import stats

THREE = {"arms.optimizer": ["sgd", "momentum", "adam"]}


@pytest.fixture(scope="module")
def _three_once(tmp_path_factory):
    from tests.conftest import TINY, Project

    folder = tmp_path_factory.mktemp("three")
    done = Project(folder, None).plugin("tiny", TINY).write(suite=THREE).run_apart("run", "suite.toml")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def three(project, _three_once, monkeypatch):
    """A finished suite of three arms; nothing is written into it."""
    monkeypatch.chdir(_three_once)
    project.folder = _three_once
    return project


def rows(name="comparisons"):
    with open(f"results/suite/tables/{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_all_verdicts_are_shown_with_difference_interval_and_word(three):
    lines = three.run("compare", "suite.toml").out.splitlines()
    assert lines[0].split("  ")[0] == "arm"
    shown = [line.split()[:2] for line in lines[1:]]
    due = [[row["arm"], row["baseline"]] for row in rows() if row["setting"] == "tuned"]
    assert shown == due
    marked = [line.endswith("exploratory") for line in lines[1:]]
    assert marked == [row["primary"] == "false" for row in rows() if row["setting"] == "tuned"]


def test_a_declared_pair_has_the_suites_verdict_whichever_arm_is_named_first(three):
    (row,) = [row for row in rows() if (row["arm"], row["baseline"]) == ("adam", "sgd") and row["primary"] == "true"]
    for pair in (("adam", "sgd"), ("sgd", "adam")):
        (found,) = three.run("compare", "suite.toml", *pair, "--json").json()
        assert found["sentence"] == row["sentence"]
        assert found["primary"] is True
        assert found["level"] == pytest.approx(0.975)
    assert row["sentence"] in three.run("compare", "suite.toml", "adam", "sgd").out


def test_any_other_pair_is_exploratory_with_the_paired_t_interval_of_its_final_runs(three):
    (found,) = three.run("compare", "suite.toml", "momentum", "adam", "--json").json()
    final = [row for row in rows("runs") if (row["phase"], row["setting"]) == ("final", "tuned")]
    on_test = [row for row in rows("evaluations") if (row["split"], row["metric"]) == ("test", "accuracy")]
    scores = {row["run_id"]: float(row["value"]) for row in on_test}
    sides = [
        {row["replicate"]: scores[row["run_id"]] for row in final if row["arm"] == arm} for arm in ("momentum", "adam")
    ]
    differences = [sides[0][replicate] - sides[1][replicate] for replicate in sorted(sides[0])]
    mean = sum(differences) / len(differences)
    lo, hi = stats.t.interval(0.95, len(differences) - 1, loc=mean, scale=stats.sem(differences))
    assert (found["primary"], found["family_size"], found["n"]) == (False, 1, len(differences))
    assert (found["delta"], found["lo"], found["hi"]) == pytest.approx((mean, lo, hi))
    assert "exploratory, unadjusted" in found["sentence"]
    (turned,) = three.run("compare", "suite.toml", "adam", "momentum", "--json").json()
    assert (turned["delta"], turned["lo"], turned["hi"]) == pytest.approx((-mean, -hi, -lo))


def test_one_arm_is_shown_against_every_other(three):
    found = three.run("compare", "suite.toml", "momentum", "--json").json()
    assert [{row["arm"], row["baseline"]} for row in found] == [{"momentum", "sgd"}, {"momentum", "adam"}]
    assert [row["primary"] for row in found] == [True, False]


def test_nothing_is_written(three):
    def files():
        return {path: path.read_bytes() for path in (three.folder / "results").rglob("*") if path.is_file()}

    before = files()
    three.run("compare", "suite.toml", "momentum", "adam")
    assert files() == before


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        (("adma",), "the suite has no arm 'adma' (arms: sgd, momentum, adam); did you mean 'adam'?"),
        (("adam", "adam"), "'adam' cannot be compared with itself"),
    ],
)
def test_an_arm_that_cannot_be_meant_is_refused(three, arms, says):
    result = three.run("compare", "suite.toml", *arms)
    assert result.code == 2
    assert says in result.err
