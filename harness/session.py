"""One command's view of one suite: the suite, its plan and its results folder, and everything derived from records."""

from __future__ import annotations

import json
import os
import platform
import shlex
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import going_on, looks, registry, sizes
from harness.errors import ResultsError, SuiteError
from harness.locations import data_root, is_text
from harness.plan import Plan, data_question, make, source_question
from harness.registry.catalog import Catalog
from harness.spec import digest
from harness.store import Record, Store, write_atomically
from harness.suite import Setting, Suite, load
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.coordinator import Walk
    from harness.report import Findings
    from harness.verdict.lint import Remark

SUITE_COPY = "suite.toml"
PLAN = "plan.json"
ENVIRONMENT = "environment.json"
STAMP = "report/answer.json"
"""The headline, with the hash of all that the report was made from."""
_ENTRIES = {PLAN, ENVIRONMENT, looks.NAME, "datapackage.json", "lock", "lock.json"}
_FOLDERS = ("checkpoints", "logs", "quarantine", "recheck", "report", "runs", "studies", "tables", "weights")
_ENTRIES |= set(_FOLDERS)
"""What harness itself puts into a results folder, beside the copy of the suite."""
_VERSIONS = (
    *("harness", "torch", "torchvision", "torchmetrics"),
    *("optuna", "numpy", "pandas", "scipy", "matplotlib", "seaborn"),
)


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
        path, plugins = self.suite.path, self.options.plugins
        words = ["harness", "run", path.as_posix() if not path.is_absolute() else path.name]
        for override in self.options.overrides:
            words += ["--set", override]
        for folder in plugins:
            words += [] if folder.is_absolute() else ["--plugins", folder.as_posix()]
        return shlex.join(words)


def load_suite(path: Path, options: Options) -> tuple[Suite, Catalog]:
    """The checked suite and the parts that are installed.

    Raises:
        SuiteError: every mistake in it, with its place.
    """
    catalog = registry.load_catalog(options.plugins)
    return load(path, catalog, options.overrides), catalog


def open_session(path: Path, options: Options, *, look_again: bool = False) -> Session:
    """The suite with its plan; nothing is written. What is known of the data is kept unless it shall `look_again`.

    Raises:
        SuiteError: mistakes in the suite, or a results folder that nobody can mean.
    """
    if options.results is not None:
        _check_path(options.results)
    suite, catalog = load_suite(path, options)
    # Workers run in folders of their own, and what is kept of data in one folder is not that of the next.
    root = (options.data or data_root()).absolute()
    if look_again:
        forget_data(suite, root)
    plan = make(suite, catalog, root=root)
    folder = options.results or Path("results") / suite.name
    return Session(plan, Store(folder), options)


def forget_data(suite: Suite, root: Path) -> None:
    """Have the data looked at again by the next command."""
    for setting in suite.settings:
        registry.forget(data_question(setting, root))
        if setting.source is not None and "dataset" in setting.source.values:
            registry.forget(source_question(setting.source, root))


def _check_path(results: Path) -> None:
    if not is_text(results):
        raise SuiteError(f"--results {str(results)!r} is not UTF-8; choose another name")
    if str(results).startswith("~"):
        raise SuiteError(f"--results {results}: '~' is not expanded here; write the path out")
    if results.resolve() == Path(results.resolve().anchor):
        raise SuiteError(f"--results {results} is the root of the disk; name a folder for the results alone")


def check_folder(session: Session) -> None:
    """Refuse a folder that holds the results of another suite, or anything that harness did not put there.

    Raises:
        ResultsError: what the folder holds.
    """
    folder, other = session.store.folder, "choose another folder with --results"
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{folder} cannot be a results folder: {error.strerror}; {other}") from error
    found = _suite_of(folder)
    if found is None:
        foreign = [name for name in names if not _is_ours(folder / name, session.suite)]
        if foreign:
            raise ResultsError(f"{folder} is no results folder: it has no {PLAN}, but '{foreign[0]}'; {other}")
    elif found != session.suite.name:
        raise ResultsError(f"{folder} holds the results of suite '{found}', not of '{session.suite.name}'; {other}")
    _check_safe(folder)


def _check_safe(folder: Path) -> None:
    """Refuse to write where others may plant files, or through links that someone planted."""
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ResultsError(f"everybody may write into {folder} (mode {stat.S_IMODE(mode):o}); 'chmod o-w' it first")
    inside = [folder / name for name in _FOLDERS] + list((folder / "runs").glob("??"))
    for path in inside:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ResultsError(f"{path} must be a folder, and no link: harness writes through no links; move it away")


def _suite_of(folder: Path) -> str | None:
    """Name of the suite whose plan lies in the folder; None where there is none that can be read."""
    try:
        return str(json.loads((folder / PLAN).read_text())["suite"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _is_ours(path: Path, suite: Suite) -> bool:
    if path.name == SUITE_COPY:
        return path.is_file() and path.read_bytes() == suite.text.encode()
    return path.name in _ENTRIES or (path.name.startswith(".") and path.name.endswith(".tmp"))


def kept_plan(folder: Path) -> Mapping[str, Any] | None:
    """The plan of the command before, as far as it can be read."""
    try:
        kept = json.loads((folder / PLAN).read_text())
        return kept if isinstance(kept["settings"], list) and isinstance(kept["asked"], dict) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def write_inputs(session: Session, *, outside: int = 0) -> None:
    """Keep the suite as it is now, its plan and the environment beside the records."""
    folder = session.store.folder
    write_atomically(folder / SUITE_COPY, session.suite.text.encode())
    write_atomically(folder / PLAN, _pretty(going_on.described(session.plan, outside=outside)))
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
    seen = [rows, records, session.suite.text, session.command, environment(), walk.counts(session.plan)]
    seen += [list(map(dict, looks.read(session.store.folder)))]
    return digest([*seen, *(record["sha256"] for record in _repetitions(session, walk))])


def _repetitions(session: Session, walk: Walk) -> list[Record]:
    """Repetitions of the plan's runs that gave another result."""
    ids = {entry.run_id for entry in walk.entries}
    return [record for record in session.store.repetitions() if record["id"] in ids]


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


def write_outputs(session: Session, walk: Walk) -> Findings:
    """Tables, data package and report on disk; returns what they say."""
    from harness import report
    from harness.tables.datapackage import write_tables

    found = findings(session, walk)
    folder = session.store.folder
    looks.note(folder, session.plan, found.tables["comparisons"])
    write_tables(found.tables, folder, name=session.suite.name)
    report.write(found, folder)
    answer = {"headline": found.headline, "inputs": stamp(session, walk)}
    write_atomically(folder / STAMP, _pretty(answer), durable=False)
    return found


def walk_records(session: Session, notify: Callable[..., None] | None = None, *, keep_asked: bool = False) -> Walk:
    """What the records say, without running anything; `keep_asked` is for who holds the lock."""
    from harness.coordinator import Coordinator

    return Coordinator(session.plan, session.store, notify=notify, keep_asked=keep_asked).run()


def counts(session: Session) -> dict[str, int]:
    """How many runs of the plan became what; at once where nothing was run yet."""
    if not any(True for _ in session.store.ids()):
        planned = session.plan.runs
        return {"planned": planned, "ok": 0, "pruned": 0, "failed": 0, "missing": planned}
    return walk_records(session).counts(session.plan)


def nearby_results(folder: Path) -> Sequence[Path]:
    """Results folders beside the one that was asked for, and in `results`."""
    found = {path.parent for parent in (folder.parent, Path("results")) for path in parent.glob(f"*/{PLAN}")}
    return sorted(path for path in found if _suite_of(path) is not None)
