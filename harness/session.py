"""One command's view of one suite: the suite, its plan and its results folder."""

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

from harness import going_on, looks, registry
from harness.errors import ResultsError, SuiteError
from harness.locations import data_root, is_text
from harness.plan import Plan, data_question, make, source_question
from harness.registry.catalog import Catalog
from harness.store import Store, write_atomically
from harness.suite import Suite, load

if TYPE_CHECKING:
    from harness.coordinator import Walk

SUITE_COPY = "suite.toml"
PLAN = "plan.json"
ENVIRONMENT = "environment.json"
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
    write_atomically(folder / PLAN, pretty(going_on.described(session.plan, outside=outside)))
    write_atomically(folder / ENVIRONMENT, pretty(environment()))


def pretty(value: Any) -> bytes:
    """The value as JSON that a person can read, the same bytes for equal values."""
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
