"""What a suite asks of data that do not have it, known only once the data were looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import toml
from harness.diagnostics import Mistake, Place
from harness.registry.catalog import PartInfo
from harness.suite import Setting, Suite
from harness.toml.scan import Path

if TYPE_CHECKING:
    from harness.plan import Plan


def mistakes(plan: Plan) -> Iterator[Mistake]:
    """Losses, metrics and augmentations that have no meaning for a problem's data."""
    for setting in plan.suite.settings:
        yield from _of_loss(plan, setting)
        yield from _of_metrics(plan, setting)
        yield from _of_augmentation(plan, setting)
        yield from _of_source(plan, setting)


def place(suite: Suite, *paths: Path) -> Place:
    """Where the file has a value at the first of the paths that it has, else the file as a whole."""
    document = toml.parse(suite.text, str(suite.path))
    found = [document.entries[path].value for path in paths if path in document.entries]
    return document.place(found[0]) if found else document.whole()


def _paths(suite: Suite, setting: Setting, *keys: str) -> list[Path]:
    """Where the file may give one of these keys of [problem] to a setting, the place that counts first."""
    spelled = toml.parse(suite.text, str(suite.path)).values.get("arm", ())
    arms: list[Path] = [("arm", index) for index, arm in enumerate(spelled) if arm.get("name") == setting.arm]
    return [(*table, key) for key in keys for table in (*arms, ("arms",), ("problems",), ("problem",))]


def _of_loss(plan: Plan, setting: Setting) -> Iterator[Mistake]:
    loss = plan.catalog.find("loss", str(setting.values["loss"]["use"]))  # type: ignore[index,call-overload]
    if not plan.suits(setting.problem, loss):
        yield _wrong_task(plan, setting, loss, *_paths(plan.suite, setting, "loss", "dataset"))


def _of_source(plan: Plan, setting: Setting) -> Iterator[Mistake]:
    """The loss of what networks are trained on first."""
    if setting.source is None or plan.source_facts is None:
        return
    values, task = setting.source.values, plan.source_facts.task
    loss = plan.catalog.find("loss", str(values["loss"]["use"]))  # type: ignore[index,call-overload]
    if loss.extra.get("task") not in (None, task):
        paths: list[Path] = [("source", "loss"), ("problem", "loss"), ("source", "dataset")]
        name = str(values["dataset"]["use"])  # type: ignore[index,call-overload]
        yield _mistaken(plan, loss, name, task, place(plan.suite, *paths), head="[source]: ")


def _of_metrics(plan: Plan, setting: Setting) -> Iterator[Mistake]:
    if not plan.suits(setting.problem, plan.suite.metric):
        yield _wrong_task(plan, setting, plan.suite.metric, ("compare", "metric"))
    for index, metric in enumerate(plan.suite.also):
        if not plan.suits(setting.problem, metric):
            yield _wrong_task(plan, setting, metric, ("compare", "also", index))
    for index, claim in enumerate(plan.suite.claims):
        if claim.problem == setting.problem and not plan.suits(setting.problem, claim.metric):
            yield _wrong_task(plan, setting, claim.metric, ("claim", index, "metric"), ("compare", "metric"))
    for name in setting.watched:
        metric = plan.catalog.find("metric", name)
        if not plan.suits(setting.problem, metric):
            yield _wrong_task(plan, setting, metric, *_paths(plan.suite, setting, "early_stopping", "schedule"))


def _wrong_task(plan: Plan, setting: Setting, part: PartInfo, *paths: Path) -> Mistake:
    name = str(setting.values["dataset"]["use"])  # type: ignore[index,call-overload]
    return _mistaken(plan, part, name, plan.facts[setting.problem].task, place(plan.suite, *paths))


def _mistaken(plan: Plan, part: PartInfo, data: str, task: str, where: Place, *, head: str = "") -> Mistake:
    """A part for the other task, with those that are for this one."""
    needs = "classes" if part.extra["task"] == "classification" else "values"
    message = f"{head}{part.kind} '{part.name}' needs {needs}, and '{data}' is a {task}"
    allowed = [other.name for other in plan.catalog.of(part.kind) if other.extra.get("task") in (None, task)]
    cure = f'write loss = "{allowed[0]}"' if part.kind == "loss" and allowed else ""
    return Mistake("wrong-task", message, (where,), allowed=", ".join(allowed) or "none", help=cure)


def _of_augmentation(plan: Plan, setting: Setting) -> Iterator[Mistake]:
    shape = tuple(plan.facts[setting.problem].input_shape)
    if "augmentation" in setting.values and len(shape) != 3:
        name = setting.values["dataset"]["use"]  # type: ignore[index,call-overload]
        message = f"augmentation needs images (C, H, W), and inputs of '{name}' have the shape {shape}"
        where = place(plan.suite, *_paths(plan.suite, setting, "augmentation"))
        yield Mistake("wrong-input", message, (where,), allowed='"none"')
