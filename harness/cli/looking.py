"""`plan`, `check`, `status` and `report`: look at a suite and at what is done of it; nothing is run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import gates
from harness.cli.output import (
    RERUN_FAILED,
    clean,
    counts_text,
    download_option,
    json_option,
    options,
    print_json,
    seconds_text,
    suite_command,
    table,
)
from harness.cli.running import expected_seconds
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.coordinator import Entry
    from harness.plan import Label, Plan, Price, Row
    from harness.session import Session
    from harness.suite import Suite


BESIDES = "training and evaluation alone: the start of a process for each run and the report come on top"


@click.command()
@suite_command
@download_option
@json_option
def plan(suite: Path, as_json: bool, **given: Any) -> None:
    """Show how many runs SUITE asks for, of what, and how long they take, before anything runs.

    The first call looks at the data and times a few training steps of each arm; later calls are instant.
    """
    from harness import plan as plans
    from harness import session as sessions
    from harness import sizes
    from harness.progress import duration

    opened = sessions.open_session(suite, options(**given))
    found = opened.plan
    prices = plans.prices(found)
    counts = sessions.counts(opened)
    seconds = expected_seconds(found, prices, {**counts, "missing": counts["planned"]})
    left = expected_seconds(found, prices, counts)
    rows = [*found.source_rows(prices), *found.rows(prices)]
    if as_json:
        plain = [_plain_row(row, prices[row.problem, row.arm]) for row in rows]
        times = {"seconds": seconds, "seconds_left": left}
        shared = [one.__dict__ for one in sizes.shared(found)]
        print_json({**_of_suite(opened), "runs": plain, "counts": counts, **times, "shared_labels": shared})
        return
    click.echo(clean(f"{opened.suite.name}: {opened.suite.question}\n"))
    head = ("problem", "arm", "parameters", "tune", "final", "untuned", "runs", "one run")
    body = [_plan_row(row, prices[row.problem, row.arm]) for row in rows]
    click.echo(table(head, body))
    click.echo(f"\n{_plan_words(found)}")
    for line in (*_plan_notes(found), *_without_meaning(prices), *_untimed(rows, prices)):
        click.echo(clean(line))
    click.echo(
        f"{counts['planned']} runs, about {duration(seconds)}: {counts_text(counts)}; about {duration(left)} to go "
        f"({BESIDES})"
    )


def _plan_notes(plan: Plan) -> list[str]:
    """What is not equal between arms, how labels validate, and where trials see labels of the final runs."""
    from harness import sizes
    from harness.suite.checks import unmatched

    values = [setting.values for setting in plan.suite.settings]
    validation = sizes.validation_in_words(values, tunes=bool(plan.suite.tuning.trials))
    notes = [unmatched(plan.suite.stepless), validation, *map(str, sizes.shared(plan))]
    return [note for note in notes if note]


def _without_meaning(prices: Mapping[tuple[str, str], Price]) -> list[str]:
    """Each arm whose strategy has no meaning on the model of a problem, and why."""
    reasons = {key: price.not_applicable for key, price in prices.items() if price.not_applicable}
    return [f"on {problem}, {arm} is not applicable: {why}" for (problem, arm), why in reasons.items()]


def _untimed(rows: Sequence[Row], prices: Mapping[tuple[str, str], Price]) -> list[str]:
    """How many runs the times that follow say nothing of."""
    unknown = [row for row in rows if row.seconds is None and not prices[row.problem, row.arm].not_applicable]
    count = sum(row.runs for row in unknown)
    return [f"how long {count} of these runs take could not be measured: they count as 0 s here"] if count else []


def _of_suite(opened: Session) -> dict[str, Any]:
    return {"suite": opened.suite.name, "question": opened.suite.question, "results": str(opened.store.folder)}


def _plain_row(row: Row, price: Price) -> dict[str, Any]:
    """The row for a program; an arm without meaning on the model has its reason in place of parameters."""
    known: dict[str, Any] = {"parameters": price.parameters}
    if price.not_applicable:
        known = {"parameters": None, "not_applicable": price.not_applicable}
    return {**row.__dict__, "runs": row.runs, **known}


def _plan_row(row: Row, price: Price) -> tuple[Any, ...]:
    one = "unknown" if row.seconds is None else seconds_text(row.seconds / row.runs)
    if price.not_applicable:
        return (row.problem, row.arm, "", row.tune, row.final, row.untuned, row.runs, "not applicable")
    parameters = f"{price.parameters:,}" if price.parameters or price.known else ""
    return (row.problem, row.arm, parameters, row.tune, row.final, row.untuned, row.runs, one)


def _plan_words(plan: Plan) -> str:
    tuning, compare = plan.suite.tuning, plan.suite.compare
    repeats = f" of {tuning.repeats} runs" if tuning.repeats > 1 else ""
    pruner = "" if tuning.pruner == "none" else f" at most, less what the {tuning.pruner} pruner stops"
    studies = 1 if compare.claim == "setting" else compare.replicates
    tuned = (
        f"{studies} studies of {tuning.trials} {tuning.sampler} trials{repeats} for each arm{pruner}"
        if tuning.trials
        else "no tuning"
    )
    margin = "" if compare.margin is None else f", margin {compare.margin:g}"
    against = f" with {compare.baseline}" if len(plan.suite.arms) > 1 else ""
    looks = f"; levels are for {compare.looks} looks at the verdict" if compare.looks > 1 else ""
    return f"{tuned}; {compare.replicates} replicates compared in {compare.metric}{margin}{against}{looks}"


@click.command()
@suite_command
@json_option
def check(suite: Path, as_json: bool, **given: Any) -> None:
    """Check SUITE: every mistake at once, with line, column and what is allowed. Nothing is run or written.

    No data are read and nothing is built: what shows only then is refused by `plan` and `run`, before anything runs.
    """
    from harness import session as sessions

    try:
        found, _ = sessions.load_suite(suite, options(**given))
    except HarnessError as error:
        if not as_json:
            raise
        mistakes = getattr(error, "mistakes", ())
        print_json({"ok": False, "mistakes": [mistake.to_plain() for mistake in mistakes] or [{"message": str(error)}]})
        sys.exit(error.exit_code)
    if as_json:
        print_json({"ok": True, "problems": list(found.problems), "arms": list(found.arms), "mistakes": []})
        return
    click.echo(f"{suite} is valid: {len(found.problems)} problem(s), {len(found.arms)} arms ({', '.join(found.arms)})")
    click.echo("no data were read and no arm was built: 'harness plan' does both, and refuses what does not fit")


def _where(label: Label, suite: Suite) -> str:
    """Which run it is, in words that no other run of the suite has."""
    problem = f"{label.problem}, " if len(suite.problems) > 1 else ""
    repeat = f", repeat {label.repeat}" if suite.tuning.repeats > 1 else ""
    final = ", untuned" if label.setting == "untuned" else ""
    which = final if label.trial is None else f", trial {label.trial}{repeat}"
    return f"{problem}{label.arm}, replicate {label.replicate}{which}"


@click.command()
@suite_command
@download_option
@json_option
def status(suite: Path, as_json: bool, **given: Any) -> None:
    """Show what of SUITE is done, what failed and why, and what is missing; changes nothing."""
    from harness import session as sessions

    opened = existing(suite, given)
    walk = sessions.walk_records(opened)
    counts = walk.counts(opened.plan)
    entries = [*walk.sources, *walk.entries]
    failed = [e for e in entries if e.failed]
    prunes = opened.suite.tuning.pruner != "none"
    shown = ["ok", *(["pruned"] if prunes else []), *(["not_applicable"] if counts.get("not_applicable") else [])]
    head = ("problem", "arm", "planned", *shown, "failed", "missing")
    body = []
    for row in (*opened.plan.source_rows(), *opened.plan.rows()):
        mine = [e for e in entries if (e.label.problem, e.label.arm) == (row.problem, row.arm)]
        numbers = [[e.result["status"] for e in mine].count(status) for status in shown]
        body.append((row.problem, row.arm, row.runs, *numbers, len(mine) - sum(numbers), row.runs - len(mine)))
    if as_json:
        arms = [dict(zip(head, row, strict=True)) for row in body]
        rows = [{"run_id": e.run_id, **e.label.__dict__, **_why(e)} for e in failed]
        print_json(
            {**_of_suite(opened), "arms": arms, "counts": counts, "failed": rows, "damaged": opened.store.damaged}
        )
        return
    click.echo(table([name.replace("_", " ") for name in head], body))
    click.echo(f"\n{counts_text(counts)}")
    for entry in failed:
        where, result = _where(entry.label, opened.suite), entry.result
        click.echo(clean(f"failed: {where}: {result['status']}: {result['reason']}"))
    if failed:
        click.echo(RERUN_FAILED)
    for run_id, reason in opened.store.damaged.items():
        click.echo(clean(f"damaged record {run_id[:12]} counts as missing: {reason}"))


def _why(entry: Entry) -> dict[str, str]:
    return {"status": entry.result["status"], "reason": entry.result["reason"]}


@click.command()
@suite_command
@download_option
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="WORD",
    type=click.Choice(gates.WORDS),
    help="Exit with 3 unless it is so: 'clean', no warning; or the verdict of every declared comparison, or claim. "
    f"May be given several times: one of several verdicts is enough. Words: {', '.join(gates.WORDS)}.",
)
def report(suite: Path, required: tuple[str, ...], **given: Any) -> None:
    """Write tables and report of SUITE again from its records, finished or not; runs nothing."""
    from harness import outputs
    from harness import session as sessions

    opened = existing(suite, given)
    with opened.store.lock(opened.suite.name):
        found = outputs.write(opened, sessions.walk_records(opened))
    click.echo(found.headline)
    click.echo(f"report: {opened.store.folder / 'report' / 'report.html'}")
    if reason := gates.unmet(found, required):
        click.echo(clean(f"not met: {reason}"), err=True)
        sys.exit(gates.NOT_MET)


def existing(suite: Path, given: dict[str, Any]) -> Session:
    """The suite's session, refused where nothing was run yet."""
    from harness import session as sessions
    from harness.errors import ResultsError

    opened = sessions.open_session(suite, options(**given))
    if not (opened.store.folder / sessions.PLAN).exists():
        near = sessions.nearby_results(opened.store.folder)
        hint = f"; results lie in {', '.join(map(str, near))}" if near else f"; first: harness run {suite}"
        raise ResultsError(f"no {sessions.PLAN} in {opened.store.folder}{hint}")
    sessions.check_folder(opened)
    return opened
