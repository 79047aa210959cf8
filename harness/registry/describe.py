"""The child process that imports plugins and answers with plain data, so that the coordinator never imports them.

Run as `python -m harness.registry.describe`. Reads one JSON list of questions from stdin; writes one JSON line as each
begins and one as it ends. A plugin that exits, hangs or prints spoils its own answer only.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from harness import hookspecs
from harness.errors import HarnessError, PluginError
from harness.hookspecs import HOOKS, PROJECT, Domain, Model, Part, Schedule, Strategy, part_fields, weights_to_plain
from harness.registry.catalog import Origin, PartInfo, nearest
from harness.registry.discovery import LOCAL
from harness.registry.place import where

_STRATEGY_HOOKS = ("prepare", "penalty", "finish", "exact")
_TAKES_NOTHING = "a hook takes no arguments and returns a list of parts"


def import_plugin(origin: Origin) -> ModuleType:
    """The plugin's module, imported; a file of a plugins folder under a name that hides nothing."""
    if not origin.local:
        return importlib.import_module(origin.module)
    name = f"{LOCAL}_{origin.sha256[:12]}_{origin.module}"
    if name in sys.modules:
        return sys.modules[name]
    file = Path(origin.file)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last, so that a plugin named like an installed module hides nothing
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def parts_of(module: ModuleType) -> Iterator[Part]:
    """The parts that the module's hooks return.

    Raises:
        PluginError: an unknown hook, one without its mark or with arguments, or something that is no part.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    _check_hook_names(module)
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{error}; {_TAKES_NOTHING}") from error
    for hook, part_type in HOOKS.items():
        for offered in getattr(manager.hook, hook)():
            if not isinstance(offered, list | tuple):
                raise PluginError(f"{hook} must return a list of harness.{part_type.__name__}, got {offered!r}")
            for part in offered:
                if not isinstance(part, part_type):
                    raise PluginError(f"{hook} must return harness.{part_type.__name__} parts, got {part!r}")
                yield part


def _check_hook_names(module: ModuleType) -> None:
    for name, value in vars(module).items():
        marked = hasattr(value, f"{PROJECT}_impl")
        if name in HOOKS and not marked and getattr(value, "__module__", None) == module.__name__:
            raise PluginError(
                f"{name} is not marked as a hook, so its parts would be missed; write @harness.hookimpl above it"
            )
        if marked and name not in HOOKS:
            near = nearest(name, HOOKS)
            hint = f"; did you mean '{near}'?" if near else ""
            raise PluginError(f"no hook named '{name}' (known: {', '.join(HOOKS)}){hint}")
        if marked and inspect.signature(value).parameters:
            raise PluginError(f"{name}{inspect.signature(value)}: {_TAKES_NOTHING}")


def describe(part: Part, origin: Origin) -> PartInfo:
    """The part as plain data; options are the keyword arguments of its callable.

    Raises:
        PluginError: a name, default or domain that cannot be plain data.
    """
    function = getattr(part, part.call)
    defaults, required, takes_any = _signature(function, part.given)
    if part.kind == "strategy":
        defaults, required, takes_any = {}, [], False
    given = {name: _plain(part, name, value) for name, value in part.defaults.items()}
    for name, domain in part.space.items():
        if not isinstance(domain, Domain):
            place = f"{part.kind} '{part.name}': space['{name}']"
            raise PluginError(f"{place} must be Float, Int or Choice, got {domain!r}")
    unknown = [name for name in [*given, *part.space] if name not in {**defaults, **given} and name not in required]
    if unknown and not takes_any:
        raise PluginError(f"{part.kind} '{part.name}': {part.call} takes no option '{unknown[0]}'")
    if isinstance(part, Schedule) and part.watches not in {None, *defaults, *given, *required}:
        raise PluginError(f"schedule '{part.name}': it watches '{part.watches}', which is none of its options")
    return PartInfo(
        kind=part.kind,
        name=part.name,
        origin=origin,
        options={**defaults, **given},
        required=tuple(name for name in required if name not in given),
        open=takes_any,
        space=dict(part.space),
        source=part.source,
        summary=_first_line(function),
        extra=_extra(part),
    )


def _extra(part: Part) -> dict[str, Any]:
    """Fields of one kind only, as plain data; which callables a strategy has beside `phases`."""
    elsewhere = {"name", "kind", "space", "defaults", "source", part.call, *_STRATEGY_HOOKS}
    fields = {name: value for name, value in part_fields(part) if name not in elsewhere}
    if isinstance(part, Strategy):
        fields["hooks"] = [name for name in _STRATEGY_HOOKS if getattr(part, name) is not None]
    if isinstance(part, Model):
        fields["weights"] = weights_to_plain(part.weights)
        for name, plain in fields["weights"].items():
            if not _is_plain(plain):
                raise PluginError(f"model '{part.name}': weights['{name}'] must be plain data, got {plain!r}")
    return fields


def _signature(function: Any, given: int) -> tuple[dict[str, Any], list[str], bool]:
    """Plain defaults, names without a default, and whether any keyword is taken, after the `given` arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}, [], True
    defaults: dict[str, Any] = {}
    required: list[str] = []
    for parameter in parameters[given:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            continue
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        elif _is_plain(parameter.default):
            defaults[parameter.name] = json.loads(json.dumps(parameter.default))
    return defaults, required, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _plain(part: Part, name: str, value: Any) -> Any:
    if not _is_plain(value):
        raise PluginError(f"{part.kind} '{part.name}': default {name}={value!r} is not plain data")
    return json.loads(json.dumps(value))


def _first_line(function: Any) -> str:
    text = inspect.getdoc(function) or ""
    return text.splitlines()[0] if text else ""


def answer(question: Mapping[str, Any]) -> Any:
    """The answer to one question.

    `plugin`: its parts. `data`: facts of a data set. `price`: cost of one setting. `outline`: what a strategy trains.
    `weights`: a file that fits a model. `conformance`: which rules of its kind a part keeps, and which it breaks.
    """
    if question["ask"] == "plugin":
        origin = Origin(**question["origin"])
        module = import_plugin(origin)
        return [describe(part, origin).to_plain() for part in parts_of(module)]
    if question["ask"] == "outline":
        from harness import outline

        return outline.outline(question)
    if question["ask"] == "conformance":
        from harness.testing import conformance

        return conformance.conformance(question)
    from harness import probe

    answers = {"data": probe.data, "price": probe.price, "weights": probe.weights}
    return answers[question["ask"]](question)


def _reason(error: BaseException) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if type(error).__module__.startswith(f"{PROJECT}."):  # what harness found wrong with what a part returned
        return str(error) + where(error)
    return traceback.format_exception_only(error)[-1].strip() + where(error, core=True)


def main() -> None:
    """Answer the questions on stdin, one after the other."""
    from harness.execute.server import die_with_parent

    die_with_parent()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a plugin prints goes to stderr and cannot be taken for an answer
    questions = json.load(sys.stdin)
    for index, question in enumerate(questions):
        print(json.dumps({"begun": index}), file=replies)
        try:
            reply: dict[str, Any] = {"ended": index, "answer": answer(question)}
            line = json.dumps(reply, allow_nan=False)
        except (Exception, SystemExit) as error:
            kind = type(error).__name__ if isinstance(error, HarnessError) else ""
            line = json.dumps({"ended": index, "failed": _reason(error), "kind": kind})
        print(line, file=replies)
    replies.flush()
    os._exit(0)  # threads and exit handlers of plugins must not keep the answers waiting


if __name__ == "__main__":
    main()
