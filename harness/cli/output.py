"""What commands share: options, tables of text, and the streams they print to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.registry.catalog import PartInfo
    from harness.session import Options


def suite_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that reads a suite."""
    decorators = (
        click.argument("suite", type=click.Path(path_type=Path, readable=False)),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE",
            help="Change a key of the suite, e.g. --set compare.replicates=3.",
        ),
        click.option(
            "--plugins", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
            help="Folder of plugin files, beside ./plugins and what is installed.",
        ),
        click.option(
            "--data", type=click.Path(path_type=Path), metavar="DIR",
            help="Where data files lie. [default: $HARNESS_DATA, or the cache folder]",
        ),
        click.option(
            "--results", type=click.Path(path_type=Path), metavar="DIR", help="[default: results/SUITE]"
        ),
    )  # fmt: skip
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


download_option = click.option(
    "--download", is_flag=True, help="Download data sets and weights that are not found. [default: never]"
)
"""Of the commands that look at data."""
plugins_option = click.option(
    "--plugins", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of plugin files."
)
"""Of the commands that look at parts."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print plain data for a program.")


def options(
    overrides: Sequence[str],
    plugins: Sequence[Path],
    data: Path | None,
    results: Path | None,
    download: bool = False,
) -> Options:
    """What the command line says beside the suite; the permission to download is handed on to every process."""
    from harness.locations import DOWNLOAD, data_root
    from harness.session import Options

    if download:
        os.environ[DOWNLOAD] = "1"
        say(f"data sets that are not found are downloaded into {data or data_root()}")
    return Options(tuple(plugins), tuple(overrides), data, results)


def split_setting(setting: str) -> tuple[str, str]:
    """Name and text of `--option NAME=VALUE`."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise click.BadParameter(f"must be NAME=VALUE, got {setting!r}", param_hint="--option")
    return name, text


def option_value(part: PartInfo, option: str, text: str) -> Any:
    """The value that the text gives an option of the part, as JSON or as it stands.

    Raises:
        PluginError: the part has no such option.
    """
    from harness.errors import PluginError
    from harness.registry.catalog import nearest

    known = [*part.options, *part.required]
    if option not in known and not part.open:
        near = nearest(option, known)
        way = f"; did you mean '{near}'?" if near else f" (known: {', '.join(known) or 'none'})"
        raise PluginError(f"{part.kind} '{part.name}' has no option '{option}'{way}")
    try:
        return json.loads(text)
    except ValueError:
        return text


def sides(text: str) -> list[int]:
    """The numbers of `--input-shape CxHxW`."""
    found = text.lower().split("x")
    if not all(side.isdecimal() and int(side) > 0 for side in found):
        message = f"must be whole numbers with x between, such as 3x64x64, got {text!r}"
        raise click.BadParameter(message, param_hint="--input-shape")
    return [int(side) for side in found]


def clean(text: str) -> str:
    """The text with what a terminal would obey shown as code points; line ends stay."""
    from harness.diagnostics import escape

    return "\n".join(map(escape, text.split("\n")))


def counts_text(counts: dict[str, int]) -> str:
    """How many runs of the plan became what."""
    pruned = f"{counts['pruned']} pruned, " if counts["pruned"] else ""
    pruned += f"{counts['not_applicable']} not applicable, " if counts.get("not_applicable") else ""
    return f"{counts['ok']} of {counts['planned']} ok, {pruned}{counts['failed']} failed, {counts['missing']} missing"


RERUN_FAILED = (
    "failed runs are not done again by themselves; where the reason is mended, 'run' with --rerun failed does"
)


def seconds_text(seconds: float) -> str:
    """Seconds with a decimal where that matters: 0.3 s, 45 s, 3 min 20 s."""
    from harness.progress import duration

    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: int = 0) -> str:
    """Aligned columns, numbers to the right."""
    cells = [list(map(str, head)), *([clean(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    right = [bool(rows) and all(isinstance(row[at], int) for row in rows) for at in range(len(head))]
    lines = []
    for row in cells:
        made = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        lines.append(" " * indent + "  ".join(made).rstrip())
    return "\n".join(lines)


def print_json(value: Any) -> None:
    """Plain data on stdout."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def say(text: str, *, quiet: bool = False) -> None:
    """A line about progress, on stderr."""
    if not quiet:
        click.echo(text, err=True)
