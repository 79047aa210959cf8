"""`list` and `show`: what a suite can name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from harness.cli.output import clean, json_option, print_json, table


@click.command("list")
@click.argument("kind", required=False)
@click.option(
    "--plugins", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of plugin files."
)
@json_option
def list_parts(kind: str | None, plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the parts that a suite can name: all, or of one KIND (models, optimizers, datasets, ...)."""
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
        rows = [(p.name, p.summary, ", ".join(p.space), str(p.origin)) for p in catalog.of(k)]
        click.echo(f"{plural(k)}\n{table(('name', 'what it is', 'tuned', 'from'), rows, indent=2)}\n")
    for broken in catalog.broken:
        click.echo(clean(f"broken plugin {broken}"), err=True)


@click.command()
@click.argument("name")
@click.option(
    "--plugins", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of plugin files."
)
@json_option
def show(name: str, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Show one part: its options with their defaults, what tuning searches, where it is published.

    Of several parts with one NAME all are shown; DISTRIBUTION:NAME picks one.
    """
    from harness.registry import load_catalog

    catalog = load_catalog(plugins)
    found = catalog.named(name)
    if not found:
        _unknown(f"no part named '{name}'", name, sorted({part.name for part in catalog.parts}))
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


def _domain_text(domain: Any) -> str:
    from harness.hookspecs import Choice

    if domain is None:
        return ""
    if isinstance(domain, Choice):
        return ", ".join(map(str, domain.options))
    return f"{domain.low:g} .. {domain.high:g}" + (" (log)" if domain.log else "")


def _unknown(what: str, word: str, known: Sequence[str]) -> NoReturn:
    from harness.catalog import nearest
    from harness.errors import PluginError

    near = nearest(word, known)
    raise PluginError(f"{what} (known: {', '.join(known)})" + (f"; did you mean '{near}'?" if near else ""))
