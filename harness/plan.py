"""Every run that a suite asks for, known and priced before anything runs.

Which hyperparameters a trial gets is decided while tuning (`tune`), but how many runs there are, of what, from which
seeds, is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness import fitting, pruning, published, registry, sizes
from harness.diagnostics import MistakesError
from harness.hookspecs import Task
from harness.published import Found
from harness.registry import child
from harness.registry.catalog import Catalog, Origin, PartInfo
from harness.spec import SCHEMA, TRAINING, PhaseName, RunSpec, digest, run_seeds, seed
from harness.suite import Setting, Suite
from harness.suite.origin import Origins

SettingName = Literal["tuned", "untuned", "given", "source"]
ALWAYS_MEASURED = ("loss", "accuracy")
"""Metrics that every record holds beside the suite's own, where they exist and the task has them."""
_RUN_OVERHEAD_SECONDS = 0.3


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set without holding it in memory."""

    train: int
    test: int
    input_shape: tuple[int, ...]
    classes: int | None
    class_names: tuple[str, ...]
    fingerprints: Mapping[str, str]
    """SHA-256 of the training and of the test split."""
    class_counts: tuple[int, ...] | None = None
    """Training examples by class; None for a regression, and where nobody reads the whole split."""
    outputs: int = 0
    """Of a network: the number of classes, or of values of a regression."""

    @property
    def task(self) -> Task:
        """Of labels, or of values."""
        return "regression" if self.classes is None else "classification"


@dataclass(frozen=True)
class Price:
    """Measured cost of one setting on this machine: seconds a step and seconds an evaluated example."""

    step_seconds: float | None
    example_seconds: float | None
    parameters: int

    @property
    def known(self) -> bool:
        """False where the setting failed in its first steps."""
        return self.step_seconds is not None and self.example_seconds is not None


@dataclass(frozen=True)
class Label:
    """The place of a run in the plan."""

    problem: str
    arm: str
    replicate: int
    phase: PhaseName
    setting: SettingName
    trial: int | None = None
    repeat: int = 0

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Tuning before final runs, then by setting, replicate, trial and repeat."""
        trial = -1 if self.trial is None else self.trial
        return (self.phase == "final", self.setting, self.replicate, trial, self.repeat)


@dataclass(frozen=True)
class Request:
    """A run that is wanted: its place and its spec, with the modules that its parts come from."""

    label: Label
    spec: RunSpec
    origins: Mapping[str, Origin]
    source: Request | None = None
    """The run whose weights it starts from."""


@dataclass(frozen=True)
class Row:
    """One line of `harness plan`."""

    problem: str
    arm: str
    tune: int
    final: int
    untuned: int
    seconds: float | None
    """Of one worker; None where the setting could not be priced."""

    @property
    def runs(self) -> int:
        """All of them."""
        return self.tune + self.final + self.untuned


@dataclass(frozen=True)
class Plan:
    """A suite together with what is known of its data and its costs."""

    suite: Suite
    catalog: Catalog
    root: Path
    facts: Mapping[str, DataFacts]
    """By problem."""
    source_facts: DataFacts | None = None
    """Of the data set of [source]."""
    published: Mapping[tuple[str, str], Found] = field(default_factory=dict)
    """Published weights that networks start from, by problem and arm."""

    @cached_property
    def settings(self) -> dict[tuple[str, str], Setting]:
        """By problem and arm."""
        return {(setting.problem, setting.arm): setting for setting in self.suite.settings}

    def metrics(self, problem: str) -> list[PartInfo]:
        """The metrics that runs of the problem record; the suite's own first."""
        return self._metrics[problem]

    @cached_property
    def _metrics(self) -> dict[str, list[PartInfo]]:
        return {problem: self._metrics_of(problem) for problem in self.facts}

    def _metrics_of(self, problem: str) -> list[PartInfo]:
        names = set(self.catalog.names("metric"))
        claimed = [claim.metric for claim in self.suite.claims if claim.problem == problem]
        found: dict[str, PartInfo] = {}
        for metric in (self.suite.metric, *self.suite.also, *claimed):
            found.setdefault(metric.name, metric)
        watched = [name for setting in self.suite.settings if setting.problem == problem for name in setting.watched]
        for name in (*(name for name in ALWAYS_MEASURED if name in names), *watched):
            if name not in found:
                metric = self.catalog.find("metric", name)
                if name in watched or self.suits(problem, metric):
                    found[name] = metric
        return list(found.values())

    def suits(self, problem: str, part: PartInfo) -> bool:
        """Whether a loss or metric has a meaning for the problem's task, as far as it says."""
        return part.extra.get("task") in (None, self.facts[problem].task)

    @cached_property
    def _equal(self) -> dict[tuple[str, str], tuple[Mapping[str, Origin], Mapping[str, Any]]]:
        """By problem and arm, where the parts come from, and what of the spec is equal in all runs of the pair."""
        found: dict[tuple[str, str], tuple[Mapping[str, Origin], Mapping[str, Any]]] = {}
        for setting in self.suite.settings:
            metrics = self.metrics(setting.problem)
            origins = {**setting.origins, **{f"metric:{metric.name}": metric.origin for metric in metrics}}
            payload = {
                "schema": SCHEMA,
                "training": TRAINING,
                "parts": {kind: _identity(origin) for kind, origin in sorted(origins.items())},
                "metrics": {metric.name: dict(metric.options) for metric in metrics},
                "threads": self.suite.execution.threads,
            }
            found[setting.problem, setting.arm] = (origins, payload)
        return found

    def pool(self, problem: str) -> int:
        """Examples that a run may train or validate on: the training split, in folds without the largest one."""
        there, folds = self.facts[problem].train, self.suite.compare.folds
        return there if folds is None else there - math.ceil(there / folds)

    def tested(self, problem: str) -> int:
        """Examples that a final run is tested on; in folds that of the smallest one."""
        folds = self.suite.compare.folds
        return self.facts[problem].test if folds is None else self.facts[problem].train // folds

    def request(
        self, label: Label, hyperparameters: Mapping[str, Any] = {}, *, prune: Mapping[str, Any] | None = None
    ) -> Request:
        """The run at that place of the plan with those hyperparameters (dotted names).

        `prune` says when it is stopped early (`pruning.payload`); a run that nothing can stop has no such key.
        """
        setting = self.settings[label.problem, label.arm]
        origins, equal = self._equal[label.problem, label.arm]
        facts = self.facts[label.problem]
        final, folds = label.phase == "final", self.suite.compare.folds
        source = self.source_request(label)
        seen = ("train", "test") if final and folds is None else ("train",)
        payload: dict[str, Any] = {
            **equal,
            "phase": label.phase,
            "problem": apply(setting.values, hyperparameters),
            "data": {split: facts.fingerprints[split] for split in seen},
            "seeds": run_seeds(
                suite=self.suite.seed,
                dataset=str(setting.values["dataset"]["use"]),  # type: ignore[index,call-overload]
                replicate=label.replicate,
                phase=label.phase,
                repeat=label.repeat,
            ),
        }
        if final or "early_stopping" in setting.values:
            payload["select"] = self._select(setting)
        if folds is not None:
            partition = seed(self.suite.seed, str(setting.values["dataset"]["use"]), "folds")  # type: ignore[index,call-overload]
            payload["fold"] = {"of": folds, "index": label.replicate, "seed": partition}
        if subset := self._subset(setting, label):
            payload["subset"] = subset
        if prune is not None:
            payload["prune"] = dict(prune)
        if setting.source is not None:
            payload["source"] = self._start(label, source)
        return Request(label, RunSpec(payload), origins, source)

    def _subset(self, setting: Setting, label: Label) -> dict[str, int] | None:
        """The block of each class that labels are cut from: the first for final runs, one for each repeat of a trial.

        None where there is nothing to hold apart.
        """
        tuning = self.suite.tuning
        if setting.values.get("labels_per_class") in (None, "all") or not tuning.trials:
            return None
        return {"of": tuning.repeats + 1, "block": 0 if label.phase == "final" else label.repeat + 1}

    def _start(self, label: Label, source: Request | None) -> dict[str, str]:
        """What the labelled run's network is before it trains."""
        if source is not None:
            return {"run": source.spec.id}
        found = self.published.get((label.problem, label.arm))
        return {"start": "random"} if found is None else {"weights": found.name, "sha256": found.sha256}

    def starts_at_random(self, setting: Setting) -> bool:
        """Whether the setting's strategy trains a new network whatever [source] offers."""
        strategy = self.catalog.find("strategy", str(setting.values["strategy"]["use"]))  # type: ignore[index,call-overload]
        return strategy.extra.get("start") == "random"

    def source_request(self, label: Label) -> Request | None:
        """The run whose weights the labelled one starts from; None for one that starts at random.

        Nothing of the problem is in it but the model: arms, budgets, and suites of the same seed share it.
        """
        setting = self.settings[label.problem, label.arm]
        if setting.source is None or self.source_facts is None or self.starts_at_random(setting):
            return None
        assert self.suite.source is not None
        key = (digest(setting.source.values), label.replicate % self.suite.source.replicates)
        if key not in self._sources:
            self._sources[key] = self._make_source(setting.source, key[1])
        return self._sources[key]

    @cached_property
    def _sources(self) -> dict[tuple[str, int], Request]:
        return {}

    def sources(self) -> dict[str, Request]:
        """Every source run of the plan by its id: one for each model and checkpoint."""
        found = {}
        for problem, arm in self.settings:
            for replicate in range(self.suite.source.replicates if self.suite.source else 0):
                request = self.source_request(Label(problem, arm, replicate, "final", self.given))
                if request is not None:
                    found[request.spec.id] = request
        return found

    @cached_property
    def source_ids(self) -> frozenset[str]:
        """Ids of all source runs of the plan."""
        return frozenset(self.sources())

    def _make_source(self, source: Origins, checkpoint: int) -> Request:
        assert self.source_facts is not None
        dataset, model = source.values["dataset"], source.values["model"]
        always = [self.catalog.find("metric", name) for name in ALWAYS_MEASURED if name in self.catalog.names("metric")]
        metrics = [metric for metric in always if metric.extra.get("task") in (None, self.source_facts.task)]
        origins = {**source.origins, **{f"metric:{metric.name}": metric.origin for metric in metrics}}
        payload = {
            "schema": SCHEMA,
            "training": TRAINING,
            "parts": {kind: _identity(origin) for kind, origin in sorted(origins.items())},
            "metrics": {metric.name: dict(metric.options) for metric in metrics},
            "threads": self.suite.execution.threads,
            "phase": "source",
            "problem": source.values,
            "data": dict(self.source_facts.fingerprints),
            "seeds": run_seeds(
                suite=self.suite.seed,
                dataset=str(dataset["use"]),  # type: ignore[index,call-overload]
                replicate=checkpoint,
                phase="source",
                repeat=0,
            ),
        }
        label = Label("source", str(model["use"]), checkpoint, "source", "source")  # type: ignore[index,call-overload]
        return Request(label, RunSpec(payload), origins)

    @property
    def runs(self) -> int:
        """All runs that the suite asks for, those of [source] included."""
        return sum(row.runs for row in self.rows()) + len(self.sources())

    def _select(self, setting: Setting) -> dict[str, Any]:
        """By what the weights are chosen that a run ends with: early stopping has a metric of its own."""
        metric, rule, stopping = self.suite.metric, self.suite.compare.epoch, setting.values.get("early_stopping")
        if isinstance(stopping, dict):
            watched = {one.name: one for one in self.metrics(setting.problem)}
            metric, rule = watched[str(stopping["metric"])], "best_validation"
        return {"metric": metric.name, "direction": metric.extra["direction"], "rule": rule}

    def epoch_rule(self, problem: str, arm: str) -> str:
        """How runs choose the epoch whose weights they end with: `best_validation`, `last` or `early_stopping`."""
        stops = "early_stopping" in self.settings[problem, arm].values
        return "early_stopping" if stops else self.suite.compare.epoch

    @property
    def given(self) -> SettingName:
        """What the compared final runs are called: `tuned`, or `given` in a suite without tuning."""
        return "tuned" if self.suite.tuning.trials else "given"

    def rows(self, prices: Mapping[tuple[str, str], Price] | None = None) -> list[Row]:
        """Runs by problem and arm, with their cost."""
        known = prices or {}
        return [self._row(setting, known.get((setting.problem, setting.arm))) for setting in self.suite.settings]

    def source_rows(self, prices: Mapping[tuple[str, str], Price] | None = None) -> list[Row]:
        """The runs of [source] by model, with their cost."""
        found: dict[tuple[str, str], list[Request]] = {}
        for request in self.sources().values():
            found.setdefault((request.label.problem, request.label.arm), []).append(request)
        rows = []
        for (problem, arm), requests in found.items():
            price, facts, seconds = (prices or {}).get((problem, arm)), self.source_facts, None
            if price is not None and price.known and facts is not None:
                values = requests[0].spec.payload["problem"]
                one = _run_seconds(values, facts, price, pool=facts.train, test=facts.test)
                seconds = len(requests) * one
            rows.append(Row(problem, arm, 0, len(requests), 0, seconds))
        return rows

    def _row(self, setting: Setting, price: Price | None) -> Row:
        tuning, compare = self.suite.tuning, self.suite.compare
        studies = 1 if compare.claim == "setting" else compare.replicates
        tune = studies * tuning.trials * tuning.repeats
        untuned = compare.replicates if tuning.trials and compare.untuned else 0
        seconds = None
        if price is not None and price.known:
            facts = self.facts[setting.problem]
            final = _run_seconds(
                setting.values, facts, price, pool=self.pool(setting.problem), test=self.tested(setting.problem)
            )
            seconds = tune * _run_seconds(setting.values, facts, price, pool=self.pool(setting.problem), test=0)
            seconds += (compare.replicates + untuned) * final
        return Row(setting.problem, setting.arm, tune, compare.replicates, untuned, seconds)


def _identity(origin: Origin) -> dict[str, str]:
    return {"distribution": origin.distribution, "version": origin.version, "sha256": origin.sha256}


def apply(values: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The setting's values with hyperparameters put in; a dot reaches into a part. Parts without any are shared."""
    made = dict(values)
    for name, value in hyperparameters.items():
        part, _, option = name.rpartition(".")
        if part:
            made[part] = {**made[part], option: value}
        else:
            made[option] = value
    return made


def _run_seconds(values: Mapping[str, Any], facts: DataFacts, price: Price, *, pool: int, test: int) -> float:
    steps = values["steps"]
    if values["epochs"] is not None:
        steps = math.ceil(sizes.used(values, facts, pool) / values["batch_size"]) * values["epochs"]
    evaluated = pruning.evaluations(values) * values["validation_examples"] + test
    training = steps * (price.step_seconds or 0.0)
    return float(_RUN_OVERHEAD_SECONDS + training + evaluated * (price.example_seconds or 0.0))


def make(suite: Suite, catalog: Catalog, *, root: Path) -> Plan:
    """The suite's plan, with the data sets looked at (in a child process, once for each version of the data).

    Raises:
        DataError: a data set cannot be had.
        PluginError: a data set breaks the contract.
        MistakesError: more examples are asked for than there are, or a metric has no meaning for a problem.
    """
    questions: dict[str, dict[str, Any]] = {}
    for setting in suite.settings:
        questions.setdefault(setting.problem, data_question(setting, root))
    answers = registry.ask_cached(list(questions.values()))
    facts = {}
    for (problem, question), answered in zip(questions.items(), answers, strict=True):
        if isinstance(answered, child.Failed):
            name = f"dataset '{question['dataset']['use']}'"
            named = answered.reason.startswith(name)
            registry.raise_failure(answered, str(suite.path) if named else f"{suite.path}: {name}")
        facts[problem] = _facts(answered)
    plan = Plan(suite, catalog, root, facts, _source_facts(suite, root))
    plan = replace(plan, published=_published(plan))
    if mistakes := list(dict.fromkeys([*sizes.mistakes(plan), *fitting.mistakes(plan)])):
        raise MistakesError(mistakes, str(suite.path))
    return plan


def _source_facts(suite: Suite, root: Path) -> DataFacts | None:
    """What is known of the data set of [source]; None where there is none."""
    source = next((setting.source for setting in suite.settings if setting.source is not None), None)
    if source is None or "dataset" not in source.values:
        return None
    question = source_question(source, root)
    (answered,) = registry.ask_cached([question])
    if isinstance(answered, child.Failed):
        registry.raise_failure(answered, f"{suite.path}: [source] dataset '{question['dataset']['use']}'")
    return _facts(answered)


def _published(plan: Plan) -> dict[tuple[str, str], Found]:
    """The published weights of each setting that starts from them, found and held against model and data."""
    suite, found = plan.suite, {}
    for setting in suite.settings:
        if setting.source is None or suite.source is None or suite.source.weights is None:
            continue
        if not plan.starts_at_random(setting):
            part, options = _part(plan.catalog, "model", setting.source.values["model"])
            shape = plan.facts[setting.problem].input_shape
            found[setting.problem, setting.arm] = published.ask(
                part, suite.source.weights, input_shape=shape, options=options, root=plan.root
            )
    return found


def _part(catalog: Catalog, kind: str, value: Any) -> tuple[PartInfo, dict[str, Any]]:
    """The part that a setting names, and its options."""
    return catalog.find(kind, str(value["use"])), {name: option for name, option in value.items() if name != "use"}


def _facts(plain: Mapping[str, Any]) -> DataFacts:
    return DataFacts(
        **{
            **plain,
            "input_shape": tuple(plain["input_shape"]),
            "class_names": tuple(plain["class_names"]),
            "class_counts": None if plain["class_counts"] is None else tuple(plain["class_counts"]),
        }
    )


def data_question(setting: Setting, root: Path) -> dict[str, Any]:
    """The question whose answer is the setting's `DataFacts`."""
    return _data_question(setting.values["dataset"], setting.origins["dataset"], root)


def source_question(source: Origins, root: Path) -> dict[str, Any]:
    """The question whose answer is the `DataFacts` of what networks are trained on first."""
    return _data_question(source.values["dataset"], source.origins["dataset"], root)


def _data_question(dataset: Any, origin: Origin, root: Path) -> dict[str, Any]:
    return {"ask": "data", "dataset": dataset, "origin": origin.__dict__, "root": str(root)}


def prices(plan: Plan) -> dict[tuple[str, str], Price]:
    """What a step and an evaluation cost for each setting, measured once in a child process and then kept.

    Equal settings under several names are measured once.

    Raises:
        PluginError: a model cannot be built on the data, or a part fails on the first step.
    """
    questions = {(s.problem, s.arm): _price_question(plan, s) for s in plan.suite.settings}
    questions |= {(r.label.problem, r.label.arm): _question(plan, r) for r in plan.sources().values()}
    distinct = {digest(question): question for question in questions.values()}
    answers = dict(zip(distinct, registry.ask_cached(list(distinct.values())), strict=True))
    found = {}
    for key, question in questions.items():
        answered = answers[digest(question)]
        if isinstance(answered, child.Failed) and answered.kind == "died":
            answered = {"step_seconds": None, "example_seconds": None, "parameters": 0}
        if isinstance(answered, child.Failed):
            registry.raise_failure(answered, f"{plan.suite.path}: problem '{key[0]}', arm '{key[1]}' cannot be built")
        found[key] = Price(**answered)
    return found


def _price_question(plan: Plan, setting: Setting) -> dict[str, Any]:
    request = plan.request(Label(setting.problem, setting.arm, 0, "tune", plan.given))
    question = _question(plan, request)
    if (found := plan.published.get((setting.problem, setting.arm))) is not None:
        return {**question, "source": found.to_plain()}
    if request.source is None or plan.source_facts is None:
        return question
    facts = plan.source_facts
    model = request.source.spec.payload["problem"]["model"]
    outputs = {"input_shape": list(facts.input_shape), "outputs": facts.outputs, "model": model}
    return {**question, "payload": {**question["payload"], "source": {"start": "source"}}, "source": outputs}


def _question(plan: Plan, request: Request) -> dict[str, Any]:
    return {
        "ask": "price",
        "payload": {**request.spec.payload, "phase": "tune", "seeds": {}},
        "origins": {kind: origin.__dict__ for kind, origin in request.origins.items()},
        "root": str(plan.root),
        "device": plan.suite.execution.device,
    }
