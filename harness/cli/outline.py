"""`show STRATEGY --model NAME`: the blocks of a network, and what each phase of a strategy trains of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli.output import clean, option_value, print_json, sides, split_setting, table

if TYPE_CHECKING:
    from harness.registry.catalog import Catalog, PartInfo

SHAPE, OUTPUTS, STAGES = (3, 64, 64), 10, 5


def outline_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say for which network a strategy is shown; None or () where they are not given."""
    decorators = (
        click.option("--model", metavar="NAME", help="Network whose blocks a strategy is shown for."),
        click.option(
            "--option", "settings", multiple=True, metavar="NAME=VALUE",
            help="Option of the strategy, e.g. --option r=8; of the network with the word 'model' before it, "
            "e.g. --option model.width=8.",
        ),
        click.option(
            "--input-shape", metavar="CxHxW", help=f"Shape of one input. [default: {'x'.join(map(str, SHAPE))}]"
        ),
        click.option("--outputs", type=click.IntRange(1), help=f"Outputs of the network. [default: {OUTPUTS}]"),
        click.option("--stages", metavar="N|all", help=f"Most blocks that are told apart. [default: {STAGES}]"),
        click.option(
            "--norm", type=click.Choice(["follow", "eval", "train"]), help="Norm layers in training. [default: follow]"
        ),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def show_outline(
    catalog: Catalog,
    name: str,
    model: str,
    *,
    as_json: bool,
    settings: Sequence[str],
    input_shape: str | None,
    outputs: int | None,
    stages: str | None,
    norm: str | None,
) -> None:
    """Ask a child process for the outline, and print it.

    Raises:
        HarnessError: there is no such strategy or network, or they do not go together.
    """
    from harness.registry import child, raise_failure

    parts = {"strategy": catalog.find("strategy", name), "model": catalog.find("model", model)}
    given = _settings(settings, parts)
    question = {
        "ask": "outline",
        **{kind: part.name for kind, part in parts.items()},
        "origins": {kind: part.origin.__dict__ for kind, part in parts.items()},
        "options": given["strategy"],
        "model_options": {**parts["model"].options, **given["model"]},
        "input_shape": list(SHAPE) if input_shape is None else sides(input_shape),
        "outputs": outputs or OUTPUTS,
        "stages": _stages(stages),
        "norm": norm or "follow",
    }
    (answer,) = child.ask([question])
    if isinstance(answer, child.Failed):
        raise_failure(answer, f"strategy '{parts['strategy'].name}' on model '{parts['model'].name}'")
    if as_json:
        print_json(answer)
        return
    if "not_applicable" in answer:
        click.echo(
            clean(f"{parts['strategy'].name} is not applicable to {parts['model'].name}: {answer['not_applicable']}")
        )
        return
    _print(answer, parts, question)


def _settings(settings: Sequence[str], parts: Mapping[str, PartInfo]) -> dict[str, dict[str, Any]]:
    """Values of options by kind of part, refused where the part has no such option."""
    from harness.errors import PluginError

    found: dict[str, dict[str, Any]] = {kind: {} for kind in parts}
    for name, text in map(split_setting, settings):
        kind = "model" if name.startswith("model.") else "strategy"
        own = name.removeprefix(f"{parts['model'].name}.")
        if own != name and kind == "strategy":
            raise PluginError(f"options of the network begin with the word 'model': write --option model.{own}={text}")
        option = name.removeprefix("model.")
        found[kind][option] = option_value(parts[kind], option, text)
    return found


def _stages(text: str | None) -> int | str:
    if text is None or text == "all":
        return STAGES if text is None else "all"
    if not text.isdecimal() or int(text) < 2:
        raise click.BadParameter(f"must be a whole number of at least 2, or all, got {text!r}", param_hint="--stages")
    return int(text)


def _print(answer: Mapping[str, Any], parts: Mapping[str, PartInfo], question: Mapping[str, Any]) -> None:
    shape = " x ".join(map(str, question["input_shape"]))
    options = {**parts["strategy"].options, **question["options"]}
    said = ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    model = f"{parts['model'].name}, inputs {shape}, {question['outputs']} outputs, a new head"
    click.echo(clean(f"{parts['strategy'].name}{f' ({said})' if said else ''} on {model}\n"))
    head = [
        "block",
        "from",
        "to",
        "parameters",
        *map(_phase_title, range(1, 1 + len(answer["phases"])), answer["phases"]),
    ]
    rows = [
        (number, block["first"], block["last"], block["parameters"], *(_cell(p, block) for p in block["phases"]))
        for number, block in enumerate(answer["blocks"])
    ]
    click.echo(table(head, rows, indent=2))
    most, whole = max(answer["trains"]), answer["parameters"]
    click.echo(f"\ntrains {most:,} of {whole:,} parameters ({most / whole:.2%})")
    if idle := answer["idle"]:
        some = ", ".join(idle[:4]) + (", ..." if len(idle) > 4 else "")
        why = "since a norm layer right behind them subtracts any constant"
        click.echo(clean(f"no gradient reaches {len(idle)} of the biases, {why}: {some}"))
    if answer["unused"]:
        click.echo(clean(f"not used by a forward pass: {', '.join(answer['unused'])}"))


def _phase_title(number: int, phase: Sequence[Any]) -> str:
    name, start, end = phase
    return f"{name or f'phase {number}'} {start:.0%}-{end:.0%}"


def _cell(part: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    """Multipliers of the learning rate, and which share of the block has them if not all of it."""
    if not part["multipliers"]:
        return "frozen"
    multipliers = ", ".join(f"{multiplier:.4g}" for multiplier in part["multipliers"])
    share = part["parameters"] / block["parameters"]
    return multipliers if share == 1 else f"{multipliers} on {share:.2%}"
