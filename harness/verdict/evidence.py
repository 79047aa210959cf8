"""What the rules of the report's lint look at, and what they say."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

from harness.outcomes import NOT_APPLICABLE
from harness.verdict.format import Measure
from harness.verdict.judgement import Verdict

if TYPE_CHECKING:
    from harness.suite import Suite


@dataclass(frozen=True)
class Remark:
    """One finding: its code, `W` (warning) or `N` (note), what is the matter, and the way out."""

    code: str
    level: Literal["W", "N"]
    message: str
    remedy: str


@dataclass(frozen=True)
class Evidence:
    """What the rules look at."""

    suite: Suite
    tables: Mapping[str, pd.DataFrame]
    """Read are runs, evaluations, studies, trial_parameters, timings and classes; a missing one is read as empty."""
    finals: pd.DataFrame
    verdicts: Sequence[Verdict]
    metric: Measure
    plugin_hashes: Mapping[str, Collection[str]]
    """Source hashes with which each part was run, by `kind name`."""

    @property
    def primary(self) -> list[Verdict]:
        """The verdicts that the suite declared."""
        return [verdict for verdict in self.verdicts if verdict.primary]

    @property
    def setting(self) -> str:
        """The setting that is judged."""
        return "tuned" if self.suite.tuning.trials else "given"

    def senseless(self, verdict: Verdict) -> bool:
        """Whether one of the two arms has no meaning on the problem, so that nothing is to be compared."""
        rows = self.finals[(self.finals["problem"] == verdict.problem) & (self.finals["setting"] == verdict.setting)]
        return bool((rows["arm"].isin([verdict.arm, verdict.baseline]) & (rows["status"] == NOT_APPLICABLE)).any())

    def table(self, name: str) -> pd.DataFrame | None:
        """A table, or None where it has no rows."""
        frame = self.tables.get(name)
        return None if frame is None or frame.empty else frame

    def classes(self, problem: str) -> int | None:
        """How many classes the problem has; None of a regression, or where nothing is recorded yet."""
        rows = self.table("classes")
        found = 0 if rows is None else rows.loc[rows["problem"] == problem, "class"].nunique()
        return int(found) or None
