"""`harness run`: do what is missing, then tables and report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.output import counts_text, options, say, suite_command

if TYPE_CHECKING:
    from harness.coordinator import Walk
    from harness.plan import Plan, Price
    from harness.session import Session

DONE, SOME_FAILED = 0, 1


@click.command()
@suite_command
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time. [default: the suite's, or the cores]")
@click.option("--executor", metavar="NAME", help="Where runs happen: 'harness list executors'. [default: the suite's]")
@click.option("--scheduler", metavar="ADDRESS", help="Of a cluster, for an executor that takes one: tcp://host:8786.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the answer.")
def run(
    workers: int | None, executor: str | None, scheduler: str | None, quiet: bool, suite: Path, **given: Any
) -> None:
    """Do what is missing of SUITE, then write tables and report.

    Finished runs are never done again: the same command goes on after an interruption, and after an arm or replicates
    were added it computes only the new ones.
    """
    from harness import execute
    from harness import session as sessions
    from harness.progress import duration

    opened = sessions.open_session(suite, options(**given))
    sessions.check_folder(opened)
    plan = execute.choose(opened.plan, workers=workers, executor=executor, scheduler=scheduler)
    with opened.store.lock(opened.suite.name):
        known = _repair(opened)
        walk, seconds = known, 0.0
        if known.counts(plan)["missing"]:
            walk, seconds = _compute(opened, plan, known, quiet=quiet)
        headline = None if walk.computed else sessions.kept_headline(opened, walk)
        if headline is None:
            say("writing tables and report", quiet=quiet)
            headline = sessions.write_outputs(opened, walk).headline
    counts = walk.counts(plan)
    done = f"{walk.computed} runs done in {duration(seconds)}" if walk.computed else "nothing to run"
    say(f"{done}: {counts_text(counts)}", quiet=quiet)
    click.echo(headline)
    click.echo(f"report: {opened.store.folder / 'report' / 'report.html'}")
    sys.exit(SOME_FAILED if counts["failed"] else DONE)


def _repair(opened: Session) -> Walk:
    """What is recorded, after damaged records and leftovers of killed writers were put away."""
    from harness import session as sessions

    opened.store.sweep()
    walk = sessions.walk_records(opened, keep_asked=True)
    if moved := opened.store.quarantine():
        say(f"{len(moved)} damaged records moved to {opened.store.folder / 'quarantine'}; their runs are done again")
        walk = sessions.walk_records(opened)
    return walk


def _compute(opened: Session, plan: Plan, known: Walk, *, quiet: bool) -> tuple[Walk, float]:
    """Do the missing runs; returns everything that is known then, and the seconds it took."""
    import time

    from harness import execute, progress
    from harness import plan as plans
    from harness import session as sessions
    from harness.coordinator import Coordinator
    from harness.errors import ResultsError

    counts = known.counts(plan)
    prices = plans.prices(plan)
    expected = expected_seconds(plan, prices, counts)
    sessions.write_inputs(opened)
    found = f"{counts['planned'] - counts['missing']} of {counts['planned']} runs done"
    say(f"{found}, {counts['missing']} to do, about {progress.duration(expected)}", quiet=quiet)
    begun = time.monotonic()
    environment = _recorded_environment(known)
    executor = execute.make(plan, folder=opened.store.folder, environment=environment)
    try:
        with progress.shown(plan, expected_seconds=expected, quiet=quiet) as add:
            walk = Coordinator(plan, opened.store, executor=executor, notify=add).run()
    except EOFError as error:
        raise ResultsError(
            "the process that workers are forked from ended at its start, for a reason shown above; "
            "--executor serial does without it"
        ) from error
    finally:
        executor.close()
    if not (opened.store.folder / sessions.PLAN).exists():
        raise ResultsError(f"{opened.store.folder} was removed while its runs were done; the same command starts again")
    return walk, time.monotonic() - begun


def _recorded_environment(walk: Walk) -> dict[str, Any] | None:
    """What the recorded runs' numbers depend on besides their specs; None unless it is one and the same for all."""
    found = {json.dumps(e.record["environment"], sort_keys=True) for e in walk.entries if e.record}
    found.discard("{}")  # of a run that ended without a word
    return dict(json.loads(found.pop())) if len(found) == 1 else None


def expected_seconds(plan: Plan, prices: dict[tuple[str, str], Price], counts: dict[str, int]) -> float:
    """What the missing runs take on this machine with the plan's workers."""
    from harness import execute

    execution = plan.suite.execution
    workers = 1 if execution.executor == "serial" else execution.workers or execute.cores()
    total = sum(row.seconds or 0.0 for row in plan.rows(prices))
    return total * counts["missing"] / counts["planned"] / min(workers, execute.cores())
