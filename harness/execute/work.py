"""What a worker does: load parts and data, train, and turn every way to fail into a result with a reason."""

from __future__ import annotations

import re
import socket
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from harness.errors import DataError, HarnessError, ResultsError
from harness.execute import LOOK, Job, Outcome
from harness.hookspecs import NotApplicable, Splits
from harness.outcomes import DATA_CHANGED, UNWRITABLE, failure
from harness.published import DamagedWeights
from harness.registry.catalog import Origin
from harness.registry.place import where
from harness.spec import canonical
from harness.strategies import source
from harness.strategies.source import Source
from harness.strategies.weights import load_state
from harness.train import data, returned, snapshot, training
from harness.train import device as device_module
from harness.train.loop import Keep, NotRestored
from harness.train.network import Inapplicable
from harness.train.parts import Parts

_LONGEST = 500
"""Characters of a reason, before the line that it came from."""
_loaded: dict[str, tuple[Splits, dict[str, str]]] = {}


def dataset(options: Mapping[str, Any], origin: Origin, root: str) -> tuple[Splits, dict[str, str]]:
    """The data set and the fingerprints of its splits, loaded once in this process and in those forked from it."""
    key = canonical([options, origin.__dict__, root])
    if key not in _loaded:
        splits = data.load(options, origin, Path(root))
        _loaded[key] = splits, data.fingerprints(splits)
    return _loaded[key]


@dataclass(frozen=True)
class Means:
    """How a run is carried out, none of which changes its result."""

    loaders: int = 0
    """Processes that read a data set which is not in memory."""
    keep: Keep | None = None
    """Is offered states to go on from."""
    resume: Path | None = None
    """File of such a state."""


def evaluate(job: Job, means: Means = Means()) -> Outcome:
    """Do the run; whatever goes wrong in it is its result."""
    started = datetime.now(UTC)
    begun = time.perf_counter()
    threads = int(job.payload["threads"])
    device_module.make_deterministic(threads)
    device = device_module.choose_device(job.device)
    observed: dict[str, Any] = {}
    try:
        outcome = _train(job, device, means, observed)
        result, observed["timings"] = outcome["result"], outcome["timings"]
        if changed := _changed_settings(threads):
            result = failure("bad_output", f"a part changed {changed}")
    except Exception as error:
        result = _failure_of(error)
        observed["traceback"] = traceback.format_exc()
    except SystemExit as error:
        result = failure("error", f"SystemExit: {error.code}")
        observed["traceback"] = traceback.format_exc()
    observed |= {
        "started": started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "total_seconds": time.perf_counter() - begun,
        "host": socket.gethostname(),
    }
    return Outcome(job.id, result, device_module.environment(device, threads), observed)


def _train(job: Job, device: torch.device, means: Means, observed: dict[str, Any]) -> dict[str, Any]:
    if job.payload["phase"] == LOOK:
        return _look(job)
    origins = job.parsed_origins()
    splits = _dataset(job.payload, origins, job.root)
    parts = Parts.load(job.payload, origins)
    how: dict[str, Any] = {"device": device, "loaders": means.loaders, "keep": means.keep}
    how |= {
        "source": _source(job, device, splits, parts),
        "weights": None if job.weights is None else Path(job.weights),
    }

    def run(state: Mapping[str, Any] | None) -> dict[str, Any]:
        return training.run(job.payload, parts, splits, resume=state, **how)

    if means.resume is not None:
        try:
            outcome = run(snapshot.load(means.resume))
            observed["resumed_after_step"] = int(means.resume.stem)
            return outcome
        except NotRestored as error:
            observed["not_resumed"] = str(error)
    return run(None)


def _dataset(payload: Mapping[str, Any], origins: Mapping[str, Origin], root: str) -> Splits:
    """The data set of a run, which must be what it was when the run was planned."""
    splits, fingerprints = dataset(payload["problem"]["dataset"], origins["dataset"], root)
    for split, expected in payload["data"].items():
        if fingerprints[split] != expected:
            name, found = payload["problem"]["dataset"]["use"], fingerprints[split]
            raise DataError(f"the {split} split of '{name}' changed: it was {expected[:12]}, it is {found[:12]}")
    return splits


def _source(job: Job, device: torch.device, target: Splits, parts: Parts) -> Source | None:
    """What the run starts from; examples of the source are only for final runs, which measure forgetting."""
    if "source" not in job.payload:
        return None
    if job.source is None:
        return Source({}, 0)
    if "weights" in job.source:
        shape = tuple(data.example(target.train)[0].shape[1:])
        return source.published(parts.model, shape, job.payload["problem"]["model"], job.source)
    state = load_state(Path(job.source["path"]), job.source["sha256"])
    payload = job.source["payload"]
    origins = {kind: Origin(**origin) for kind, origin in job.source["origins"].items()}
    splits = _dataset(payload, origins, job.root)
    shown = job.payload["phase"] == "final"
    train_examples, test = (
        source.examples(splits, seed=payload["seeds"]["split"], device=device) if shown else (None, None)
    )
    return Source(state, data.outputs(splits), train_examples, test, job.source["id"], job.source["sha256"])


def _look(job: Job) -> dict[str, Any]:
    """Nothing is trained: the fingerprints of the data sets that the job names, as they are loaded here."""
    found = [dataset(one["options"], Origin(**one["origin"]), one["root"])[1] for one in job.payload["datasets"]]
    return {"result": {"status": "ok", "reason": None, "evaluations": [], "fingerprints": found}, "timings": {}}


def _changed_settings(threads: int) -> str | None:
    if torch.get_num_threads() != threads:
        return f"threads {threads} -> {torch.get_num_threads()}"
    if torch.get_default_dtype() != torch.float32:
        return f"the default dtype to {torch.get_default_dtype()}"
    if not torch.are_deterministic_algorithms_enabled():
        return "the setting for deterministic algorithms"
    return None


def _failure_of(error: Exception) -> dict[str, Any]:
    if isinstance(error, DamagedWeights):
        return failure("crashed", f"source_failed: {error}")
    if isinstance(error, DataError):
        return failure(DATA_CHANGED, str(error))
    if isinstance(error, ResultsError):
        return failure(UNWRITABLE, str(error))
    if isinstance(error, returned.BadOutput):
        return failure("bad_output", str(error))
    if isinstance(error, Inapplicable):
        return failure("not_applicable", str(error))
    if isinstance(error, NotApplicable):
        return failure("error", str(error))
    if isinstance(error, HarnessError):
        return failure("error", str(error)[:_LONGEST])
    line = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return failure("oom", line)
    return failure("error", re.sub(r"0x[0-9a-fA-F]+", "0x...", line)[:_LONGEST] + where(error))
