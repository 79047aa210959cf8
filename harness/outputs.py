"""What is derived from the records of a suite: tables, verdicts, report, and whether those on the disk still hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import looks, sizes
from harness.plan import Plan
from harness.session import Session, environment, pretty
from harness.spec import digest
from harness.store import Record, write_atomically
from harness.suite import Setting
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.coordinator import Walk
    from harness.report import Findings
    from harness.verdict.lint import Remark

STAMP = "report/answer.json"
"""The headline, with the hash of all that the report was made from."""


def stamp(session: Session, walk: Walk) -> str:
    """Hash of all that tables and report are made from: equal stamps, equal bytes."""
    rows = [[entry.run_id, entry.result["status"], entry.label.__dict__] for entry in walk.entries]
    records = sorted({entry.record["sha256"] for entry in walk.entries if entry.record is not None})
    seen = [rows, records, session.suite.text, session.command, environment(), walk.counts(session.plan)]
    seen += [list(map(dict, looks.read(session.store.folder)))]
    return digest([*seen, *(record["sha256"] for record in _repetitions(session, walk))])


def kept_headline(session: Session, walk: Walk) -> str | None:
    """The headline of the report on disk, if it was made from just these records."""
    folder = session.store.folder
    try:
        kept = json.loads((folder / STAMP).read_text())
        written = all((folder / name).exists() for name in ("report/report.html", "tables", "datapackage.json"))
        return str(kept["headline"]) if written and kept["inputs"] == stamp(session, walk) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def findings(session: Session, walk: Walk) -> Findings:
    """Tables, verdicts, remarks and the headline: all that a report says."""
    from harness import tables as tables_module
    from harness import verdict
    from harness.report import Findings

    plan, suite = session.plan, session.suite
    tables = tables_module.build(plan, walk)
    scores = tables_module.finals(plan, walk)
    compared = scores[scores["metric"] == suite.metric.name].reset_index(drop=True)
    judged = verdict.judge(suite, tables, scores)
    tables["summary"] = tables_module.frame("summary", judged.summary.to_dict("records"))
    tables["comparisons"] = tables_module.frame("comparisons", [v.to_plain() for v in judged.verdicts])
    read_again = looks.remarks(session.store.folder, plan, tables["comparisons"])
    return Findings(
        suite=suite,
        headline=judged.headline,
        tables=tables,
        finals=compared,
        remarks=(*judged.remarks, *read_again, *_not_reproducible(session, walk)),
        counts=walk.counts(plan),
        environment={**environment(), **_numeric_environment(walk)},
        parts=_parts(plan),
        command=session.command,
        details=_details(plan, walk),
        shared=sizes.shared(plan),
    )


def _details(plan: Plan, walk: Walk) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """What final runs of the main setting kept of the test set."""
    from harness.tables import per_class

    labelled = ((entry.label, found) for entry, found in per_class.finals(walk))
    return {(at.problem, at.arm, at.replicate): found for at, found in labelled if at.setting == plan.given}


def _not_reproducible(session: Session, walk: Walk) -> list[Remark]:
    """H018: a repeated run gave another result."""
    from harness.verdict.lint import Remark

    if not (found := _repetitions(session, walk)):
        return []
    names = ", ".join(record["id"][:12] for record in found[:5])
    message = f"nondeterminism detected: {len(found)} repeated runs gave another result ({names}); both are kept"
    return [Remark("H018", "W", message, "find what draws from the clock or a generator of its own, then run again")]


def _repetitions(session: Session, walk: Walk) -> list[Record]:
    """Repetitions of the plan's runs that gave another result."""
    ids = {entry.run_id for entry in walk.entries}
    return [record for record in session.store.repetitions() if record["id"] in ids]


def _numeric_environment(walk: Walk) -> Mapping[str, Any]:
    """Device and its capability as the records have them; several are listed."""
    found: dict[str, set[str]] = {}
    for entry in walk.entries:
        for name, value in (entry.record or {}).get("environment", {}).items():
            found.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(values)) for name, values in sorted(found.items())}


def _parts(plan: Plan) -> list[tuple[str, str, str, str]]:
    settings = plan.suite.settings
    sides: list[Setting | Origins] = [
        *settings,
        *(setting.source for setting in settings if setting.source is not None),
    ]
    rows = {
        (*_kind_and_name(side, place), str(origin), origin.sha256[:12])
        for side in sides
        for place, origin in side.origins.items()
    }
    rows |= {
        ("metric", metric.name, str(metric.origin), metric.origin.sha256[:12])
        for problem in plan.suite.problems
        for metric in plan.metrics(problem)
    }
    return sorted(rows)


def _kind_and_name(side: Setting | Origins, place: str) -> tuple[str, str]:
    """Of the part that a key of `origins` stands for; one of several has its name in the key."""
    kind, _, name = place.partition(":")
    return kind, name or str(side.values[kind]["use"])  # type: ignore[index,call-overload]


def write(session: Session, walk: Walk) -> Findings:
    """Tables, data package and report on disk; returns what they say."""
    from harness import report
    from harness.tables.datapackage import write_tables

    found = findings(session, walk)
    folder = session.store.folder
    looks.note(folder, session.plan, found.tables["comparisons"])
    write_tables(found.tables, folder, name=session.suite.name)
    report.write(found, folder)
    answer = {"headline": found.headline, "inputs": stamp(session, walk)}
    write_atomically(folder / STAMP, pretty(answer), durable=False)
    return found
