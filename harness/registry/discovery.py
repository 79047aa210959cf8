"""Where plugins lie, found without importing any of them, and the hash of the source that each depends on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from harness.errors import PluginError
from harness.hookspecs import HOOKS
from harness.locations import is_text

GROUP = "harness"
LOCAL = "harness_local"
"""Package name under which files of a plugins folder are imported, so that none of them hides an installed module."""

_HOOK = re.compile(rb"^(?:async )?def (?:%s)\b" % "|".join(HOOKS).encode(), re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """One plugin module that has not been imported."""

    distribution: str
    version: str
    module: str
    file: Path
    root: Path
    """The folder of the top-level package (or the plugins folder): imports that stay inside it are hashed along."""
    local: bool
    """True for a file in a plugins folder."""

    def sha256(self) -> str:
        """Over the module and every module under `root` that it imports, directly or not."""
        digest = hashlib.sha256()
        for path in sorted(_closure(self.file, self.root)):
            name = os.fsencode(path.relative_to(self.root).as_posix())
            digest.update(name + b"\0" + _content(path) + b"\0")
        return digest.hexdigest()


def find(folders: Sequence[Path] = ()) -> list[Source]:
    """Every plugin: installed entry points first, then `./plugins/*.py`, then the given folders.

    Raises:
        PluginError: a given folder does not exist, or two distributions offer one entry-point name.
    """
    found = list(_installed())
    default = Path("plugins")
    if default.is_dir() and not (default / "__init__.py").exists():
        found += _in_folder(default)
    for folder in folders:
        if not folder.is_dir():
            raise PluginError(f"no plugins folder {folder}")
        found += _in_folder(folder)
    first: dict[Path, Source] = {}
    for source in found:
        first.setdefault(source.file.resolve(), source)
    return list(first.values())


def _installed() -> Iterator[Source]:
    seen: dict[str, str] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        distribution = entry.dist.metadata["Name"] if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else ""
        if seen.setdefault(entry.name, distribution) != distribution:
            raise PluginError(
                f"two distributions have a plugin entry point named '{entry.name}': "
                f"{seen[entry.name]} and {distribution}"
            )
        for module, file, root in _modules(entry.module):
            yield Source(distribution, version, module, file, root, local=False)


def _modules(name: str) -> Iterator[tuple[str, Path, Path]]:
    """Module name, file and root of an entry point; of a package, each of its public modules that has hooks."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        yield name, Path(name), Path()
        return
    if not spec.submodule_search_locations:
        yield name, Path(str(spec.origin)), Path(str(spec.origin)).parent
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    path = root.joinpath(*rest)
    if not path.is_dir():
        yield name, path.with_suffix(".py"), root
        return
    for file in sorted(path.glob("*.py")):
        if file.name == "__init__.py" and _may_have_hooks(file):
            yield name, file, root
        elif not file.name.startswith("_") and _may_have_hooks(file):
            yield f"{name}.{file.stem}", file, root


def _in_folder(folder: Path) -> Iterator[Source]:
    if not is_text(folder.resolve()):
        raise PluginError(f"the path of plugins folder {str(folder)!r} is not UTF-8; rename it")
    for file in sorted(folder.glob("*.py")):
        # Editors leave links like `.#lion.py` that lead nowhere.
        if not file.name.startswith(("_", ".")) and _may_have_hooks(file):
            yield Source(folder.resolve().name, "", file.stem, file.resolve(), folder.resolve(), local=True)


def _may_have_hooks(file: Path) -> bool:
    """Whether the file mentions the marker, or has a function named like a hook, whose marker was then forgotten.

    One that cannot be read may have hooks, and is listed as broken when it is imported.
    """
    if not file.is_file():
        return False
    content = _content(file)
    return b"hookimpl" in content or bool(_HOOK.search(content)) or not os.access(file, os.R_OK)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@cache
def _closure(file: Path, root: Path) -> frozenset[Path]:
    """The file and the files under `root` that it imports, by reading import statements."""
    found: set[Path] = set()
    todo = [file]
    while todo:
        path = todo.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        todo += _imported(path, root)
    return frozenset(found)


def _imported(path: Path, root: Path) -> Iterable[Path]:
    try:
        tree = ast.parse(_content(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _resolve(alias.name.split("."), root)
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                package = path.parent
                for _ in range(node.level - 1):
                    package = package.parent
                if root not in (package, *package.parents):
                    continue
                parts = [root.name, *package.relative_to(root).parts, *parts]
            for tail in ([], *([alias.name] for alias in node.names)):
                yield from _resolve([*parts, *tail], root)


def _resolve(parts: Sequence[str], root: Path) -> Iterator[Path]:
    """Files that a dotted name may mean: below the package that `root` is, or beside the file in a plugins folder."""
    inside = parts[1:] if parts and parts[0] in (root.name, _import_name(root)) else parts
    for end in range(1, len(inside) + 1):
        path = root.joinpath(*inside[:end])
        yield path.with_name(path.name + ".py")
        yield path / "__init__.py"
    if parts and inside is not parts:
        yield root / "__init__.py"


def _import_name(root: Path) -> str:
    # The built-in package lies in `plugins/` but is imported under another name.
    return "harness_plugins" if root.name == "plugins" and (root / "__init__.py").exists() else root.name
