"""What the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from harness.hookspecs import Plain
    from harness.sizes import Shared
    from harness.suite import Suite
    from harness.verdict.lint import Remark

COUNTS = ("planned", "ok", "pruned", "failed", "missing")


@dataclass(frozen=True)
class Findings:
    """Everything a report says: the suite, its tables, its verdicts and where they come from."""

    suite: Suite
    headline: str
    """The answer in one sentence: the first line of every report."""
    tables: Mapping[str, pd.DataFrame]
    """By name, `summary` and `comparisons` included; a table that is absent leaves its section empty."""
    finals: pd.DataFrame
    """One row per final run (problem, arm, setting, replicate), compare metric on the test split."""
    remarks: tuple[Remark, ...]
    counts: Mapping[str, int]
    """Runs by what became of them: `planned` = `ok` + `pruned` + `failed` + `missing`, and `not_applicable` where there
    is such a run."""
    environment: Mapping[str, Plain]
    parts: list[tuple[str, str, str, str]]
    """Kind, name, distribution with version, and the first 12 digits of the source's SHA-256."""
    command: str
    """What a reader types to get the same results."""
    details: Mapping[tuple[str, str, int], Mapping[str, Any]] = field(default_factory=dict)
    """What final runs of the main setting kept of the test set (`harness.details`), by problem, arm and replicate."""
    shared: Sequence[Shared] = ()
    """Label budgets that are larger than a block, so that trials see labels of the final runs."""

    def __post_init__(self) -> None:
        missing = [name for name in COUNTS if name not in self.counts]
        if missing:
            raise ValueError(f"Findings: counts needs {', '.join(COUNTS)}; missing {', '.join(missing)}")
        total = sum(self.counts[name] for name in COUNTS[1:]) + self.counts.get("not_applicable", 0)
        if total != self.counts["planned"]:
            raise ValueError(f"Findings: planned must be ok + pruned + failed + missing, got {dict(self.counts)}")
