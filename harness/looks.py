"""With how many replicates verdicts were read. Replicates that are added after one make the next more often false.

Looking after each replicate from 3 to 10 calls 16.7 % of equal arms different, in place of 5 %. So a suite says how
often it looks (`[compare] looks`), and the results folder remembers how often it did: `looks.json`, which only grows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import going_on
from harness.plan import Plan
from harness.spec import digest
from harness.store import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from harness.verdict.lint import Remark

NAME = "looks.json"
Look = Mapping[str, Any]
"""`replicates` and `checkpoints` that were planned, and `compared`: what had an interval then, as digests."""


def read(folder: Path) -> list[Look]:
    """All looks, the first one first; none where nothing is kept that can be read."""
    try:
        kept = json.loads((folder / NAME).read_text())["looks"]
        return [
            {**_planned(look["replicates"], look["checkpoints"]), "compared": list(look["compared"])} for look in kept
        ]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def note(folder: Path, plan: Plan, comparisons: pd.DataFrame) -> None:
    """Add that these comparisons are read now, with as many replicates as are planned; nothing where that is known."""
    looks, now = read(folder), _now(plan)
    known = {key for look in looks if _same(look, now) for key in look["compared"]}
    new = sorted(set(_compared(plan, comparisons)) - known)
    if new:
        text = json.dumps({"looks": [*looks, {**now, "compared": new}]}, indent=1, sort_keys=True)
        write_atomically(folder / NAME, f"{text}\n".encode())


def remarks(folder: Path, plan: Plan, comparisons: pd.DataFrame) -> list[Remark]:
    """H012: a declared comparison was read with more numbers of replicates than the suite says."""
    from harness.verdict.format import count, listed
    from harness.verdict.lint import Remark

    now, allowed = _now(plan), plan.suite.compare.looks
    looked: list[tuple[str, ...]] = []
    for key in _compared(plan, comparisons):
        before = [look for look in read(folder) if key in look["compared"]]
        looked.append(tuple(dict.fromkeys(_words(look) for look in (*before, now))))
    over = [numbers for numbers in looked if len(numbers) > allowed]
    if not over:
        return []
    most = max(over, key=len)
    message = (
        f"replicates were added after a verdict: {count(len(over), 'comparison')} read with {listed(most)} replicates, "
        f"and looks = {allowed}"
    )
    remedy = f"set compare.looks to {len(most)}, which widens the intervals, or judge anew with another seed"
    return [Remark("H012", "W", message, remedy)]


def _compared(plan: Plan, comparisons: pd.DataFrame) -> list[str]:
    """Digests of what the declared comparisons with an interval compare, whatever the number of replicates."""
    suite, rows = plan.suite, comparisons[comparisons["primary"].astype(bool) & comparisons["lo"].notna()]
    asked = [suite.seed, suite.compare.claim, suite.metric.name, dict(suite.metric.options), asdict(suite.tuning)]
    return [
        digest(
            [*asked, *(going_on.described_setting(plan, str(row.problem), str(arm)) for arm in (row.arm, row.baseline))]
        )
        for row in rows.itertuples()
    ]


def _now(plan: Plan) -> dict[str, Any]:
    source = plan.suite.source
    return _planned(plan.suite.compare.replicates, None if source is None else source.replicates)


def _planned(replicates: int, checkpoints: int | None) -> dict[str, Any]:
    return {"replicates": int(replicates), "checkpoints": None if checkpoints is None else int(checkpoints)}


def _same(one: Look, other: Look) -> bool:
    return all(one[name] == other[name] for name in ("replicates", "checkpoints"))


def _words(look: Look) -> str:
    """`5`, or `6 (of 3 checkpoints)` where these are shared."""
    replicates, checkpoints = look["replicates"], look["checkpoints"]
    return f"{replicates}" if checkpoints in (None, replicates) else f"{replicates} (of {checkpoints} checkpoints)"
