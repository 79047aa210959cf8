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
from typing import Any

from harness import fitting, sizes
from harness.diagnostics import MistakesError
from harness.plan import ask
from harness.plan.ask import data_question, prices, source_question
from harness.plan.facts import DataFacts, Price
from harness.plan.runs import ALWAYS_MEASURED, Label, Request, Row, SettingName, apply, common, run_seconds
from harness.plan.sources import SourceRuns
from harness.published import Found
from harness.registry.catalog import Catalog, Origin, PartInfo
from harness.spec import RunSpec, run_seeds, seed
from harness.suite import Setting, Suite

__all__ = [
    "ALWAYS_MEASURED",
    "DataFacts",
    "Label",
    "Plan",
    "Price",
    "Request",
    "Row",
    "SettingName",
    "apply",
    "data_question",
    "make",
    "prices",
    "source_question",
]


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

    def floor(self, problem: str, metric: PartInfo) -> float | None:
        """What a failed run of the problem counts as in a metric; None where it cannot be counted."""
        declared, classes = metric.extra["floor"], self.facts[problem].classes
        if declared == "chance":
            return None if classes is None else 1 / classes
        return None if declared is None else float(declared)

    @cached_property
    def _equal(self) -> dict[tuple[str, str], tuple[Mapping[str, Origin], Mapping[str, Any]]]:
        """By problem and arm, where the parts come from, and what of the spec is equal in all runs of the pair."""
        found: dict[tuple[str, str], tuple[Mapping[str, Origin], Mapping[str, Any]]] = {}
        for setting in self.suite.settings:
            metrics = self.metrics(setting.problem)
            origins = {**setting.origins, **{f"metric:{metric.name}": metric.origin for metric in metrics}}
            found[setting.problem, setting.arm] = (origins, common(origins, metrics, self.suite.execution.threads))
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
        source = self._source_runs.of(setting, label.replicate)
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
        share = payload["problem"].pop("validation_within", None)  # of which final runs know nothing
        if share is not None and not final:
            payload["within"] = {"share": share, "turn": label.repeat}
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

    @cached_property
    def _source_runs(self) -> SourceRuns:
        return SourceRuns(self.suite, self.catalog, self.source_facts)

    def sources(self) -> dict[str, Request]:
        """Every source run of the plan by its id: one for each model and checkpoint."""
        return self._source_runs.requests

    @property
    def source_ids(self) -> frozenset[str]:
        """Ids of all source runs of the plan."""
        return self._source_runs.ids

    def source_rows(self, prices: Mapping[tuple[str, str], Price] | None = None) -> list[Row]:
        """The runs of [source] by model, with their cost."""
        return self._source_runs.rows(prices or {})

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

    def validation(self, label: Label) -> str:
        """Which examples the labelled run validates on: `beside` those of all runs, `within` its own labels, `none`."""
        if label.phase == "source":
            return "none"
        if "validation_within" not in self.settings[label.problem, label.arm].values:
            return "beside"
        return "within" if label.phase == "tune" else "none"

    @property
    def given(self) -> SettingName:
        """What the compared final runs are called: `tuned`, or `given` in a suite without tuning."""
        return "tuned" if self.suite.tuning.trials else "given"

    def rows(self, prices: Mapping[tuple[str, str], Price] | None = None) -> list[Row]:
        """Runs by problem and arm, with their cost."""
        known = prices or {}
        return [self._row(setting, known.get((setting.problem, setting.arm))) for setting in self.suite.settings]

    def _row(self, setting: Setting, price: Price | None) -> Row:
        tuning, compare = self.suite.tuning, self.suite.compare
        studies = 1 if compare.claim == "setting" else compare.replicates
        tune = studies * tuning.trials * tuning.repeats
        untuned = compare.replicates if tuning.trials and compare.untuned else 0
        cost, facts = None, self.facts[setting.problem]
        if price is not None and price.known:
            pool, test = self.pool(setting.problem), self.tested(setting.problem)
            validated = [sizes.validated(setting.values, facts, compare.folds, tunes=tunes) for tunes in (True, False)]
            cost = tune * run_seconds(setting.values, facts, price, pool=pool, validation=validated[0], test=0)
            final = run_seconds(setting.values, facts, price, pool=pool, validation=validated[1], test=test)
            cost += (compare.replicates + untuned) * final
        return Row(setting.problem, setting.arm, tune, compare.replicates, untuned, cost)


def make(suite: Suite, catalog: Catalog, *, root: Path) -> Plan:
    """The suite's plan, with the data sets looked at (in a child process, once for each version of the data).

    Raises:
        DataError: a data set cannot be had.
        PluginError: a data set breaks the contract.
        MistakesError: more examples are asked for than there are, or a metric has no meaning for a problem.
    """
    plan = Plan(suite, catalog, root, ask.data_facts(suite, root), ask.source_facts(suite, root))
    plan = replace(plan, published=ask.published_weights(plan))
    if mistakes := list(dict.fromkeys([*sizes.mistakes(plan), *fitting.mistakes(plan)])):
        raise MistakesError(mistakes, str(suite.path))
    return plan
