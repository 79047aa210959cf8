"""Questions to the child process: what is known of data, of published weights, and what runs cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import published, registry, sizes
from harness.diagnostics import Place
from harness.hookspecs import Choice, Domain
from harness.plan import unbuilt
from harness.plan.facts import DataFacts, Price
from harness.plan.runs import Label, Request, apply, planned_steps
from harness.plan.sources import starts_at_random
from harness.published import Found
from harness.registry import child
from harness.registry.catalog import Catalog, Origin, PartInfo
from harness.spec import digest
from harness.suite import Setting, Suite
from harness.suite.origin import Origins

if TYPE_CHECKING:
    from harness.plan import Plan

_MOST_ENDS = 16
"""Settings of a search space that are built before it is searched."""


def data_facts(suite: Suite, root: Path) -> dict[str, DataFacts]:
    """What is known of the data set of each problem.

    Raises:
        DataError: a data set cannot be had.
        PluginError: a data set breaks the contract.
    """
    questions: dict[str, dict[str, Any]] = {}
    places: dict[str, Place | str] = {}
    for setting in suite.settings:
        questions.setdefault(setting.problem, data_question(setting, root))
        places.setdefault(setting.problem, setting.places.get("dataset", str(suite.path)))
    answers = registry.ask_cached(list(questions.values()))
    facts = {}
    for (problem, question), answered in zip(questions.items(), answers, strict=True):
        if isinstance(answered, child.Failed):
            name = f"dataset '{question['dataset']['use']}'"
            named, where = answered.reason.startswith(name), places[problem]
            registry.raise_failure(answered, str(where) if named else f"{where}: {name}")
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
        where = source.places.get("dataset", str(suite.path))
        registry.raise_failure(answered, f"{where}: [source] dataset '{question['dataset']['use']}'")
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
        PluginError: a setting cannot be built on the data, as it is or where tuning may take it; all that cannot are
            in the text.
    """
    questions = {(s.problem, s.arm): _price_question(plan, s) for s in plan.suite.settings}
    questions |= {(r.label.problem, r.label.arm): _source_price_question(plan, r) for r in plan.sources().values()}
    distinct = {digest(question): question for question in questions.values()}
    answers = dict(zip(distinct, registry.ask_cached(list(distinct.values())), strict=True))
    found, failed = {}, {}
    for key, question in questions.items():
        answered = answers[digest(question)]
        if isinstance(answered, child.Failed) and answered.kind == "died":
            answered = {"step_seconds": None, "example_seconds": None, "parameters": 0}
        if isinstance(answered, child.Failed):
            failed[key] = answered
        else:
            found[key] = Price(**answered)
    if failed:
        unbuilt.refuse(plan, failed)
    return found


def _price_question(plan: Plan, setting: Setting) -> dict[str, Any]:
    request = plan.request(Label(setting.problem, setting.arm, 0, "tune", plan.given))
    facts, pool = plan.facts[setting.problem], plan.pool(setting.problem)
    question = _question(plan, request, facts, pool)
    if ends := _ends(setting, facts, pool):
        question["ends"] = ends
    if (found := plan.published.get((setting.problem, setting.arm))) is not None:
        return {**question, "source": found.to_plain()}
    if request.source is None or plan.source_facts is None:
        return question
    there = plan.source_facts
    model = request.source.spec.payload["problem"]["model"]
    outputs = {"input_shape": list(there.input_shape), "outputs": there.outputs, "model": model}
    return {**question, "payload": {**question["payload"], "source": {"start": "source"}}, "source": outputs}


def _source_price_question(plan: Plan, request: Request) -> dict[str, Any]:
    assert plan.source_facts is not None
    return _question(plan, request, plan.source_facts, plan.source_facts.train)


def _ends(setting: Setting, facts: DataFacts, pool: int) -> list[dict[str, Any]]:
    """What of the problem is another at both ends of all ranges that are searched, and at each choice.

    Tuning may go there, so that nothing may stand in the way of building it.
    """
    choices = [len(domain.options) for domain in setting.space.values() if isinstance(domain, Choice)]
    found = []
    for number in range(min(_MOST_ENDS, max([2, *choices]))) if setting.space else ():
        taken = {name: _end(domain, number) for name, domain in setting.space.items()}
        values = apply(setting.values, taken)
        changed = {name.partition(".")[0] for name in taken}
        at = ", ".join(f"{name} = {value!r}" for name, value in taken.items())
        steps = planned_steps(values, facts, pool)
        found.append({"at": at, "steps": steps, "problem": {key: values[key] for key in sorted(changed)}})
    return found


def _end(domain: Domain, number: int) -> Any:
    if isinstance(domain, Choice):
        return domain.options[number % len(domain.options)]
    return domain.high if number % 2 else domain.low


def _question(plan: Plan, request: Request, facts: DataFacts, pool: int) -> dict[str, Any]:
    """What a run costs that takes so many steps on so many examples, the same for all arms of a problem."""
    values = request.spec.payload["problem"]
    return {
        "steps": planned_steps(values, facts, pool),
        "examples": sizes.used(values, facts, pool),
        "ask": "price",
        "payload": {**request.spec.payload, "phase": "tune", "seeds": {}},
        "origins": {kind: origin.__dict__ for kind, origin in request.origins.items()},
        "root": str(plan.root),
        "device": plan.suite.execution.device,
    }
