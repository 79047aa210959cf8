"""`verify`: hold parts against the contract of their kind."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.output import (
    clean,
    download_option,
    json_option,
    option_value,
    plugins_option,
    print_json,
    sides,
    split_setting,
)
from harness.cli.parts import no_part

if TYPE_CHECKING:
    from harness.registry.catalog import Broken, Catalog, PartInfo

DONE, MISTAKE, UNUSABLE = 0, 2, 4
CONFORMS, BROKEN, UNCHECKED = "conforms", "broken", "not_checked"
"""What becomes of a part; it is not checked where the files of a data set cannot be had."""


@click.command()
@click.argument("targets", metavar="[FILE|NAME]...", nargs=-1)
@click.option(
    "--option",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the part, where only one is checked, e.g. --option width=8.",
)
@click.option("--input-shape", metavar="CxHxW", help="Shape of one input of a model. [default: 1x28x28]")
@click.option(
    "--outputs", type=click.IntRange(1), help="Outputs of a model; classes of a loss or metric. [default: 10]"
)
@plugins_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where files of a data set lie. [default: $HARNESS_DATA, or the cache folder]",
)
@download_option
@click.option("--verbose", "-v", is_flag=True, help="Name the rules that each part keeps.")
@json_option
def verify(
    targets: tuple[str, ...],
    settings: tuple[str, ...],
    plugins: tuple[Path, ...],
    verbose: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Check parts against the contract of their kind: shapes, gradients, seeds, state, what stays frozen, and more.

    A FILE stands for every part that the plugin in it offers; a NAME may be DISTRIBUTION:NAME. Without either all
    plugin files of ./plugins and --plugins are checked. Parts are tried on small made-up problems; nothing is written.
    """
    from harness.registry import child, load_catalog

    files = [_existing(target) for target in targets if target.endswith(".py")]
    catalog = load_catalog((*plugins, *dict.fromkeys(file.parent for file in files)))
    parts, broken = _chosen(catalog, targets)
    if settings and len(parts) != 1:
        raise click.UsageError(f"--option is of one part: name it; here are {len(parts)}")
    questions = [_question(part, settings, **given) for part in parts]
    reports = []
    for report in itertools.chain(map(_cannot_be_imported, broken), map(_report, parts, child.answers(questions))):
        reports.append(report)
        if not as_json:
            click.echo(clean(_in_words(report, verbose=verbose)))
    if as_json:
        print_json(reports)
    elif len(reports) > 1:
        kept = sum(report["status"] == CONFORMS for report in reports)
        click.echo(f"{kept} of {len(reports)} keep the contract")
    sys.exit(_exit_code([report["status"] for report in reports]))


def _existing(target: str) -> Path:
    file = Path(target)
    if not file.is_file():
        raise click.UsageError(f"no file {target}; a plugin's file, or the name of a part ('harness list') is due")
    return file


def _chosen(catalog: Catalog, targets: Sequence[str]) -> tuple[list[PartInfo], list[Broken]]:
    """The parts that are meant, and the plugins that are meant and cannot be imported.

    Raises:
        HarnessError: a name of no part.
        click.UsageError: a file without a part, or no target where there are no plugin files.
    """
    if not targets:
        parts = [part for part in catalog.parts if part.origin.local]
        broken = [one for one in catalog.broken if one.local]
        if not parts and not broken:
            raise click.UsageError("no plugin files in ./plugins: name a file, or a part ('harness list' shows all)")
        return parts, broken
    found: list[PartInfo] = []
    failed: list[Broken] = []
    for target in targets:
        if target.endswith(".py"):
            here = str(Path(target).resolve())
            own = [part for part in catalog.parts if part.origin.file == here]
            amiss = [one for one in catalog.broken if one.file == here]
            if not own and not amiss:
                raise click.UsageError(f"{target} offers no part: no function in it is marked @harness.hookimpl")
        else:
            own = catalog.named(target)
            amiss = [] if own else [one for one in catalog.broken if target.rpartition(":")[2] in one.mentions]
            if not own and not amiss:
                no_part(catalog, target)
        found += own
        failed += amiss
    return list({(part.origin.file, part.kind, part.name): part for part in found}.values()), failed


def _question(
    part: PartInfo,
    settings: Sequence[str],
    *,
    input_shape: str | None,
    outputs: int | None,
    data: Path | None,
    download: bool,
) -> dict[str, Any]:
    from harness.locations import DOWNLOAD, data_root

    if download:
        os.environ[DOWNLOAD] = "1"
    given = dict(map(split_setting, settings))
    return {
        "ask": "conformance",
        "kind": part.kind,
        "name": part.name,
        "origin": part.origin.__dict__,
        "options": {name: option_value(part, name, text) for name, text in given.items()},
        "root": str(data or data_root()),
        "input_shape": None if input_shape is None else sides(input_shape),
        "outputs": outputs,
    }


def _cannot_be_imported(plugin: Broken) -> dict[str, Any]:
    return {"kind": "plugin", "name": plugin.module, "file": plugin.file, "status": BROKEN, "reason": plugin.reason}


def _report(part: PartInfo, answer: Any) -> dict[str, Any]:
    """What became of one part, as plain data."""
    from harness.registry.child import Failed

    known = {"kind": part.kind, "name": part.name, "file": part.origin.file}
    if isinstance(answer, Failed):
        return {**known, "status": UNCHECKED if answer.kind == "DataError" else BROKEN, "reason": answer.reason}
    if answer["broken"] is None:
        return {**known, "status": CONFORMS, "rules": answer["rules"]}
    return {**known, "status": BROKEN, **answer["broken"]}


def _in_words(report: Mapping[str, Any], *, verbose: bool) -> str:
    part = f"{report['kind']} {report['name']}"
    if report["status"] == CONFORMS:
        rules = "".join(f"\n  {rule}" for rule in report["rules"]) if verbose else ""
        return f"{part} keeps {len(report['rules'])} rules{rules}"
    if report["status"] == UNCHECKED:
        return f"{part} was not checked: {report['reason']}"
    if "rule" in report:
        return f"{part} breaks a rule: {report['rule']}; found {report['found']}"
    return f"{part} cannot be used: {report['reason']}"


def _exit_code(statuses: Sequence[str]) -> int:
    return MISTAKE if BROKEN in statuses else UNUSABLE if UNCHECKED in statuses else DONE
