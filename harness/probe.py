"""Answers about data and costs, given by the child process of `harness.registry.describe`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness import published, registry
from harness.errors import HarnessError, PluginError
from harness.hookspecs import Schedule, Splits, Strategy
from harness.registry.catalog import Origin
from harness.spec import STREAMS
from harness.strategies import weights as weights_module
from harness.strategies.source import Source
from harness.strategies.source import published as published_source
from harness.train import data as data_module
from harness.train import device as device_module
from harness.train import training
from harness.train.feed import Budget
from harness.train.network import Inapplicable
from harness.train.parts import Parts
from harness.train.parts import options as options_of

_STEPS, _WARM_UP = 30, 3
_SECONDS = 1.5
_LONGEST = 50_000
"""Steps after which a schedule is no longer watched."""
_EVALUATED = 2000
_OF_BUDGET = ("early_stopping", "labels_per_class", "fold", "subset", "within")
"""What a spec and its problem say of the budget, and a short run does without."""
_FITTED = 500
_seen: dict[str, Splits] = {}


def _load(options: Mapping[str, Any], origin: Mapping[str, Any], root: str) -> Splits:
    key = repr((options, origin, root))
    if key not in _seen:
        _seen[key] = data_module.load(options, Origin(**origin), Path(root))
    return _seen[key]


def data(question: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes, shape, classes and fingerprints of a data set, as `plan.DataFacts`."""
    splits = _load(question["dataset"], question["origin"], question["root"])
    return {
        "train": data_module.size(splits.train),
        "test": data_module.size(splits.test),
        "input_shape": list(data_module.example(splits.train)[0].shape[1:]),
        "classes": splits.classes,
        "outputs": data_module.outputs(splits),
        "class_names": list(splits.class_names),
        "fingerprints": data_module.fingerprints(splits),
        "class_counts": data_module.class_counts(splits),
    }


def weights(question: Mapping[str, Any]) -> dict[str, Any]:
    """Where a model's published weights lie, their SHA-256 and outputs, once they are in the model, as `published.ask`.

    What is in the way is one error of `published` or `weights`.
    """
    origin, options = Origin(**question["origin"]), dict(question["model"])
    part = registry.load_part("model", options.pop("use"), origin)
    declared = part.weights[question["name"]]
    path, sha256 = published.find(declared, root=Path(question["root"]))
    weights_module.build(part, question["input_shape"], declared, path, sha256=sha256, options=options)
    return {"path": str(path), "sha256": sha256, "outputs": declared.outputs}


def price(question: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds a training step and an evaluated example, by a short run of the setting, as `plan.Price`.

    What cannot be built on the data for the steps that are planned, as it is or at one of the `ends` of what tuning
    searches, is a mistake of the suite, so what building raises is passed on; so is what a strategy raises in the first
    steps that has a word in place of a number. Any other part that fails there leaves the price unknown: its runs will
    fail, each with its reason.
    """
    origins = {kind: Origin(**origin) for kind, origin in question["origins"].items()}
    dataset = question["payload"]["problem"]["dataset"]
    splits = _load(dataset, question["origins"]["dataset"], question["root"])
    payload = _shortened(question["payload"], size=data_module.size(splits.train))
    parts = Parts.load(payload, origins)
    check_schedule(question["payload"]["problem"], parts.schedule, size=data_module.size(splits.train))
    planned = question["steps"]
    device = device_module.choose_device(question["device"])
    device_module.make_deterministic(payload["threads"])
    try:
        source = _source(question, payload, parts, data_module.example(splits.train)[0].shape[1:])
        built = {**payload, "problem": {**payload["problem"], "steps": planned}}
        parameters, phases = training.build_only(built, parts, splits, device=device, source=source)
        payload["problem"]["steps"] = max(_WARM_UP, phases)
        for end in question.get("ends", ()):
            _build_end(end, payload, parts, splits, device, source)
    except Inapplicable as error:  # its runs will say so too
        for end in question.get("ends", ()):
            _check_as_senseless(end, payload, parts, splits, device, source, why=str(error))
        return {"parameters": 0, "step_seconds": None, "example_seconds": None, "not_applicable": str(error)}
    except (PluginError, TypeError) as error:
        if TypeError in (type(error), type(error.__cause__)):
            _blame_word(parts.strategy, payload["problem"]["strategy"], error)
        raise
    try:
        if parts.strategy.exact is not None:
            used = question["examples"]
            return {"parameters": parameters, **_fitted(payload, parts, splits, device, source, used, planned)}
        return {"parameters": parameters, **_timed(payload, parts, splits, device, source)}
    except (Exception, SystemExit) as error:
        _blame_word(parts.strategy, payload["problem"]["strategy"], error)
        return {"parameters": parameters, "step_seconds": None, "example_seconds": None}


def _shortened(payload: Mapping[str, Any], *, size: int) -> dict[str, Any]:
    """The spec of a few steps on the whole training split of that size, with few examples to evaluate."""
    few = min(_EVALUATED, size // 2)
    few_steps = {"epochs": None, "train_examples": None, "steps": _WARM_UP, "validation_examples": few}
    problem = {key: value for key, value in payload["problem"].items() if key not in _OF_BUDGET}
    kept = {key: value for key, value in payload.items() if key not in _OF_BUDGET}
    return {**kept, "seeds": dict.fromkeys(STREAMS, 0), "problem": {**problem, **few_steps}}


def _build_end(
    end: Mapping[str, Any],
    payload: Mapping[str, Any],
    parts: Parts,
    splits: Splits,
    device: torch.device,
    source: Source | None,
) -> None:
    """Build the setting with what tuning may change.

    Raises:
        PluginError: it cannot be built, and where in the search space.
    """
    problem = {**payload["problem"], **end["problem"], "steps": end["steps"]}
    try:
        training.build_only({**payload, "problem": problem}, parts, splits, device=device, source=source)
    except Inapplicable as error:
        raise PluginError(
            f"strategy '{parts.strategy.name}' is not applicable there and is so elsewhere: {error} "
            f"(tuning may try {end['at']}; leave it out of [tuning] space)"
        ) from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{_why(error)} (tuning may try {end['at']})") from error


def _check_as_senseless(
    end: Mapping[str, Any],
    payload: Mapping[str, Any],
    parts: Parts,
    splits: Splits,
    device: torch.device,
    source: Source | None,
    *,
    why: str,
) -> None:
    """Nothing, where a strategy that has no meaning on the model has none there either.

    Raises:
        PluginError: it has one there, so that some of its runs would count and others not.
    """
    problem = {**payload["problem"], **end["problem"], "steps": end["steps"]}
    try:
        training.build_only({**payload, "problem": problem}, parts, splits, device=device, source=source)
    except Exception:
        return
    raise PluginError(
        f"strategy '{parts.strategy.name}' is not applicable as the arm has it, and is so elsewhere: {why} "
        f"(tuning may try {end['at']}; give the arm options with which it is)"
    )


def _blame_word(strategy: Strategy, options: Mapping[str, Any], error: BaseException) -> None:
    """Nothing, unless an option has a word where the default is a number, which the strategy then does not know.

    Raises:
        PluginError: the first such option, `alpha = 'none'`, and the error.
    """
    for name, value in strategy.defaults.items():
        if type(value) in (int, float) and isinstance(word := options.get(name), str):
            place = f"strategy '{strategy.name}', {name} = {word!r} where the default is {value:g}"
            raise PluginError(f"{place}: {_why(error)}") from error


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def check_schedule(problem: Mapping[str, Any], schedule: Schedule, *, size: int) -> None:
    """Refuse a schedule that leaves the rate as it is from the first step of the budget to the last.

    Not so where there is no scheduler, as of `constant`, where it follows a metric, and where the size of the training
    set is known only later.

    Raises:
        ValueError: milestones, say, that all lie beyond the budget.
    """
    later = ("labels_per_class", "folds")
    if schedule.watches is not None or any(problem.get(name) for name in later):
        return
    examples = problem["train_examples"] or size - problem["validation_examples"]
    budget = Budget.of(problem, max(1, examples))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    options = options_of(problem["schedule"])
    scheduler = schedule.build(optimizer, budget.steps, budget.steps_per_epoch, **options)
    first = optimizer.param_groups[0]["lr"]
    for _ in range(min(budget.steps, _LONGEST)):
        if scheduler is None or optimizer.param_groups[0]["lr"] != first:
            return
        optimizer.step()
        scheduler.step()
    if scheduler is not None and 1 < budget.steps < _LONGEST:
        given = ", ".join(f"{name} = {value}" for name, value in options.items())
        steps = f"{budget.steps} steps, {budget.steps_per_epoch} an epoch"
        raise ValueError(f"schedule '{schedule.name}' ({given}) never changes the rate within the budget ({steps})")


def _source(question: Mapping[str, Any], payload: Mapping[str, Any], parts: Parts, shape: torch.Size) -> Source | None:
    """Published weights for inputs of that shape, or an untrained network in the place of one that will be trained."""
    if "source" not in payload:
        return None
    if "source" not in question:
        return Source({}, 0)
    model = payload["problem"]["model"]
    if "weights" in question["source"]:
        return published_source(parts.model, tuple(shape), model, question["source"])
    there, outputs = tuple(question["source"]["input_shape"]), question["source"]["outputs"]
    options = options_of(question["source"]["model"])
    return Source(parts.model.build(there, outputs, **options).state_dict(), outputs)


def _fitted(
    payload: dict[str, Any],
    parts: Parts,
    splits: Splits,
    device: torch.device,
    source: Source | None,
    used: int,
    planned: int,
) -> dict[str, float]:
    """One fit of the head to its optimum, on few examples, as if it were spread over the planned steps."""
    few = min(used, _FITTED, data_module.size(splits.train) // 2)
    problem = {**payload["problem"], "train_examples": few}
    made = training.run({**payload, "problem": problem}, parts, splits, device=device, source=source)
    evaluations = max(1, len({row[1] for row in made["result"]["evaluations"]}))
    return {
        "step_seconds": made["timings"]["train_seconds"] * used / few / max(1, planned),
        "example_seconds": made["timings"]["evaluate_seconds"] / (evaluations * problem["validation_examples"]),
    }


def _timed(
    payload: dict[str, Any], parts: Parts, splits: Splits, device: torch.device, source: Source | None
) -> dict[str, float]:
    """A few steps to warm up, then as many as fit into the time."""
    warm = training.run(payload, parts, splits, device=device, source=source)
    pace = warm["timings"]["train_seconds"] / max(1, warm["result"]["steps"])
    steps = max(payload["problem"]["steps"], min(_STEPS, int(_SECONDS / max(pace, 1e-6))))
    timed = training.run(
        {**payload, "problem": {**payload["problem"], "steps": steps}}, parts, splits, device=device, source=source
    )
    timings, result = timed["timings"], timed["result"]
    evaluations = max(1, len({row[1] for row in result["evaluations"]}))
    return {
        "step_seconds": timings["train_seconds"] / max(1, result["steps"]),
        "example_seconds": timings["evaluate_seconds"] / (evaluations * payload["problem"]["validation_examples"]),
    }
