"""What is derived from records: the findings of a report, and whether the one on the disk is still true."""

from __future__ import annotations

import json

import pytest

from harness import outputs, session
from harness.coordinator import Coordinator
from harness.session import Options, Session
from harness.store import Store, make_record
from tests.small import Answering, a_plan, failed, ok


def opened(folder, changes=None):
    return Session(a_plan(folder, changes), Store(folder / "results" / "suite"), Options())


def walked(made, answer=ok):
    return Coordinator(made.plan, made.store, executor=Answering(answer)).run()


# What is still true --------------------------------------------------------------------------------------------------


def keep(made, walk, headline="sgd is better"):
    """A report on disk that was made from these records."""
    folder = made.store.folder
    for name in ("report", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "datapackage.json").write_text("{}")
    (folder / "report" / "report.html").write_text("<p>")
    answer = {"headline": headline, "inputs": outputs.stamp(made, walk)}
    (folder / "report" / "answer.json").write_text(json.dumps(answer))


def test_the_headline_is_kept_while_nothing_changes(tmp_path):
    made = opened(tmp_path)
    walk = walked(made)
    assert outputs.kept_headline(made, walk) is None
    keep(made, walk)
    assert outputs.kept_headline(made, walk) == "sgd is better"
    again = opened(tmp_path)
    assert outputs.kept_headline(again, session.walk_records(again)) == "sgd is better"


@pytest.mark.parametrize(
    "changes",
    [{"question": "Another?"}, {"compare.margin": 0.5}, {"compare.replicates": 2}, {"compare.untuned": False}],
    ids=str,
)
def test_another_question_makes_another_report(tmp_path, changes):
    made = opened(tmp_path)
    keep(made, walked(made))
    other = opened(tmp_path, changes)
    assert outputs.kept_headline(other, session.walk_records(other)) is None


def test_a_record_that_changed_or_is_gone_makes_another_report(tmp_path):
    made = opened(tmp_path)
    walk = walked(made)
    keep(made, walk)
    record = walk.entries[0].record
    path = made.store.path(record["id"])
    path.unlink()
    gone = opened(tmp_path)
    assert outputs.kept_headline(gone, session.walk_records(gone)) is None
    other = {**record["result"], "evaluations": record["result"]["evaluations"][:-1]}
    made.store.write(make_record(record["spec"], other, environment={}, observed={}))
    changed = opened(tmp_path)
    assert outputs.kept_headline(changed, session.walk_records(changed)) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"inputs": 1}'])
def test_a_damaged_answer_is_none(tmp_path, text):
    made = opened(tmp_path)
    walk = walked(made)
    keep(made, walk)
    (made.store.folder / "report" / "answer.json").write_text(text)
    assert outputs.kept_headline(made, walk) is None


@pytest.mark.parametrize("name", ["report/report.html", "datapackage.json"])
def test_a_report_of_which_something_is_gone_is_written_again(tmp_path, name):
    made = opened(tmp_path)
    walk = walked(made)
    keep(made, walk)
    (made.store.folder / name).unlink()
    assert outputs.kept_headline(made, walk) is None


# Findings ------------------------------------------------------------------------------------------------------------


def test_findings_hold_all_that_a_report_says(tmp_path):
    made = opened(tmp_path)
    found = outputs.findings(made, walked(made))
    assert set(found.finals["metric"]) == {"accuracy"}
    assert len(found.finals) == 12
    assert found.counts == {"planned": 24, "ok": 24, "pruned": 0, "failed": 0, "missing": 0}
    assert (found.environment["capability"], found.environment["threads"]) == ("AVX2", "1")
    assert found.command == made.command
    assert ("optimizer", "adam", "small 1.0", "abababababab") in found.parts
    assert len(found.tables["comparisons"]) >= 1
    assert len(found.tables["summary"]) == 2 * 2 * 2


def test_a_suite_whose_runs_all_failed_has_findings_too(tmp_path):
    made = opened(tmp_path)
    found = outputs.findings(made, walked(made, lambda payload: failed()))
    assert found.counts["failed"] == found.counts["planned"] == 24
    assert set(found.tables["comparisons"]["verdict"]) <= {"not_compared"}
    assert found.headline
