"""A pure function in place of training: the one place where tests of faults change harness.

Parts, data and prices are those of `tests.small`; runs are evaluated by `evaluate`, in this process for suites with
`executor = "serial"`, else by the real process executor whose server imports `tests.faults.stubs` before anything else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

ENVIRONMENT = {"torch": metadata.version("torch"), "device": "cpu", "capability": "pure", "threads": 1}
SECONDS = "HARNESS_PURE_SECONDS"
"""Environment variable: how long a run takes."""
TORCH = "HARNESS_PURE_TORCH"
"""Environment variable: the version of torch that runs tell; by default the one that is installed."""
DATA = "HARNESS_PURE_DATA"
"""Environment variable: one hexadecimal digit, of which the training split's fingerprint is made."""
SOURCE = "HARNESS_PURE_SOURCE"
"""Environment variable: the same of the source of the part `adam`."""
FAIL = "HARNESS_PURE_FAIL"
"""Environment variable: the optimizer whose runs fail."""
CLOCK = "HARNESS_PURE_CLOCK"
"""Environment variable: set where results shall depend on the clock."""
FREE = "HARNESS_PURE_FREE"
"""Environment variable: bytes that are free on the disk."""


def evaluate(payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any], dict[str, Any]]:
    """Result, environment and observations of a run."""
    time.sleep(float(os.environ.get(SECONDS, "0")))
    result = _result(payload)
    if payload["problem"]["optimizer"]["use"] == os.environ.get(FAIL):
        result = {"status": "error", "reason": "RuntimeError: no such luck", "evaluations": []}
    if CLOCK in os.environ:
        result = {**result, "weights_hash": str(time.perf_counter_ns())}
    environment = {**ENVIRONMENT, "torch": os.environ.get(TORCH, ENVIRONMENT["torch"])}
    return result, environment, {"attempt": 1, "host": "here", "total_seconds": 0.0}


def _result(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A result as training gives it, with scores that are hashes of the payload."""
    from harness.spec import digest

    splits = [("train", 120), ("validation", 80)] + [("test", 100)] * (payload["phase"] == "final")
    scores = {split: int(digest([payload, split])[:12], 16) / 16**12 for split, _ in splits}
    rows = [[1.0, 4, 120, s, m, abs((m == "loss") - scores[s]), n] for s, n in splits for m in ("accuracy", "loss")]
    return {
        "status": "ok", "reason": None, "epochs": 1.0, "steps": 4, "examples": 120, "selected_epoch": 1.0,
        "evaluations": rows, "parameters": 58, "trainable_parameters": 58,
        "init_hash": digest([payload["seeds"]["init"]]), "weights_hash": digest([payload]),
    }  # fmt: skip


class Serial:
    """Two runs at a time, which are done when they are waited for."""

    slots = 2

    def __init__(self) -> None:
        self._queue: list[Any] = []

    def submit(self, job: Any) -> None:
        self._queue.append(job)

    def wait(self, seconds: float) -> list[Any]:
        from harness.execute import Outcome

        if not self._queue:
            return []
        job = self._queue.pop(0)
        return [Outcome(job.id, *evaluate(job.payload))]

    def close(self) -> None:
        self._queue.clear()


def install(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Put it all into harness; `put` sets an attribute (that of pytest's `monkeypatch` takes it back later)."""
    from harness import execute, plan, registry, report, session, store
    from tests.small import CATALOG

    def make(found: Any, *, folder: Path, environment: Any = None) -> Any:
        if found.suite.execution.executor == "serial":
            return Serial()
        return execute.in_processes(execute.Settings.of(found, folder=folder, environment=environment))

    put(execute, "make", make)
    put(registry, "load_catalog", lambda folders=(): _with_source(CATALOG))
    put(session, "make", lambda suite, catalog, root: plan.Plan(suite, catalog, root, _facts(suite)))
    put(plan, "prices", lambda found: {(s.problem, s.arm): plan.Price(1e-3, 0.0, 58) for s in found.suite.settings})
    put(report, "write", _write_report)
    free = store._free
    put(store, "_free", lambda folder: int(os.environ[FREE]) if FREE in os.environ else free(folder))
    _preload_stubs(put)


def _with_source(catalog: Any) -> Any:
    import dataclasses

    digit = os.environ.get(SOURCE)
    if digit is None:
        return catalog
    parts = [
        dataclasses.replace(part, origin=dataclasses.replace(part.origin, sha256=digit * 64, file="adam.py"))
        if part.name == "adam"
        else part
        for part in catalog.parts
    ]
    return dataclasses.replace(catalog, parts=tuple(parts))


def _facts(suite: Any) -> dict[str, Any]:
    import dataclasses

    from tests.small import FACTS

    prints = {**FACTS.fingerprints, "train": os.environ.get(DATA, "1") * 64}
    return dict.fromkeys(suite.problems, dataclasses.replace(FACTS, fingerprints=prints))


def _write_report(found: Any, folder: Path) -> None:
    """The headline and the remarks alone, by the same writer: drawing figures takes seconds."""
    from harness.store import write_atomically

    lines = [found.headline, *(f"{one.code}: {one.message}" for one in found.remarks)]
    write_atomically(folder / "report" / "report.html", "\n".join(lines).encode(), durable=False)


def _preload_stubs(put: Callable[[Any, str, Any], None]) -> None:
    from multiprocessing import context

    real = context.ForkServerContext.set_forkserver_preload

    def set_forkserver_preload(self: Any, modules: list[str]) -> None:
        real(self, ["tests.faults.stubs", *modules])

    put(context.ForkServerContext, "set_forkserver_preload", set_forkserver_preload)


def write_suite(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """`suite.toml` of 8 runs; changes as dotted keys."""
    from tests.conftest import SUITE, changed, to_toml

    small = {"tuning.trials": 1, "compare.replicates": 2, "compare.untuned": False}
    (folder / "suite.toml").write_text(to_toml(changed(SUITE, {**small, **(changes or {})})))
