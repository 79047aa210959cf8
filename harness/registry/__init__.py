"""Find plugins and answer for their parts by kind and name.

Plugins are imported in a child process; what each offers is kept in the user's cache folder under the hash of its
source, so that only a changed plugin is imported again.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import DataError, HarnessError, PluginError
from harness.locations import cache_folder
from harness.registry import child
from harness.registry.catalog import Broken, Catalog, Origin, PartInfo
from harness.registry.discovery import Source, find
from harness.spec import digest
from harness.store import write_atomically

CACHE_SCHEMA = 6


def load_catalog(folders: Sequence[Path] = ()) -> Catalog:
    """All parts of all plugins; only those whose source changed are imported, in a child process."""
    sources = find(folders)
    questions = [_question(source) for source in sources]
    answers = ask_cached(questions)
    parts: list[PartInfo] = []
    broken: list[Broken] = []
    for source, answered in zip(sources, answers, strict=True):
        if isinstance(answered, child.Failed):
            broken.append(_broken(source, answered.reason))
        else:
            parts += [PartInfo.from_plain(part) for part in answered]
    return Catalog(tuple(parts), tuple(broken))


def _question(source: Source) -> dict[str, Any]:
    origin = Origin(source.distribution, source.version, source.module, str(source.file), source.sha256(), source.local)
    return {"ask": "plugin", "origin": origin.__dict__}


def _broken(source: Source, reason: str) -> Broken:
    try:
        tree = ast.parse(source.file.read_bytes())
        words = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        words = {source.module, *_quoted(source.file)}
    origin = (source.module, source.distribution, source.version, str(source.file))
    named = reason if source.file.name in reason else f"{reason} ({source.file.name})"
    return Broken(*origin, named, mentions=tuple(sorted(words)), local=source.local)


def _quoted(file: Path) -> list[str]:
    """Words in quotation marks of a file that cannot be parsed; none of one that cannot be read."""
    try:
        return re.findall(r"""["']([A-Za-z0-9._+-]+)["']""", file.read_text(errors="replace"))
    except OSError:
        return []


def ask_cached(questions: Sequence[dict[str, Any]]) -> list[Any]:
    """Answers to questions of `harness.registry.describe`, from the cache where they were asked before.

    Failures are not kept: a missing dependency may be installed the next minute.
    """
    keys = [digest([CACHE_SCHEMA, versions(), question]) for question in questions]
    answers = {key: kept for key in keys if (kept := _read_cache(key)) is not None}
    missing = [(key, question) for key, question in zip(keys, questions, strict=True) if key not in answers]
    for (key, _), answered in zip(missing, child.ask([question for _, question in missing]), strict=True):
        answers[key] = answered
        if not isinstance(answered, child.Failed):
            _write_cache(key, answered)
    return [answers[key] for key in keys]


def forget(question: Mapping[str, Any]) -> None:
    """Drop a kept answer, so that the question is asked again."""
    _cache_path(digest([CACHE_SCHEMA, versions(), question])).unlink(missing_ok=True)


@cache
def versions() -> dict[str, str]:
    """What besides a plugin's own source may change its answer."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for distribution in ("harness", "torch", "torchvision"):
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[distribution] = ""
    return found


def _cache_path(key: str) -> Path:
    return cache_folder() / "answers" / f"{key}.json"


def _read_cache(key: str) -> Any:
    """The kept answer; None where there is none that is what was written."""
    try:
        kept = json.loads(_cache_path(key).read_text())
        return kept["answer"] if kept["sha256"] == digest([key, kept["answer"]]) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _write_cache(key: str, answered: Any) -> None:
    kept = {"answer": answered, "sha256": digest([key, answered])}
    with contextlib.suppress(HarnessError, OSError):  # a cache that cannot be written costs time, not results
        write_atomically(_cache_path(key), json.dumps(kept).encode(), durable=False)


def raise_failure(failed: child.Failed, context: str) -> None:
    """Turn a child's failure into the error class that it stands for."""
    error_type = DataError if failed.kind in ("DataError", "DamagedWeights") else PluginError
    raise error_type(f"{context}: {failed.reason}")


def load_part(kind: str, name: str, origin: Origin) -> Any:
    """The part itself, its plugin imported into this process; used only where runs happen.

    Raises:
        PluginError: the plugin does not offer it (any more).
    """
    from harness.registry.describe import import_plugin, parts_of

    bare = name.rpartition(":")[2]
    module = import_plugin(origin)
    for part in parts_of(module):
        if part.kind == kind and part.name == bare:
            return part
    raise PluginError(f"{origin.module} offers no {kind} named '{bare}'")
