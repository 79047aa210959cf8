"""What changed since the records were made: found and refused first, and made of the folder when runs are about to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.cli.output import say

if TYPE_CHECKING:
    from harness.coordinator import Entry, Walk
    from harness.going_on import Outside
    from harness.session import Session


@dataclass(frozen=True)
class Changes:
    """What is to be put away, said and kept before a command goes on; nothing is written until `make`."""

    opened: Session
    walk: Walk
    """All that is recorded."""
    failed: Mapping[str, Entry]
    """Failed runs that shall be done again, by id."""
    stale: Sequence[Outside]
    """Records of other data, or of another training version, whose runs shall be done again."""
    fallen: Sequence[Outside]
    """Other records that fell out of the plan."""
    kept: Mapping[str, Any] | None
    """The plan of the command before."""
    another_plan: bool

    @classmethod
    def find(cls, opened: Session, walk: Walk, rerun: str | None) -> Changes:
        """What changed since `walk` was recorded.

        Raises:
            ResultsError: data or training changed under the records, and `rerun` is not "changed".
        """
        from harness import going_on
        from harness import session as sessions
        from harness.errors import ResultsError

        plan, store = opened.plan, opened.store
        recorded = [entry for entry in (*walk.sources, *walk.entries) if entry.record is not None]
        failed = {entry.run_id: entry for entry in recorded if rerun == "failed" and entry.failed}
        kept = sessions.kept_plan(store.folder)
        another = going_on.changed(kept, plan)
        found = going_on.outside(plan, store, walk) if another else []
        stale = [one for one in found if one.cause in ("data", "training")]
        if stale and rerun != "changed":
            raise ResultsError(going_on.refusal(found, store))
        return cls(opened, walk, failed, stale, [one for one in found if one not in stale], kept, another)

    @property
    def remaining(self) -> Walk:
        """What counts as recorded afterwards; what waited for a failed run may be among it."""
        entries, sources = (
            [entry for entry in some if entry.run_id not in self.failed]
            for some in (self.walk.entries, self.walk.sources)
        )
        return replace(self.walk, entries=entries, sources=sources)

    @property
    def missing(self) -> bool:
        """Whether runs are to be done afterwards."""
        return bool(self.failed or self.walk.counts(self.opened.plan)["missing"])

    def make(self, *, quiet: bool) -> Walk:
        """Put away, say and keep it all; gives what counts as recorded then."""
        from harness import going_on
        from harness import session as sessions

        store, walk = self.opened.store, self.walk
        for run_id, entry in self.failed.items():
            store.put_away(run_id, f"--rerun failed: {entry.result['status']}: {entry.result['reason']}")
        if self.failed:
            said = f"{len(self.failed)} failed runs moved to {store.folder / 'quarantine'}; they are done again"
            say(said, quiet=quiet)
            walk = sessions.walk_records(self.opened)
        if not self.another_plan:
            return walk
        for one in self.stale:
            store.put_away(one.record["id"], f"--rerun changed: {one.cause} changed: {dict(one.differs)}")
        if self.stale:
            say(f"{len(self.stale)} runs moved to {store.folder / 'quarantine'}; they are done again", quiet=quiet)
        for notice in going_on.notices(self.fallen, self.kept, self.opened.plan):
            say(f"notice: {notice}", quiet=quiet)
        sessions.write_inputs(self.opened, outside=len(self.fallen))
        return walk
