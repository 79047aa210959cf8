"""States of unfinished runs on disk: `checkpoints/<id>/<step>.safetensors`, each with a manifest that is written last.

Two are kept, so that a damaged one leaves the one before. A file is only used when its SHA-256 is the manifest's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.store import write_atomically

KEPT = 2
_CHUNK = 2**20


def keep(folder: Path, source: Path, *, step: int, sha256: str) -> bool:
    """Copy the file that a worker wrote into the run's folder; False if it is not what the worker announced.

    Raises:
        ResultsError: the disk is full, read-only or broken.
    """
    if not _is(source, sha256):
        return False
    write_atomically(folder / f"{step}.safetensors", source.read_bytes())
    manifest = {"step": step, "sha256": sha256}
    write_atomically(folder / f"{step}.json", json.dumps(manifest).encode())
    for _, old in list(_manifests(folder))[KEPT:]:
        _remove(old)
        _remove(old.with_suffix(".safetensors"))
    return True


def newest(folder: Path) -> Path | None:
    """The newest file in the run's folder that is as its manifest says; None where there is none."""
    for step, manifest in _manifests(folder):
        try:
            said = json.loads(manifest.read_bytes())
            if said["step"] == step and _is(manifest.with_suffix(".safetensors"), str(said["sha256"])):
                return manifest.with_suffix(".safetensors")
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
    return None


def drop(folder: Path) -> None:
    """Remove the run's folder, when its record is in place."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _manifests(folder: Path) -> Iterator[tuple[int, Path]]:
    """Step and manifest, the newest first."""
    found = [path for path in folder.glob("*.json") if path.stem.isdigit()]
    yield from sorted(((int(path.stem), path) for path in found), reverse=True)


def _is(path: Path, sha256: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode) and sha256_of(path) == sha256
    except OSError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
