"""Records on disk: one JSON file a run, written once and atomically, verified whenever it is read.

A record is `{schema, id, spec, result, environment, observed, sha256}`. Equality of two runs is judged on `spec`,
`result` and `environment`; `observed` holds clocks, host and attempts. Damage counts as absence, never as a result.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import filelock

from harness.errors import ResultsError
from harness.spec import SCHEMA, canonical, digest

Record = Mapping[str, Any]
LARGEST = 4 * 2**20
"""Bytes; a larger record is damage."""
_TEMPORARY = re.compile(r"\..+\.[0-9]+\.[0-9a-f]{8}\.tmp")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM)


class Damaged(Exception):
    """A record that must not be used, with the reason."""


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path` so that a reader or a crash at any moment sees the old file or the new one.

    Raises:
        ResultsError: the disk is full, read-only or broken.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        _explain(error, path, len(data))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Path, needed: int) -> NoReturn:
    if error.errno not in _DISK_ERRORS:
        raise error
    free = ""
    with contextlib.suppress(OSError):
        status = os.statvfs(path.parent if path.parent.exists() else path.anchor or ".")
        free = f" ({status.f_bavail * status.f_frsize:,} bytes free, {needed:,} needed)"
    raise ResultsError(
        f"cannot write {path}: {os.strerror(error.errno or 0)}{free}; finished runs are kept, the same command goes on"
    ) from error


def make_record(spec: Mapping[str, Any], result: Any, *, environment: Any, observed: Any) -> Record:
    """A complete record of the run, with its id and checksum."""
    body = {
        "schema": SCHEMA,
        "id": digest(spec),
        "spec": spec,
        "result": result,
        "environment": environment,
        "observed": observed,
    }
    return {**body, "sha256": _checksum(body)}


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: body[key] for key in body if key != "sha256"}).encode()).hexdigest()


def parse_record(data: bytes, *, expected_id: str, spec: Mapping[str, Any] | None = None) -> Record:
    """The record in `data`; with `spec`, from which the id was made, in place of its equal in the record.

    Raises:
        Damaged: not strict JSON, another id, a wrong checksum.
        ResultsError: written by a newer harness.
    """
    try:
        record = json.loads(data.decode(), parse_constant=_refuse, object_pairs_hook=_single_keys)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not a JSON record: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
        raise Damaged("not a record: no schema")
    if record["schema"] > SCHEMA:
        raise ResultsError(
            f"record {expected_id[:12]} has schema {record['schema']}, this harness knows {SCHEMA}: it was written by "
            "a newer version; update harness or choose another --results folder"
        )
    if record.get("id") != expected_id:
        raise Damaged(f"the file name says {expected_id[:12]}, the record says {str(record.get('id'))[:12]}")
    try:
        if _checksum(record) != record.get("sha256"):
            raise Damaged("the checksum does not fit")
        if record["spec"] != spec and digest(record["spec"]) != expected_id:
            raise Damaged("the spec is not the one that the id was made from")
    except (TypeError, KeyError) as error:
        raise Damaged(f"incomplete record: {error!r}") from error
    return record if spec is None else {**record, "spec": spec}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("doubled key")
    return made


class Store:
    """The results folder of one suite.

    Only the coordinator writes through it. Reading never changes anything: damaged records are listed in `damaged`
    until `quarantine` moves them away.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: dict[str, str] = {}
        self._known: dict[str, Record] = {}

    def path(self, run_id: str) -> Path:
        """Where the record of a run lies."""
        return self.folder / "runs" / run_id[:2] / f"{run_id}.json"

    def read(self, run_id: str, *, spec: Mapping[str, Any] | None = None) -> Record | None:
        """The verified record, or None where there is none that can be trusted.

        `spec`: what the id was made from, if at hand. The record then holds it, and specs share most of their memory.
        """
        if run_id in self._known:
            return self._known[run_id]
        path = self.path(run_id)
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise Damaged("not a regular file of at most 4 MiB")
            record = parse_record(path.read_bytes(), expected_id=run_id, spec=spec)
        except FileNotFoundError:
            return None
        except (Damaged, PermissionError) as error:
            self.damaged[run_id] = str(error)
            return None
        self._known[run_id] = record
        return record

    def write(self, record: Record) -> None:
        """Keep a record for good; it is on the disk when this returns."""
        data = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        write_atomically(self.path(record["id"]), data)
        self._known[record["id"]] = record

    def ids(self) -> Iterator[str]:
        """The ids that file names promise, unread."""
        for path in sorted((self.folder / "runs").glob("[0-9a-f][0-9a-f]/*.json")):
            if not path.name.startswith("."):
                yield path.stem

    def quarantine(self) -> dict[str, str]:
        """Move damaged records to `quarantine/`, each with its reason beside it; returns the reasons by id."""
        for run_id, reason in self.damaged.items():
            target = self.folder / "quarantine" / f"{run_id}.{secrets.token_hex(4)}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path(run_id), target)
            write_atomically(target.with_suffix(".reason"), f"{reason}\n".encode())
        moved, self.damaged = self.damaged, {}
        return moved

    def sweep(self) -> int:
        """Remove temporary files of `write_atomically` that a killed writer left behind; returns how many."""
        places = [pattern for depth in ("", "*/", "*/*/") for pattern in self.folder.glob(f"{depth}.*.tmp")]
        left = [path for path in places if _TEMPORARY.fullmatch(path.name) and stat.S_ISREG(os.lstat(path).st_mode)]
        for path in left:
            path.unlink()
        return len(left)

    @contextlib.contextmanager
    def lock(self, suite: str) -> Iterator[None]:
        """Hold the folder as its only writer.

        The operating system gives the lock back when its holder dies, so no stale lock is ever left.

        Raises:
            ResultsError: another process holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _explain(error, self.folder, 0)
        holder = self.folder / "lock.json"
        lock = filelock.FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ResultsError(f"{self.folder} is in use by {_holder(holder)}; wait for it or stop it") from None
        except OSError as error:
            _explain(error, self.folder / "lock", 0)
        try:
            facts = {"host": socket.gethostname(), "pid": os.getpid(), "suite": suite, "since": _now()}
            write_atomically(holder, json.dumps(facts).encode(), durable=False)
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _holder(path: Path) -> str:
    try:
        facts = json.loads(path.read_text())
        return f"process {facts['pid']} on {facts['host']} (suite {facts['suite']}, since {facts['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
