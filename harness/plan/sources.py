"""Source runs: one for each model and checkpoint, from which the runs of all arms and problems start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from harness.plan.facts import DataFacts, Price
from harness.plan.runs import ALWAYS_MEASURED, Label, Request, Row, common, run_seconds
from harness.registry.catalog import Catalog
from harness.spec import RunSpec, digest, run_seeds
from harness.suite import Setting, Suite
from harness.suite.origin import Origins


class SourceRuns:
    """The source runs of a suite; none where [source] trains nothing.

    Nothing of a problem is in them but the model: arms, budgets, and suites of the same seed share them.
    """

    def __init__(self, suite: Suite, catalog: Catalog, facts: DataFacts | None) -> None:
        self.suite, self.catalog, self.facts = suite, catalog, facts
        self._made: dict[tuple[str, int], Request] = {}

    def of(self, setting: Setting, replicate: int) -> Request | None:
        """The run whose weights a replicate of the setting starts from; None for one that starts at random."""
        if setting.source is None or self.facts is None or starts_at_random(self.catalog, setting):
            return None
        assert self.suite.source is not None
        key = (digest(setting.source.values), replicate % self.suite.source.replicates)
        if key not in self._made:
            self._made[key] = self._make(setting.source, self.facts, key[1])
        return self._made[key]

    @cached_property
    def requests(self) -> dict[str, Request]:
        """Every one by its id."""
        replicates = range(self.suite.source.replicates if self.suite.source else 0)
        found = [self.of(setting, replicate) for setting in self.suite.settings for replicate in replicates]
        return {request.spec.id: request for request in found if request is not None}

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of all of them."""
        return frozenset(self.requests)

    def rows(self, prices: Mapping[tuple[str, str], Price]) -> list[Row]:
        """Runs by model, with their cost."""
        found: dict[tuple[str, str], list[Request]] = {}
        for request in self.requests.values():
            found.setdefault((request.label.problem, request.label.arm), []).append(request)
        return [self._row(requests, prices.get(place)) for place, requests in found.items()]

    def _row(self, requests: list[Request], price: Price | None) -> Row:
        first, facts, cost = requests[0], self.facts, None
        if price is not None and price.known and facts is not None:
            one = run_seconds(
                first.spec.payload["problem"], facts, price, pool=facts.train, validation=0, test=facts.test
            )
            cost = len(requests) * one
        return Row(first.label.problem, first.label.arm, 0, len(requests), 0, cost)

    def _make(self, source: Origins, facts: DataFacts, checkpoint: int) -> Request:
        dataset, model = _used(source.values["dataset"]), _used(source.values["model"])
        always = [self.catalog.find("metric", name) for name in ALWAYS_MEASURED if name in self.catalog.names("metric")]
        metrics = [metric for metric in always if metric.extra.get("task") in (None, facts.task)]
        origins = {**source.origins, **{f"metric:{metric.name}": metric.origin for metric in metrics}}
        payload = {
            **common(origins, metrics, self.suite.execution.threads),
            "phase": "source",
            "problem": source.values,
            "data": dict(facts.fingerprints),
            "seeds": run_seeds(suite=self.suite.seed, dataset=dataset, replicate=checkpoint, phase="source", repeat=0),
        }
        return Request(Label("source", model, checkpoint, "source", "source"), RunSpec(payload), origins)


def starts_at_random(catalog: Catalog, setting: Setting) -> bool:
    """Whether the setting's strategy trains a new network whatever [source] offers."""
    return catalog.find("strategy", _used(setting.values["strategy"])).extra.get("start") == "random"


def _used(part: Any) -> str:
    """The name of a part."""
    return str(part["use"])
