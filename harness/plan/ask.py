"""Questions to the child process: what is known of data, of published weights, and what runs cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import published, registry
from harness.plan.facts import DataFacts, Price
from harness.plan.runs import Label, Request
from harness.plan.sources import starts_at_random
from harness.published import Found
from harness.registry import child
from harness.registry.catalog import Catalog, Origin, PartInfo
from harness.spec import digest
from harness.suite import Setting, Suite
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.plan import Plan


def data_facts(suite: Suite, root: Path) -> dict[str, DataFacts]:
    """What is known of the data set of each problem.

    Raises:
        DataError: a data set cannot be had.
        PluginError: a data set breaks the contract.
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
    return facts


def source_facts(suite: Suite, root: Path) -> DataFacts | None:
    """What is known of the data set of [source]; None where there is none."""
    source = next((setting.source for setting in suite.settings if setting.source is not None), None)
    if source is None or "dataset" not in source.values:
        return None
    question = source_question(source, root)
    (answered,) = registry.ask_cached([question])
    if isinstance(answered, child.Failed):
        registry.raise_failure(answered, f"{suite.path}: [source] dataset '{question['dataset']['use']}'")
    return _facts(answered)


def published_weights(plan: Plan) -> dict[tuple[str, str], Found]:
    """The published weights of each setting that starts from them, found and held against model and data."""
    suite, found = plan.suite, {}
    for setting in suite.settings:
        if setting.source is None or suite.source is None or suite.source.weights is None:
            continue
        if not starts_at_random(plan.catalog, setting):
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
