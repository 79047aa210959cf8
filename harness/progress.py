"""Progress of a suite on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from harness.coordinator import Entry
    from harness.plan import Plan

LINE_EVERY_SECONDS = 10.0


@dataclass
class Tally:
    """What is done so far, as every display shows it."""

    planned: int
    sign: float
    fraction: bool
    metric: str
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    fresh: int = 0
    failed: int = 0
    pruned: int = 0
    best: dict[str, float] = field(default_factory=dict)
    begun: float = 0.0
    expected_seconds: float | None = None
    """What the plan expected of all that was missing at the start; used until runs have been timed."""

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def add(self, entry: Entry, *, fresh: bool) -> None:
        """Count one run."""
        self.done += 1
        self.fresh += fresh
        self.failed += entry.failed
        self.pruned += entry.result["status"] == "pruned"
        if entry.result["status"] == "pruned" or entry.label.phase == "source":
            return  # what is never chosen is no best value either
        values = [row[5] for row in entry.result["evaluations"] if row[3] == "validation" and row[4] == self.metric]
        for value in values:
            best = self.best.get(entry.label.arm)
            if best is None or self.sign * value > self.sign * best:
                self.best[entry.label.arm] = value

    @property
    def left_seconds(self) -> float | None:
        """Time left: by the pace of the runs done just now, before that by the plan's estimate while it holds."""
        elapsed, missing = self.clock() - self.begun, self.planned - self.done
        if self.fresh >= 3 or not missing:
            return elapsed / self.fresh * missing if missing else 0.0
        left = (self.expected_seconds or 0.0) - elapsed
        return left if left > 0 else None

    def best_text(self) -> str:
        """The best validation value so far of each arm."""
        return ", ".join(f"{arm} {self.show(value)}" for arm, value in self.best.items())

    def show(self, value: float) -> str:
        """A value of the metric for people."""
        return f"{100 * value:.2f} %" if self.fraction else f"{value:.4g}"

    def line(self) -> str:
        """All of it in one line."""
        left = "" if self.left_seconds is None else f", about {duration(self.left_seconds)} left"
        failed = f", {self.pruned} pruned" if self.pruned else ""
        failed += f", {self.failed} failed" if self.failed else ""
        best = f"; best validation {self.metric}: {self.best_text()}" if self.best else ""
        return f"{self.done}/{self.planned} runs{failed}{left}{best}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


Add = Callable[["Entry", bool], None]


@contextmanager
def shown(plan: Plan, *, expected_seconds: float | None, quiet: bool, stream: TextIO | None = None) -> Iterator[Add]:
    """A function that takes every run as it arrives, and shows how things stand."""
    stream = stream or sys.stderr
    metric = plan.suite.metric
    tally = Tally(
        planned=plan.runs,
        sign=1.0 if metric.extra["direction"] == "maximize" else -1.0,
        fraction=metric.extra["unit"] == "fraction",
        metric=metric.name,
        expected_seconds=expected_seconds,
    )
    if quiet:
        yield lambda entry, fresh: tally.add(entry, fresh=fresh)
    elif stream.isatty():
        with _bar(tally, stream) as add:
            yield add
    else:
        yield _lines(tally, stream)


def _lines(tally: Tally, stream: TextIO) -> Add:
    last = tally.clock()

    def add(entry: Entry, fresh: bool) -> None:
        nonlocal last
        tally.add(entry, fresh=fresh)
        now = tally.clock()
        if fresh and (now - last >= LINE_EVERY_SECONDS or tally.done == tally.planned):
            last = now
            print(tally.line(), file=stream, flush=True)

    return add


@contextmanager
def _bar(tally: Tally, stream: TextIO) -> Iterator[Add]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console) as progress:
        task = progress.add_task("", total=tally.planned, left="")

        def add(entry: Entry, fresh: bool) -> None:
            tally.add(entry, fresh=fresh)
            left = "" if tally.left_seconds is None else f"about {duration(tally.left_seconds)} left"
            left += f"  [red]{tally.failed} failed[/red]" if tally.failed else ""
            text = f"{left}  [dim]best validation {tally.metric}:[/dim] {tally.best_text()}"
            progress.update(task, completed=tally.done, left=text)

        yield add
