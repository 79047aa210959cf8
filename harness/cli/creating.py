"""`new`: a plugin to begin from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.output import clean

if TYPE_CHECKING:
    from harness.registry.catalog import Catalog

DRAFTS = Path(__file__).parent / "drafts"
"""A plugin of each kind that keeps the contract; NAME stands for the part's name."""
USES = {
    "model": '[problem] model = "NAME"',
    "optimizer": '[arms] optimizer = ["sgd", "NAME"]',
    "strategy": '[arms] strategy = ["scratch", "linear_probe", "full", "NAME"]',
    "dataset": '[problem] dataset = "NAME"',
    "loss": '[problem] loss = "NAME"',
    "schedule": '[arms] schedule = ["constant", "NAME"]',
    "augmentation": '[arms] augmentation = ["none", "NAME"]',
    "metric": '[compare] metric = "NAME"',
}
"""How a suite names a part of each kind that there is a draft of."""


@click.command()
@click.argument("kind", type=click.Choice(list(USES)))
@click.argument("name")
@click.option(
    "--plugins", "folder", type=click.Path(path_type=Path), default=Path("plugins"), show_default=True, metavar="DIR",
    help="Folder that the file is written into.",
)  # fmt: skip
def new(kind: str, name: str, folder: Path) -> None:
    """Write a plugin with a part of KIND to begin from: ten lines that keep the contract, named NAME.

    The file is found at once when it lies in ./plugins of the working folder.
    """
    from harness.registry import load_catalog
    from harness.store import write_atomically

    file = _file(folder, name)
    local = () if folder == Path("plugins") or not folder.is_dir() else (folder,)
    _refuse_taken(load_catalog(local), kind, name)
    draft = (DRAFTS / f"{kind}.txt").read_text(encoding="utf-8").replace("NAME", name)
    write_atomically(file, draft.encode())
    beside = "" if folder == Path("plugins") else f" --plugins {folder}"
    click.echo(
        clean(
            f"wrote {file}\n"
            f"  harness verify {file}    hold it against the contract\n"
            f"  harness show {name}{beside}    its options, and what tuning searches\n"
            f"in a suite: {USES[kind].replace('NAME', name)}"
        )
    )


def _file(folder: Path, name: str) -> Path:
    """Where the plugin goes, if a part may have that name and nothing lies there.

    Raises:
        click.UsageError: it may not, or something does, or no plugin is looked for there.
    """
    from harness import names
    from harness.registry.discovery import find

    if broken := names.broken_rule(name):
        raise click.UsageError(f"a part's name must match {names.RULE}, got {name!r}: {broken}")
    file = folder / f"{''.join(letter if letter.isalnum() else '_' for letter in name)}.py"
    if file.exists():
        raise click.UsageError(f"{file} is there already; choose another name, or delete it first")
    package = (folder / "__init__.py").exists()
    if package and folder.resolve() not in {source.file.parent.resolve() for source in find()}:
        raise click.UsageError(f"{folder} is a package, in which no plugin is looked for; name a folder by --plugins")
    return file


def _refuse_taken(catalog: Catalog, kind: str, name: str) -> None:
    if taken := [part for part in catalog.named(name) if part.kind == kind]:
        raise click.UsageError(f"{kind} '{taken[0].name}' is there already, of {taken[0].origin}; choose another name")
