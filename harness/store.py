"""Records on disk: one JSON file a run, written once and atomically, verified whenever it is read.

Damage counts as absence, never as a result. Only the holder of the folder's lock writes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import filelock

from harness import records
from harness.errors import ResultsError
from harness.records import Damaged, Record, make_record, parse_record

__all__ = ["Damaged", "Record", "Store", "make_record", "parse_record", "sweep_abandoned", "write_atomically"]

LARGEST = 4 * 2**20
"""Bytes; a larger record is damage."""
_TEMPORARY = re.compile(r"\..+\.([0-9]+)\.[0-9a-f]{8}\.tmp")
_RECORD_BYTES, _REPORT_BYTES = 16 * 2**10, 16 * 2**20
"""What a run takes at least, with its rows in the tables; what tables and report take besides."""
_WRITTEN = ("checkpoints", "logs", "report", "runs", "studies", "tables", "weights")
"""Folders that runs, and what is made of them, are written into."""
_MOMENT_SECONDS = 1.0
_ABANDONED_SECONDS = 2 * 86400.0
"""After which nobody is still at a temporary file, on whatever host; a download is given a day."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
_PLACE_ERRORS = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG), ""),
    errno.ENOENT: "no folder can be made there",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is where a folder must be"),
    errno.EISDIR: "a folder is in its place",
}
"""What is wrong with the place and not with the disk, where the system's own words do not say it well."""


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, durable: bool = True) -> None:
    """Put `data` at `path` so that a reader or a crash at any moment sees the old file or the new one.

    Of data that come piece by piece nothing is kept if a piece cannot be had.

    Raises:
        ResultsError: the disk is full, read-only or broken, or no file may be made there.
    """
    pieces, size = ([data], len(data)) if isinstance(data, bytes) else (data, 0)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
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
        _explain(error, path, size)


def sweep_abandoned(folder: Path) -> int:
    """Remove temporary files of `write_atomically` whose writer was killed, and no one else's; returns how many.

    Nobody needs to hold the folder: a file is left alone while its writer may be alive. The writer of this host is dead
    if no process has its id; of another host nothing is known, and its files go when they are two days old.
    """
    removed = 0
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # another process sweeps too, or it is not ours to remove
            if (found := _TEMPORARY.fullmatch(path.name)) and _abandoned(path, int(found[1])):
                path.unlink()
                removed += 1
    return removed


def _abandoned(path: Path, pid: int) -> bool:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return False
    if time.time() - status.st_mtime > _ABANDONED_SECONDS:
        return True
    here = path.name.rpartition(f".{pid}.")[0].endswith(f".{socket.gethostname()}")
    return here and not _alive({"host": socket.gethostname(), "pid": pid})


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _explain(error, path, 0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, path: Path, needed: int) -> NoReturn:
    number = error.errno or 0
    if number in _PLACE_ERRORS:
        words = _PLACE_ERRORS[number] or os.strerror(number)
        raise ResultsError(
            f"cannot write {path}: {words}; finished runs are kept, the same command goes on when that is mended "
            "(or name another folder with --results)"
        ) from error
    if number not in _DISK_ERRORS:
        raise error
    free = _free(path.parent)
    room = "" if free is None else f" ({free:,} bytes free, {needed:,} needed)"
    raise ResultsError(
        f"cannot write {path}: {os.strerror(number)}{room}; finished runs are kept, the same command goes on"
    ) from error


def _free(folder: Path) -> int | None:
    """Bytes that this user may still write where the folder is, or will be."""
    place = next((one for one in (folder, *folder.absolute().parents) if one.exists()), None)
    try:
        status = os.statvfs(place or ".")
    except (OSError, AttributeError):
        return None
    return status.f_bavail * status.f_frsize


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

    def weights(self, run_id: str) -> Path:
        """Where the weights of a source run lie."""
        return self.folder / "weights" / f"{run_id}.safetensors"

    def read(self, run_id: str, *, spec: Mapping[str, Any] | None = None) -> Record | None:
        """The verified record, or None where there is none that can be trusted.

        `spec`: what the id was made from, if at hand. The record then holds it, and specs share most of their memory.

        Raises:
            ResultsError: it was written by a newer harness.
        """
        if run_id not in self._known:
            found = self._read(run_id, spec)
            record = self._older.get(run_id) if found is None else records.converted(found)
            if record is None:
                return None
            self._known[run_id] = record
        if spec is not None and self._known[run_id]["spec"] is not spec:
            self._known[run_id] = {**self._known[run_id], "spec": spec}
        return self._known[run_id]

    def _read(self, run_id: str, spec: Mapping[str, Any] | None = None) -> Record | None:
        path = self.path(run_id)
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise Damaged("not a regular file of at most 4 MiB")
            return parse_record(path.read_bytes(), expected_id=run_id, spec=spec)
        except FileNotFoundError:
            return None
        except (Damaged, PermissionError) as error:
            self.damaged[run_id] = str(error)
            return None
        except ResultsError as error:
            raise ResultsError(f"{error}{_version(self.folder)}") from None

    @cached_property
    def _older(self) -> dict[str, Record]:
        """Records of older schemas, converted, by the id that they have now; files stay as they are."""
        found = {}
        for run_id in self.ids() if records.CONVERTERS else ():
            if (record := self._read(run_id)) is not None:
                record = records.converted(record)
                found[record["id"]] = record
        return found

    def verify(self) -> None:
        """Read every record, so that `damaged` lists all that cannot be trusted."""
        for run_id in self.ids():
            self.read(run_id)

    def write(self, record: Record) -> None:
        """Keep a record for good; it is on the disk when this returns."""
        if reason := self.damaged.pop(record["id"], None):
            self.put_away(record["id"], reason)
        write_atomically(self.path(record["id"]), _text(record))
        self._known[record["id"]] = record

    def ids(self) -> Iterator[str]:
        """The ids that file names promise, unread."""
        for path in sorted((self.folder / "runs").glob("[0-9a-f][0-9a-f]/*.json")):
            if not path.name.startswith("."):
                yield path.stem

    def quarantine(self) -> dict[str, str]:
        """Move damaged records to `quarantine/`, each with its reason beside it; returns the reasons by id."""
        for run_id, reason in self.damaged.items():
            self.put_away(run_id, reason)
        moved, self.damaged = self.damaged, {}
        return moved

    def put_away(self, run_id: str, reason: str) -> None:
        """Move a record, and any weights, to `quarantine/` with the reason: its run counts as never done."""
        target = self.folder / "quarantine" / f"{run_id}.{secrets.token_hex(4)}.json"
        write_atomically(target.with_suffix(".reason"), f"{reason}\n".encode())
        with _explained(target):
            os.replace(self.path(run_id), target)
            if os.path.lexists(weights := self.weights(run_id)):
                os.replace(weights, target.with_suffix(".safetensors"))
        self._known.pop(run_id, None)

    def keep_repetition(self, record: Record) -> Path:
        """Keep what a repetition of a finished run gave; the run's own record stays."""
        path = self.folder / "recheck" / f"{record['id']}.json"
        write_atomically(path, _text(record))
        return path

    def repetitions(self) -> Iterator[Record]:
        """Repetitions of finished runs that gave another result, by id."""
        for path in sorted((self.folder / "recheck").glob("[0-9a-f]*.json")):
            with contextlib.suppress(Damaged, OSError):
                yield parse_record(path.read_bytes(), expected_id=path.stem)

    def sweep(self) -> int:
        """Remove temporary files of `write_atomically` that a killed writer left behind; returns how many."""
        places = [pattern for depth in ("", "*/", "*/*/") for pattern in self.folder.glob(f"{depth}.*.tmp")]
        left = [path for path in places if _TEMPORARY.fullmatch(path.name) and stat.S_ISREG(os.lstat(path).st_mode)]
        for path in left:
            with _explained(path):
                path.unlink()
        return len(left)

    def require_space(self, runs: int) -> None:
        """Refuse to begin so many runs where their records, and the report, would not fit on the disk.

        Raises:
            ResultsError: what is free and what is needed.
        """
        sizes = [self.path(run_id).stat().st_size for run_id in itertools.islice(self.ids(), 100)]
        record = max(_RECORD_BYTES, 2 * max(sizes, default=0))
        needed, free = runs * record + _REPORT_BYTES, _free(self.folder)
        if free is not None and free < needed:
            raise ResultsError(
                f"too little room for {runs} runs in {self.folder}: {free:,} bytes free, about {needed:,} needed; "
                "make room, or choose another disk with --results"
            )

    def require_writable(self) -> None:
        """Refuse to begin runs where their records, weights or logs could not be written.

        Raises:
            ResultsError: the folder that this user may not write into.
        """
        for folder in (self.folder, *(self.folder / name for name in _WRITTEN)):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                _explain(PermissionError(errno.EACCES, ""), folder, 0)

    @contextlib.contextmanager
    def lock(self, suite: str) -> Iterator[str | None]:
        """Hold the folder as its only writer; gives the process that held it last, if that was killed.

        The operating system gives the lock back when its holder dies, so no stale lock is ever left.

        Raises:
            ResultsError: another process holds it.
        """
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        holder = self.folder / "lock.json"
        lock = filelock.FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ResultsError(f"{self.folder} is in use by {_holder(holder)}; wait for it or stop it") from None
        except OSError as error:
            _explain(error, self.folder / "lock", 0)
        try:
            killed = _facts(holder)
            facts = {"host": socket.gethostname(), "pid": os.getpid(), "suite": suite, "since": _now()}
            write_atomically(holder, json.dumps(facts).encode(), durable=False)
            yield None if killed is None else _words(killed)
        finally:
            with contextlib.suppress(OSError):  # what ends the command matters more, and the next holder writes it anew
                holder.unlink()
            lock.release()


def _text(record: Record) -> bytes:
    return json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _version(folder: Path) -> str:
    """Which harness was the last to run here, as far as that can be told."""
    try:
        used = json.loads((folder / "environment.json").read_text())["harness"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f" (the folder was last used by harness {used})"


def _holder(path: Path) -> str:
    """The process that holds the lock; one that has just taken it is given a moment to say who it is."""
    deadline = time.monotonic() + _MOMENT_SECONDS
    while True:
        facts = _facts(path)
        if facts is not None and _alive(facts):
            return _words(facts)
        if time.monotonic() > deadline:
            return "another process"
        time.sleep(0.05)


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_text())
        return facts if all(key in facts for key in ("pid", "host", "suite", "since")) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _alive(facts: dict[str, Any]) -> bool:
    """False for what the holder before left behind; nothing is known of other hosts."""
    if facts["host"] != socket.gethostname():
        return True
    try:
        os.kill(int(facts["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, TypeError, OverflowError):
        return True
    return True


def _words(facts: dict[str, Any]) -> str:
    return f"process {facts['pid']} on {facts['host']} (suite {facts['suite']}, since {facts['since']})"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
