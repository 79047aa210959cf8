"""`studies`: the tuning studies of a suite in an Optuna storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.looking import existing
from harness.cli.output import clean, json_option, print_json, suite_command, table


@click.command()
@suite_command
@click.option(
    "--storage",
    metavar="URL",
    help="Any storage that Optuna takes, e.g. postgresql://... [default: sqlite, optuna.db in the results folder]",
)
@json_option
def studies(suite: Path, storage: str | None, as_json: bool, **given: Any) -> None:
    """Write the tuning studies of SUITE into an Optuna storage, for optuna-dashboard, notebooks and Optuna's plots.

    Each becomes a study of the name SUITE/PROBLEM/ARM/REPLICATE; those of an earlier call are replaced. They are
    copies: nothing that is done to them changes a result.
    """
    from harness import results
    from harness import studies as copies

    opened = existing(suite, given)
    folder = opened.store.folder
    url = storage or f"sqlite:///{folder / 'optuna.db'}"
    found = list(copies.export(results.load(folder), url, suite=opened.suite.name))
    if as_json:
        print_json({"storage": url, "studies": [one.__dict__ for one in found]})
        return
    rows = [(one.name, one.trials, "" if one.best is None else f"{one.best:.6g}") for one in found]
    click.echo(table(("study", "trials", "best"), rows))
    click.echo(clean(f"{len(found)} studies in {url}; to look at them: optuna-dashboard {url}"))
