"""Repeat finished runs: the same spec must give the same result, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.execute import Evaluator, Job
from harness.outcomes import check_recordable
from harness.plan import Plan
from harness.spec import canonical, digest
from harness.store import Record, Store, make_record

if TYPE_CHECKING:
    from harness.coordinator import Entry, Walk

DETERMINED = ("ok", "pruned", "diverged", "error", "bad_output")
"""What a run becomes by itself; the rest depends on the machine and proves nothing."""


def drawn(walk: Walk, number: int) -> list[Entry]:
    """So many finished runs, drawn by their ids: always the same ones of the same records."""
    entries = {e.run_id: e for e in walk.entries if e.record is not None and e.result["status"] in DETERMINED}
    return [entries[run_id] for run_id in sorted(entries, key=lambda run_id: digest(["recheck", run_id]))[:number]]


def repeat(
    plan: Plan,
    store: Store,
    entries: Sequence[Entry],
    executor: Evaluator,
    *,
    check: Callable[[Mapping[str, Any]], None],
) -> list[Record]:
    """What the runs give when they are done again, as records; `check` is told of each environment.

    The store is where their records, and the weights that they start from, lie.

    Raises:
        DataError: the data changed.
    """
    todo, under_way, made = list(reversed(entries)), 0, []
    payloads = {entry.run_id: entry.record["spec"] for entry in entries if entry.record is not None}
    while todo or under_way:
        while todo and under_way < executor.slots:
            executor.submit(_job(plan, store, todo.pop()))
            under_way += 1
        for outcome in executor.wait(0.1):
            under_way -= 1
            check_recordable(outcome.result)
            check(outcome.environment)
            facts = {"environment": outcome.environment, "observed": outcome.observed}
            made.append(make_record(payloads[outcome.id], outcome.result, **facts))
    return made


def _job(plan: Plan, store: Store, entry: Entry) -> Job:
    request = plan.request(entry.label, entry.hyperparameters)
    assert entry.record is not None
    return replace(Job.of(request, plan, store), id=entry.run_id, payload=entry.record["spec"])


def different(entries: Sequence[Entry], repeated: Sequence[Record]) -> list[Record]:
    """The repetitions that came to an end by themselves, with another result than the recorded one."""
    recorded = {entry.run_id: entry.result for entry in entries}
    ended = [record for record in repeated if record["result"]["status"] in DETERMINED]
    return [record for record in ended if not _equal(record["result"], recorded[record["id"]])]


def _equal(again: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """To the last bit; an earlier harness kept no details of the test set."""
    known = again.keys() if "details" in recorded else again.keys() - {"details"}
    return canonical({name: again[name] for name in known}) == canonical(recorded)
