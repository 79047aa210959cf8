"""Drive all studies of a plan: replay what is recorded, have done what is missing, keep every record as it comes.

Each (problem, arm, replicate) is a coroutine that yields the runs it wants next and is sent their results. Replaying
and running are the same walk; without an executor it stops where records are missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness import checkpoints, tune
from harness.errors import DataError
from harness.execute import Evaluator, Job, Outcome
from harness.memo import Memo
from harness.plan import Label, Plan, Request
from harness.store import Record, Store, make_record

NO_SETTING: Mapping[str, Any] = {
    "status": "error",
    "reason": "no setting: every trial of its study failed",
    "evaluations": [],
}
SKIPPED: Mapping[str, Any] = {
    "status": "pruned",
    "reason": "a repeat of a trial that was pruned after earlier ones",
    "evaluations": [],
}


@dataclass(frozen=True)
class Entry:
    """A place in the plan with what became of it; `record` is None for a run that could not be specified."""

    label: Label
    run_id: str
    record: Record | None
    hyperparameters: Mapping[str, Any]

    @property
    def result(self) -> Mapping[str, Any]:
        """The record's result, or why there is none."""
        if self.record is None:
            return SKIPPED if self.label.phase == "tune" else NO_SETTING
        result: Mapping[str, Any] = self.record["result"]
        return result


@dataclass
class Walk:
    """All that is known of a plan after a walk."""

    entries: list[Entry] = field(default_factory=list)
    studies: list[tune.Study] = field(default_factory=list)
    computed: int = 0
    """Runs that this walk had done, as against those that were recorded before."""

    def sort(self, plan: Plan) -> None:
        """Put entries and studies into the plan's order, which no number of workers changes."""
        place = {key: index for index, key in enumerate(plan.settings)}
        self.entries.sort(key=lambda e: (place[e.label.problem, e.label.arm], *e.label.sort_key))
        self.studies.sort(key=lambda s: (place[s.problem, s.arm], s.replicate))

    def counts(self, plan: Plan) -> dict[str, int]:
        """planned = ok + pruned + failed + missing."""
        planned = sum(row.runs for row in plan.rows())
        statuses = [entry.result["status"] for entry in self.entries]
        ok, pruned = statuses.count("ok"), statuses.count("pruned")
        failed = len(statuses) - ok - pruned
        return {"planned": planned, "ok": ok, "pruned": pruned, "failed": failed, "missing": planned - len(statuses)}


Notify = Callable[[Entry, bool], None]
"""Told of every entry, and whether its run was done just now."""
Check = Callable[[Mapping[str, Any]], None]
"""Told of the environment of every run before it is recorded; may refuse it."""
_Coroutine = Generator[list[Request], list[Mapping[str, Any]], None]


class _Pursuit:
    """One coroutine together with the results that it waits for."""

    def __init__(self, coroutine: _Coroutine) -> None:
        self.coroutine = coroutine
        self.wanted: list[Request] = []
        self.results: dict[str, Mapping[str, Any]] = {}

    def advance(self) -> bool:
        """Send the results and get the next requests; False when there are none."""
        try:
            if self.wanted:
                self.wanted = self.coroutine.send([self.results[r.spec.id] for r in self.wanted])
            else:
                self.wanted = next(self.coroutine)
        except StopIteration:
            return False
        self.results = {}
        return True


class Coordinator:
    """Walks a plan once."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        executor: Evaluator | None = None,
        notify: Notify | None = None,
        check: Check | None = None,
        keep_asked: bool = False,
    ) -> None:
        self.plan, self.store, self.executor = plan, store, executor
        self.keep_asked = keep_asked or executor is not None
        """Whether what is asked is kept in the results folder; only who may write there does."""
        self.notify = notify or (lambda entry, fresh: None)
        self.check = check or (lambda environment: None)
        self.walk = Walk()
        self._queue: deque[Request] = deque()
        self._waiting: dict[str, list[_Pursuit]] = {}
        self._requests: dict[str, Request] = {}
        self._under_way = 0

    def run(self) -> Walk:
        """Walk to the end, or to where records are missing when there is no executor."""
        for coroutine in self._coroutines():
            self._advance(_Pursuit(coroutine))
        while self.executor is not None and (self._queue or self._under_way):
            while self._queue and self._under_way < self.executor.slots:
                self.executor.submit(Job.of(self._queue.popleft(), self.plan))
                self._under_way += 1
            for outcome in self.executor.wait(0.1):
                self._under_way -= 1
                self._keep(outcome)
        self.walk.sort(self.plan)
        return self.walk

    def _coroutines(self) -> Iterator[_Coroutine]:
        """Untuned runs come last: they wait for nothing, so they fill the gaps that studies leave at the end."""
        replicates = range(self.plan.suite.compare.replicates)
        one_study = self.plan.suite.compare.claim == "setting"
        for replicate in (0,) if one_study else replicates:
            for problem, arm in self.plan.settings:
                final_of = list(replicates) if one_study else [replicate]
                yield self._compared(problem, arm, replicate, final_of)
        if self.plan.suite.tuning.trials and self.plan.suite.compare.untuned:
            for replicate in replicates:
                for problem, arm in self.plan.settings:
                    yield self._final([Label(problem, arm, replicate, "final", "untuned")], {})

    def _compared(self, problem: str, arm: str, replicate: int, final_of: list[int]) -> _Coroutine:
        """A study, and the final runs of the setting that it chose."""
        labels = [Label(problem, arm, r, "final", self.plan.given) for r in final_of]
        if not self.plan.suite.tuning.trials:
            yield from self._final(labels, {})
            return
        place = Label(problem, arm, replicate, "tune", "tuned")
        memo = Memo.of(self.store.folder, tune.study_key(self.plan, place), keep=self.keep_asked)
        study = yield from tune.tune(self.plan, place, memo)
        self.walk.studies.append(study)
        for trial in study.trials:
            for repeat in range(len(trial.run_ids), self.plan.suite.tuning.repeats):
                skipped = replace(place, trial=trial.number, repeat=repeat)
                self._note(Entry(skipped, "", None, trial.hyperparameters), fresh=False)
        if study.best is not None:
            yield from self._final(labels, study.best.hyperparameters)
            return
        for label in labels:
            self._note(Entry(label, "", None, {}), fresh=False)

    def _final(self, labels: list[Label], hyperparameters: Mapping[str, Any]) -> _Coroutine:
        yield [self.plan.request(label, hyperparameters) for label in labels]

    def _advance(self, pursuit: _Pursuit) -> None:
        """Go on with a coroutine until it wants something that is not recorded."""
        while pursuit.advance():
            missing = []
            for request in pursuit.wanted:
                record = self.store.read(request.spec.id, spec=request.spec.payload)
                if record is None:
                    missing.append(request)
                else:
                    self._arrive(pursuit, request, record, fresh=False)
            if missing:
                self._want(pursuit, missing)
                return

    def _want(self, pursuit: _Pursuit, missing: list[Request]) -> None:
        for request in missing:
            waiting = self._waiting.setdefault(request.spec.id, [])
            if not waiting:
                self._queue.append(request)
            if pursuit not in waiting:
                waiting.append(pursuit)

    def _arrive(self, pursuit: _Pursuit, request: Request, record: Record, *, fresh: bool) -> None:
        pursuit.results[request.spec.id] = record["result"]
        self._note(Entry(request.label, request.spec.id, record, _chosen(request, self.plan)), fresh=fresh)

    def _note(self, entry: Entry, *, fresh: bool) -> None:
        self.walk.entries.append(entry)
        self.notify(entry, fresh)

    def _keep(self, outcome: Outcome) -> None:
        """Record an outcome and go on with the coroutines that waited for it."""
        pursuits = self._waiting.pop(outcome.id)
        if outcome.result["status"] == "data_changed":
            raise DataError(str(outcome.result["reason"]))
        self.check(outcome.environment)
        request = next(r for p in pursuits for r in p.wanted if r.spec.id == outcome.id)
        record = make_record(
            request.spec.payload, outcome.result, environment=outcome.environment, observed=outcome.observed
        )
        self.store.write(record)
        checkpoints.drop(self.store.folder / "checkpoints" / outcome.id)
        self.walk.computed += 1
        for pursuit in pursuits:
            for request in pursuit.wanted:
                if request.spec.id == outcome.id:
                    self._arrive(pursuit, request, record, fresh=True)
            if len(pursuit.results) == len({r.spec.id for r in pursuit.wanted}):
                self._advance(pursuit)


def _chosen(request: Request, plan: Plan) -> dict[str, Any]:
    """The values that the run has for what its arm searches, by dotted name."""
    problem = request.spec.payload["problem"]
    chosen = {}
    for name in plan.settings[request.label.problem, request.label.arm].space:
        part, _, option = name.rpartition(".")
        chosen[name] = (problem[part] if part else problem)[option]
    return chosen
