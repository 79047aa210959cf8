"""Drive all studies of a plan: replay what is recorded, have done what is missing, keep every record as it comes.

Each (problem, arm, replicate) is a coroutine that yields the runs it wants next and is sent their results. Replaying
and running are the same walk; without an executor it stops where records are missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness import outcomes, tune
from harness.execute import Evaluator, Job, Outcome
from harness.plan import Label, Plan, Request
from harness.sources import Sources
from harness.store import Record, Store, make_record
from harness.train import checkpoints
from harness.tune.memo import Memo

NO_SETTING: Mapping[str, Any] = outcomes.failure("error", "no setting: every trial of its study failed")
SKIPPED: Mapping[str, Any] = outcomes.failure("pruned", "a repeat of a trial that was pruned after earlier ones")


@dataclass(frozen=True)
class Entry:
    """A place in the plan with what became of it; `record` is None for a run that could not be specified."""

    label: Label
    run_id: str
    record: Record | None
    hyperparameters: Mapping[str, Any]
    instead: Mapping[str, Any] | None = None
    """What stands for the result of a run that was not even specified."""

    @property
    def result(self) -> Mapping[str, Any]:
        """The record's result, or why there is none."""
        if self.instead is not None:
            return self.instead
        if self.record is None:
            return SKIPPED if self.label.phase == "tune" else NO_SETTING
        result: Mapping[str, Any] = self.record["result"]
        return result

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure."""
        return outcomes.failed(self.result["status"])


@dataclass
class Walk:
    """All that is known of a plan after a walk."""

    entries: list[Entry] = field(default_factory=list)
    studies: list[tune.Study] = field(default_factory=list)
    sources: list[Entry] = field(default_factory=list)
    """The runs of [source]."""
    computed: int = 0
    """Runs that this walk had done, as against those that were recorded before."""

    def sort(self, plan: Plan) -> None:
        """Put entries and studies into the plan's order, which no number of workers changes."""
        place = {key: index for index, key in enumerate(plan.settings)}
        self.entries.sort(key=lambda e: (place[e.label.problem, e.label.arm], *e.label.sort_key))
        self.studies.sort(key=lambda s: (place[s.problem, s.arm], s.replicate))
        self.sources.sort(key=lambda e: (e.label.arm, e.label.replicate))

    def counts(self, plan: Plan) -> dict[str, int]:
        """planned = ok + pruned + not_applicable + failed + missing; not_applicable only where there is such a run."""
        planned = plan.runs
        statuses = [entry.result["status"] for entry in (*self.sources, *self.entries)]
        ok, pruned, without = (statuses.count(status) for status in outcomes.FINE)
        failed = sum(map(outcomes.failed, statuses))
        found = {"planned": planned, "ok": ok, "pruned": pruned, "failed": failed, "missing": planned - len(statuses)}
        return {**found, **({"not_applicable": without} if without else {})}


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
        say: Callable[[str], None] | None = None,
        keep_asked: bool = False,
    ) -> None:
        self.plan, self.store, self.executor = plan, store, executor
        self.keep_asked = keep_asked or executor is not None
        """Whether what is asked is kept in the results folder; only who may write there does."""
        self.notify = notify or (lambda entry, fresh: None)
        self.check = check or (lambda environment: None)
        self.say = say or (lambda text: None)
        """Told in a line of weights that are damaged, whose run is done again."""
        self.walk = Walk()
        self._queue: deque[Request] = deque()
        self._waiting: dict[str, list[_Pursuit]] = {}
        self._sources = Sources(plan, store)
        self._held: dict[str, list[Request]] = {}
        """By id of a source run that is due: what starts from its weights."""
        self._fallen: deque[Outcome] = deque()
        """Outcomes of runs whose source failed."""
        self._under_way = 0

    def run(self) -> Walk:
        """Walk to the end, or to where records are missing when there is no executor."""
        self._look_at_sources()
        for coroutine in self._coroutines():
            self._advance(_Pursuit(coroutine))
        while self.executor is not None and (self._queue or self._under_way or self._fallen):
            while self._fallen:
                self._keep(self._fallen.popleft())
            while self._queue and self._under_way < self.executor.slots:
                self.executor.submit(Job.of(self._queue.popleft(), self.plan, self.store))
                self._under_way += 1
            for outcome in self.executor.wait(0.1):
                self._under_way -= 1
                self._keep(outcome)
        self.walk.sort(self.plan)
        return self.walk

    def _look_at_sources(self) -> None:
        """Note the source runs that are recorded, and have the others done before everything else."""
        for run_id, request in self._sources.requests.items():
            if self.executor is not None:
                self._sources.borrow(request)
            record = self._sources.record(request)
            if record is not None:
                self._note_source(request, record, fresh=False)
            elif self.executor is not None:
                self._held[run_id] = []
                self._queue.append(request)

    def _note_source(self, request: Request, record: Record, *, fresh: bool) -> None:
        entry = Entry(request.label, request.spec.id, record, {})
        self.walk.sources.append(entry)
        self.notify(entry, fresh)

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
        if study.not_applicable is not None:
            self._note_not_applicable(place, labels, study)
            return
        for trial in study.trials:
            for repeat in range(len(trial.run_ids), self.plan.suite.tuning.repeats):
                skipped = replace(place, trial=trial.number, repeat=repeat)
                self._note(Entry(skipped, "", None, trial.hyperparameters), fresh=False)
        if study.best is not None:
            yield from self._final(labels, study.best.hyperparameters)
            return
        reason = study.without_weights
        fallen = None if reason is None else outcomes.failure("crashed", reason)
        for label in labels:
            self._note(Entry(label, "", None, {}, fallen), fresh=False)

    def _note_not_applicable(self, place: Label, labels: list[Label], study: tune.Study) -> None:
        """Every run that is left of a setting which its strategy has no meaning for."""
        result = outcomes.failure(outcomes.NOT_APPLICABLE, str(study.not_applicable))
        done = {
            (e.label.trial, e.label.repeat)
            for e in self.walk.entries
            if replace(e.label, trial=None, repeat=0) == place
        }
        tuning = self.plan.suite.tuning
        places = [(trial, repeat) for trial in range(tuning.trials) for repeat in range(tuning.repeats)]
        left = [replace(place, trial=trial, repeat=repeat) for trial, repeat in places if (trial, repeat) not in done]
        for label in (*left, *labels):
            self._note(Entry(label, "", None, {}, result), fresh=False)

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
                self._enqueue(request)
            if pursuit not in waiting:
                waiting.append(pursuit)

    def _enqueue(self, request: Request) -> None:
        """Queue a run behind the one whose weights it starts from."""
        source = request.source
        if self.executor is None or source is None:
            self._queue.append(request)
        elif source.spec.id in self._held:
            self._held[source.spec.id].append(request)
        elif (reason := self._sources.failure(source)) is not None:
            self._fallen.append(Outcome(request.spec.id, outcomes.failure("crashed", reason), {}))
        elif self._sources.ready(source):
            self._queue.append(request)
        else:
            self.say(self._sources.put_away(source))
            self.walk.sources = [entry for entry in self.walk.sources if entry.run_id != source.spec.id]
            self._held[source.spec.id] = [request]
            self._queue.appendleft(source)

    def _arrive(self, pursuit: _Pursuit, request: Request, record: Record, *, fresh: bool) -> None:
        pursuit.results[request.spec.id] = record["result"]
        self._note(Entry(request.label, request.spec.id, record, _chosen(request, self.plan)), fresh=fresh)

    def _note(self, entry: Entry, *, fresh: bool) -> None:
        self.walk.entries.append(entry)
        self.notify(entry, fresh)

    def _keep(self, outcome: Outcome) -> None:
        """Record an outcome and go on with the coroutines that waited for it.

        Raises:
            DataError: the data changed.
            ResultsError: the weights of a source run cannot be written.
        """
        outcomes.check_recordable(outcome.result)
        self.check(outcome.environment)
        if outcome.id in self._held:
            self._keep_source(outcome)
            return
        pursuits = self._waiting.pop(outcome.id)
        request = next(r for p in pursuits for r in p.wanted if r.spec.id == outcome.id)
        record = self._write(request, outcome)
        for pursuit in pursuits:
            for request in pursuit.wanted:
                if request.spec.id == outcome.id:
                    self._arrive(pursuit, request, record, fresh=True)
            if len(pursuit.results) == len({r.spec.id for r in pursuit.wanted}):
                self._advance(pursuit)

    def _keep_source(self, outcome: Outcome) -> None:
        """Record a source run, and queue what waited for its weights.

        Raises:
            ResultsError: the weights that it wrote lie elsewhere.
        """
        request = self._sources.requests[outcome.id]
        self._note_source(request, self._write(request, outcome), fresh=True)
        self._sources.check(request)
        for waiting in self._held.pop(outcome.id):
            self._enqueue(waiting)

    def _write(self, request: Request, outcome: Outcome) -> Record:
        record = make_record(
            request.spec.payload, outcome.result, environment=outcome.environment, observed=outcome.observed
        )
        self.store.write(record)
        checkpoints.drop(self.store.folder / "checkpoints" / outcome.id)
        self.walk.computed += 1
        return record


def _chosen(request: Request, plan: Plan) -> dict[str, Any]:
    """The values that the run has for what its arm searches, by dotted name."""
    problem = request.spec.payload["problem"]
    chosen = {}
    for name in plan.settings[request.label.problem, request.label.arm].space:
        part, _, option = name.rpartition(".")
        chosen[name] = (problem[part] if part else problem)[option]
    return chosen
