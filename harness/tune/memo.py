"""What was asked before, kept beside the records: derived data that can be deleted at any time.

An answer is found by the hash of all that it follows from, so a kept one is as good as asking again, and a stale one is
never found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from harness.store import write_atomically

LARGEST = 64 * 2**20
"""Bytes; a larger file is not read."""
FOLDER = "studies"
"""Where memos lie in a results folder."""


class Memo:
    """Answers by the hash of their question; without a path it lives in memory alone."""

    def __init__(self, path: Path | None = None, *, keep: bool = False) -> None:
        self.path, self.keep = path, keep and path is not None
        self._read: dict[str, Any] | None = None
        self._used: dict[str, Any] = {}
        self._new = 0

    @classmethod
    def of(cls, folder: Path, study: str, *, keep: bool) -> Memo:
        """The memo of a study in a results folder; written only if it is to be kept."""
        return cls(folder / FOLDER / f"{study}.json", keep=keep)

    def get(self, question: str) -> Any:
        """The answer, or None."""
        if self._read is None:
            self._read = _read(self.path)
        answer = self._read.get(question)
        if answer is not None:
            self._used[question] = answer
        return answer

    def put(self, question: str, answer: Any) -> None:
        """Remember an answer; on the disk soon, and at `save`. The whole file costs no more than a few writes of it."""
        self._used[question] = answer
        self._new += 1
        if self._new > len(self._used) // 4:
            self.save()

    def save(self) -> None:
        """Write what was used, if any of it is new."""
        if self.keep and self._new:
            text = _text(self._used)
            whole = f'{{"answers":{text},"sha256":"{_sha256(text)}"}}\n'
            write_atomically(self.path, whole.encode(), durable=False)  # type: ignore[arg-type]
        self._new = 0


def _text(answers: dict[str, Any]) -> str:
    return json.dumps(answers, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path | None) -> dict[str, Any]:
    """The answers in the file; none where there is anything odd about it."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        if path is not None and stat.S_ISREG((found := os.lstat(path)).st_mode) and found.st_size <= LARGEST:
            kept = json.loads(path.read_bytes())
            answers = kept["answers"]
            if isinstance(answers, dict) and kept["sha256"] == _sha256(_text(answers)):
                return answers
    return {}
