"""`list`, `show` and `schema`: what a suite can name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness.cli.outline import outline_options, show_outline
from harness.cli.output import clean, json_option, plugins_option, print_json, table

if TYPE_CHECKING:
    from harness.registry.catalog import Catalog, PartInfo


@click.command("list")
@click.argument("kind", required=False)
@plugins_option
@json_option
def list_parts(kind: str | None, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the parts that a suite can name: all, or of one KIND (models, optimizers, datasets, ...).

    Parts of one plugin that are described alike share a line: vgg{11,13} are vgg11 and vgg13.
    """
    from harness.hookspecs import KINDS, plural
    from harness.registry import load_catalog

    kinds = {**{k: k for k in KINDS}, **{plural(k): k for k in KINDS}}
    if kind is not None and kind not in kinds:
        _unknown(f"no kind '{kind}'", kind, [plural(k) for k in KINDS])
    catalog = load_catalog(plugins)
    wanted = KINDS if kind is None else (kinds[kind],)
    if as_json:
        parts = [part.to_plain() for k in wanted for part in catalog.of(k)]
        print_json({"parts": parts, "broken": [broken.__dict__ for broken in catalog.broken]})
        return
    for k in wanted:
        rows = [[names, *(say(part) for say in columns(k).values())] for names, part in _lines(catalog.of(k))]
        click.echo(f"{plural(k)}\n{table(('name', *columns(k)), rows, indent=2)}\n")
    for broken in catalog.broken:
        click.echo(clean(f"broken plugin {broken}"), err=True)


@click.command()
@plugins_option
def schema(plugins: tuple[Path, ...]) -> None:
    """Print the JSON Schema of suites, with the names of the installed parts, for completion in an editor."""
    from harness.registry import load_catalog
    from harness.suite import json_schema

    print_json(json_schema(load_catalog(plugins)))


def columns(kind: str) -> dict[str, Callable[[PartInfo], str]]:
    """Columns of the list of a kind beside the name; strategies are few enough to say all of each."""
    tuned: dict[str, Callable[[PartInfo], str]] = {
        "what it is": lambda p: p.summary,
        "tuned": lambda p: ", ".join(p.space),
    }
    if kind == "strategy":
        return {"options": _defaults, **tuned, "source": lambda p: p.source, "from": lambda p: str(p.origin)}
    return {**tuned, "from": lambda p: str(p.origin)}


def _lines(parts: Iterable[PartInfo]) -> Iterator[tuple[str, PartInfo]]:
    """The parts with their names, those that one plugin describes alike in one line under all their names."""
    groups: dict[tuple[Any, ...], list[PartInfo]] = {}
    for part in parts:
        alike = (part.origin.file, part.summary, *part.space) if part.summary else (part.origin.file, part.name)
        groups.setdefault(alike, []).append(part)
    for group in groups.values():
        yield _braced([part.name for part in group]), group[0]


def _defaults(part: PartInfo) -> str:
    return ", ".join(f"{name} ({_short(value)})" for name, value in part.options.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _braced(names: Sequence[str]) -> str:
    """Names as a shell has them: `resnet{18,34,50}`; numbers in their order."""
    if len(names) == 1:
        return names[0]
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in same).rstrip("0123456789")
    ordered = sorted(names, key=lambda name: [(int(n or 0), text) for n, text in re.findall(r"(\d*)(\D*)", name)])
    return f"{shared}{{{','.join(name.removeprefix(shared) for name in ordered)}}}"


@click.command()
@click.argument("name")
@plugins_option
@outline_options
@json_option
def show(name: str, plugins: tuple[Path, ...], as_json: bool, model: str | None, **wanted: Any) -> None:
    """Show one part: options with their defaults, what tuning searches, where it is published, published weights.

    Of several parts with one NAME all are shown; DISTRIBUTION:NAME picks one. For a strategy, --model shows the blocks
    of that network and what each phase trains of them.
    """
    from harness.registry import load_catalog

    catalog = load_catalog(plugins)
    if model is not None:
        show_outline(catalog, name, model, as_json=as_json, **wanted)
        return
    flags = {parameter.name: parameter.opts[0] for parameter in click.get_current_context().command.params}
    given = [str(flags[option]) for option, value in wanted.items() if value not in (None, ())]
    if given:
        says = "says something" if len(given) == 1 else "say something"
        raise click.UsageError(f"{' and '.join(given)} {says} of a strategy on a network: add --model NAME")
    found = catalog.named(name)
    if not found:
        no_part(catalog, name)
    if as_json:
        print_json([part.to_plain() for part in found])
        return
    for part in found:
        click.echo(clean(f"{part.kind} {part.name}  ({part.origin})\n{part.summary}"))
        if part.source:
            click.echo(clean(f"source: {part.source}"))
        rows = [
            (option, _domain_text(part.space.get(option)), json.dumps(value)) for option, value in part.options.items()
        ]
        rows += [(option, _domain_text(part.space.get(option)), "required") for option in part.required]
        click.echo(table(("option", "tuned over", "default"), rows, indent=2) if rows else "  no options")
        if published := part.extra.get("weights"):
            click.echo(table(("weights", "outputs", "pixels a side", "file"), _weights_rows(published), indent=2))


def _weights_rows(published: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """One line for each name of a model's weights; the first is what DEFAULT stands for."""
    rows = []
    for at, (name, one) in enumerate(published.items()):
        side = "any" if one["input_size"] is None else one["input_size"]
        rows.append((name if at else f"{name} (DEFAULT)", one["outputs"], side, one["file"]))
    return rows


def _domain_text(domain: Any) -> str:
    from harness.hookspecs import Choice

    if domain is None:
        return ""
    if isinstance(domain, Choice):
        return ", ".join(map(str, domain.options))
    return f"{domain.low:g} .. {domain.high:g}" + (" (log)" if domain.log else "")


def no_part(catalog: Catalog, name: str) -> NoReturn:
    """Refuse a name that no part has."""
    names = sorted({part.name for part in catalog.parts})
    _unknown(f"no part named '{name}'", name, names, catalog.broken_with(name))


def _unknown(what: str, word: str, known: Sequence[str], broken: str = "") -> NoReturn:
    from harness.errors import PluginError
    from harness.registry.catalog import few_names, nearest

    near = nearest(word, known)
    some = few_names(word, known, "'harness list'")
    way = broken or (f"did you mean '{near}'?" if near else "")
    raise PluginError(f"{what} (known: {some})" + (f"; {way}" if way else ""))
