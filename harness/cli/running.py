"""`harness run`: do what is missing, then tables and report."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.changes import Changes
from harness.cli.output import RERUN_FAILED, counts_text, download_option, options, say, suite_command

if TYPE_CHECKING:
    from harness.coordinator import Walk
    from harness.execute import Evaluator
    from harness.plan import Plan, Price
    from harness.session import Session

DONE, SOME_FAILED = 0, 1


@click.command()
@suite_command
@download_option
@click.option("--workers", type=click.IntRange(min=1), help="Runs at a time. [default: the suite's, or the cores]")
@click.option("--executor", metavar="NAME", help="Where runs happen: 'harness list executors'. [default: the suite's]")
@click.option("--scheduler", metavar="ADDRESS", help="Of a cluster, for an executor that takes one: tcp://host:8786.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the answer.")
@click.option(
    "--rerun",
    type=click.Choice(["failed", "changed"]),
    help="Do again what failed, or what was recorded with other data or another training version.",
)
@click.option(
    "--recheck", type=click.IntRange(min=1), metavar="N", help="Repeat N finished runs: results must be equal."
)
@click.option(
    "--allow-mixed-environment", "mixed", is_flag=True, help="Go on with another torch or device than the records'."
)
def run(
    workers: int | None,
    executor: str | None,
    scheduler: str | None,
    quiet: bool,
    rerun: str | None,
    recheck: int | None,
    mixed: bool,
    suite: Path,
    **given: Any,
) -> None:
    """Do what is missing of SUITE, then write tables and report.

    Finished runs are never done again: the same command goes on after an interruption, and after an arm or replicates
    were added it computes only the new ones.
    """
    from harness import execute, outputs
    from harness import plan as plans
    from harness import session as sessions
    from harness.progress import duration

    opened = sessions.open_session(suite, options(**given), look_again=rerun == "changed")
    sessions.check_folder(opened)
    plan = execute.choose(opened.plan, workers=workers, executor=executor, scheduler=scheduler)
    if not opened.store.folder.exists():
        plans.prices(plan)  # what cannot be built is refused before there is a folder
    with opened.store.lock(opened.suite.name) as killed:
        if killed is not None:
            say(f"taken over from {killed}, which was killed", quiet=quiet)
        changes = Changes.find(opened, _repair(opened), rerun)
        work = _Work(opened, plan, changes, mixed=mixed, quiet=quiet)
        walk, seconds = work.compute() if changes.missing else (changes.make(quiet=quiet), 0.0)
        reproducible = recheck is None or work.recheck(walk, recheck)
        headline = None if walk.computed else outputs.kept_headline(opened, walk)
        if headline is None:
            say("writing tables and report", quiet=quiet)
            headline = outputs.write(opened, walk).headline
    counts = walk.counts(plan)
    done = f"{walk.computed} runs done in {duration(seconds)}" if walk.computed else "nothing to run"
    say(f"{done}: {counts_text(counts)}", quiet=quiet)
    if counts["failed"]:
        say(RERUN_FAILED, quiet=quiet)
    click.echo(headline)
    click.echo(f"report: {opened.store.folder / 'report' / 'report.html'}")
    sys.exit(SOME_FAILED if counts["failed"] or not reproducible else DONE)


def _repair(opened: Session) -> Walk:
    """What is recorded, after damaged records and leftovers of killed writers were put away."""
    from harness import session as sessions

    opened.store.sweep()
    walk = sessions.walk_records(opened, keep_asked=True)
    opened.store.verify()  # what the walk did not read
    if moved := opened.store.quarantine():
        say(f"{len(moved)} damaged records moved to {opened.store.folder / 'quarantine'}; their runs are done again")
        walk = sessions.walk_records(opened, keep_asked=True)
    return walk


class _Work:
    """Having runs done: those that are missing, and some again."""

    def __init__(self, opened: Session, plan: Plan, changes: Changes, *, mixed: bool, quiet: bool) -> None:
        from harness.environments import Environments

        self.opened, self.plan, self.changes, self.quiet = opened, plan, changes, quiet
        self.known = changes.remaining
        self.environments = Environments(self.known, mixed=mixed)

    @contextlib.contextmanager
    def _executor(self, folder: Path) -> Iterator[Evaluator]:
        from harness import execute
        from harness import session as sessions
        from harness.errors import DataError, ResultsError

        self.environments.check_installed()
        executor = execute.make(self.plan, folder=folder, environment=_recorded_environment(self.known))
        try:
            yield executor
        except DataError as error:
            sessions.forget_data(self.plan.suite, self.plan.root)
            raise DataError(f"{error}; the same command looks at the data again") from error
        except EOFError as error:
            raise ResultsError(
                "the process that workers are forked from ended at its start, for a reason shown above; "
                "--executor serial does without it"
            ) from error
        finally:
            executor.close()

    def compute(self) -> tuple[Walk, float]:
        """Do the missing runs; returns everything that is known then, and the seconds it took.

        Whatever refuses the plan does so before anything in the folder is changed.
        """
        import time

        from harness import plan as plans
        from harness import progress
        from harness import session as sessions
        from harness.coordinator import Coordinator
        from harness.errors import ResultsError

        plan, store = self.plan, self.opened.store
        prices = plans.prices(plan)
        store.require_space(self.known.counts(plan)["missing"])
        store.require_writable()
        with self._executor(store.folder) as executor:
            counts = self.changes.make(quiet=self.quiet).counts(plan)
            expected = expected_seconds(plan, prices, counts)
            found = f"{counts['planned'] - counts['missing']} of {counts['planned']} runs done"
            say(f"{found}, {counts['missing']} to do, about {progress.duration(expected)}", quiet=self.quiet)
            begun = time.monotonic()
            with progress.shown(plan, expected_seconds=expected, quiet=self.quiet) as add:
                walk = Coordinator(
                    plan, store, executor=executor, notify=add, check=self.environments.check, say=say
                ).run()
        if not (store.folder / sessions.PLAN).exists():
            raise ResultsError(f"{store.folder} was removed while its runs were done; the same command starts again")
        return walk, time.monotonic() - begun

    def recheck(self, walk: Walk, number: int) -> bool:
        """Repeat so many finished runs; False where one gave another result, or none."""
        from harness import recheck as rechecks
        from harness.cli.output import clean
        from harness.train import checkpoints

        store, entries = self.opened.store, rechecks.drawn(walk, number)
        say(f"repeating {len(entries)} finished runs", quiet=self.quiet)
        folder = store.folder / "recheck"
        checkpoints.drop(folder / "checkpoints")  # from the first step, whatever an interrupted check has left
        with self._executor(folder) as executor:
            repeated = rechecks.repeat(self.plan, store, entries, executor, check=self.environments.check)
        checkpoints.drop(folder / "checkpoints")
        different = rechecks.different(entries, repeated)
        for record in different:
            kept = store.keep_repetition(record)
            name = record["id"][:12]
            say(f"nondeterminism detected: run {name} gave another result; both are kept, the new one in {kept}")
        unfinished = [r for r in repeated if r["result"]["status"] not in rechecks.DETERMINED]
        for record in unfinished:
            say(clean(f"run {record['id'][:12]} could not be repeated: {record['result']['reason']}"))
        equal = len(entries) - len(different) - len(unfinished)
        say(f"{equal} of {len(entries)} repeated runs gave equal results")
        return not different and not unfinished


def _recorded_environment(walk: Walk) -> dict[str, Any] | None:
    """What the recorded runs' numbers depend on besides their specs; None unless it is one and the same for all."""
    records = [entry.record for entry in (*walk.sources, *walk.entries) if entry.record]
    found = {json.dumps(record["environment"], sort_keys=True) for record in records}
    found.discard("{}")  # of a run that ended without a word
    return dict(json.loads(found.pop())) if len(found) == 1 else None


def expected_seconds(plan: Plan, prices: dict[tuple[str, str], Price], counts: dict[str, int]) -> float:
    """What the missing runs take on this machine with the plan's workers."""
    from harness import execute

    execution = plan.suite.execution
    workers = 1 if execution.executor == "serial" else execution.workers or execute.cores()
    total = sum(row.seconds or 0.0 for row in (*plan.source_rows(prices), *plan.rows(prices)))
    return total * counts["missing"] / counts["planned"] / min(workers, execute.cores())
