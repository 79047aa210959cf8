"""What runs use of the machine, and what they leave behind, as Linux tells it; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """Of one process: memory that no file backs, in MB (2^20 bytes), and threads."""

    memory_mb: float
    threads: int


def usage(pid: int) -> Usage | None:
    """What the process uses now; None where there is no such process or no telling."""
    found = {"RssAnon": 0, "RssShmem": 0, "Threads": 0}
    try:
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return Usage((found["RssAnon"] + found["RssShmem"]) / 1024, found["Threads"])


def private_mb(pid: int) -> float:
    """Memory in MB that the process shares with no other; slower than `usage`, and right for forked processes."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1])
    return total / 1024


def children(pid: int) -> list[int]:
    """Process ids of the children of all its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(pid: int) -> Iterator[int]:
    """Process ids of its children, theirs, and so on."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def kill(pids: list[int]) -> None:
    """End processes at once; those that are gone are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def machine_memory_mb() -> float | None:
    """Memory of this machine, or of the container that this process may not leave, in MB."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            found.append(int((Path("/sys/fs/cgroup") / name).read_text()) / 2**20)
    return min(found, default=None)
