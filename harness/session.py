"""One command's view of one suite: the suite, its plan and its results folder, and everything derived from records."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.catalog import Catalog
from harness.errors import ResultsError
from harness.plan import Plan, make
from harness.spec import digest
from harness.store import Store, write_atomically
from harness.suite import Suite, load

if TYPE_CHECKING:
    from harness.coordinator import Walk
    from harness.report import Findings

SUITE_COPY = "suite.toml"
PLAN = "plan.json"
ENVIRONMENT = "environment.json"
STAMP = "report/answer.json"
"""The headline, with the hash of all that the report was made from."""
_VERSIONS = ("harness", "torch", "torchvision", "optuna", "numpy", "pandas", "scipy", "matplotlib", "seaborn")


@dataclass(frozen=True)
class Options:
    """What the command line says beside the suite."""

    plugins: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    data: Path | None = None
    results: Path | None = None


@dataclass(frozen=True)
class Session:
    """A plan with the folder that its records lie in."""

    plan: Plan
    store: Store
    options: Options

    @property
    def suite(self) -> Suite:
        """The checked suite."""
        return self.plan.suite

    @property
    def command(self) -> str:
        """What a reader types to get the same results."""
        flags = [f"--set {override}" for override in self.options.overrides]
        flags += [f"--plugins {folder.as_posix()}" for folder in self.options.plugins if not folder.is_absolute()]
        path = self.suite.path
        shown = path.as_posix() if not path.is_absolute() else path.name
        return " ".join(["harness run", shown, *flags])


def load_suite(path: Path, options: Options) -> tuple[Suite, Catalog]:
    """The checked suite and the parts that are installed.

    Raises:
        SuiteError: every mistake in it, with its place.
    """
    catalog = registry.load_catalog(options.plugins)
    return load(path, catalog, options.overrides), catalog


def open_session(path: Path, options: Options) -> Session:
    """The suite with its plan; nothing is written."""
    from harness.locations import data_root

    suite, catalog = load_suite(path, options)
    plan = make(suite, catalog, root=options.data or data_root())
    folder = options.results or Path("results") / suite.name
    return Session(plan, Store(folder), options)


def check_folder(session: Session) -> None:
    """Refuse a folder that holds the results of another suite.

    Raises:
        ResultsError: both names.
    """
    path = session.store.folder / PLAN
    try:
        found = json.loads(path.read_text())["suite"]
    except (OSError, ValueError, KeyError):
        return
    if found != session.suite.name:
        raise ResultsError(
            f"{session.store.folder} holds the results of suite '{found}', not of '{session.suite.name}'; "
            "choose another folder with --results"
        )


def write_inputs(session: Session) -> None:
    """Keep the suite as it is now, its plan and the environment beside the records."""
    plan, folder = session.plan, session.store.folder
    counted = ("problem", "arm", "tune", "final", "untuned")
    rows = [{name: getattr(row, name) for name in counted} for row in plan.rows()]
    settings = [
        {"problem": s.problem, "arm": s.arm, "values": s.values, "origins": {k: str(o) for k, o in s.origins.items()}}
        for s in session.suite.settings
    ]
    described = {"suite": session.suite.name, "question": session.suite.question, "runs": rows, "settings": settings}
    write_atomically(folder / SUITE_COPY, session.suite.text.encode())
    write_atomically(folder / PLAN, _pretty(described))
    write_atomically(folder / ENVIRONMENT, _pretty(environment()))


def _pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


@cache
def environment() -> dict[str, str]:
    """Versions that results depend on, and the kind of machine; nothing that names a person or a host."""
    versions = {}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, "platform": f"{sys.platform} {platform.machine()}", **versions}


def stamp(session: Session, walk: Walk) -> str:
    """Hash of all that tables and report are made from: equal stamps, equal bytes."""
    rows = [[entry.run_id, entry.result["status"], entry.label.__dict__] for entry in walk.entries]
    records = sorted({entry.record["sha256"] for entry in walk.entries if entry.record is not None})
    return digest([rows, records, session.suite.text, session.command, environment(), walk.counts(session.plan)])


def kept_headline(session: Session, walk: Walk) -> str | None:
    """The headline of the report on disk, if it was made from just these records."""
    folder = session.store.folder
    try:
        kept = json.loads((folder / STAMP).read_text())
        current = kept["inputs"] == stamp(session, walk) and (folder / "report" / "report.html").exists()
        return str(kept["headline"]) if current else None
    except (OSError, ValueError, KeyError):
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
    return Findings(
        suite=suite,
        headline=judged.headline,
        tables=tables,
        finals=compared,
        remarks=judged.remarks,
        counts=walk.counts(plan),
        environment={**environment(), **_numeric_environment(walk)},
        parts=_parts(plan),
        command=session.command,
    )


def _numeric_environment(walk: Walk) -> Mapping[str, Any]:
    """Device and its capability as the records have them; several are listed."""
    found: dict[str, set[str]] = {}
    for entry in walk.entries:
        for name, value in (entry.record or {}).get("environment", {}).items():
            found.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(values)) for name, values in sorted(found.items())}


def _parts(plan: Plan) -> list[tuple[str, str, str, str]]:
    rows = {
        (kind, str(setting.values[kind]["use"]), str(origin), origin.sha256[:12])  # type: ignore[index,call-overload]
        for setting in plan.suite.settings
        for kind, origin in setting.origins.items()
    }
    rows |= {
        ("metric", metric.name, str(metric.origin), metric.origin.sha256[:12])
        for problem in plan.suite.problems
        for metric in plan.metrics(problem)
    }
    return sorted(rows)


def write_outputs(session: Session, walk: Walk) -> Findings:
    """Tables, data package and report on disk; returns what they say."""
    from harness import report
    from harness.datapackage import write_tables

    found = findings(session, walk)
    folder = session.store.folder
    write_tables(found.tables, folder, name=session.suite.name)
    report.write(found, folder)
    answer = {"headline": found.headline, "inputs": stamp(session, walk)}
    write_atomically(folder / STAMP, _pretty(answer), durable=False)
    return found


def walk_records(session: Session, notify: Callable[..., None] | None = None) -> Walk:
    """What the records say, without running anything."""
    from harness.coordinator import Coordinator

    return Coordinator(session.plan, session.store, notify=notify).run()


def nearby_results(folder: Path) -> Sequence[Path]:
    """Results folders beside the one that was asked for."""
    parent = folder.parent if folder.parent.is_dir() else Path()
    return sorted(path.parent for path in parent.glob(f"*/{PLAN}"))
