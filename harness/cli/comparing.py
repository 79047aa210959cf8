"""`compare`: the verdicts of a suite in the terminal, and any two of its arms against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.looking import existing
from harness.cli.output import clean, json_option, print_json, suite_command, table

if TYPE_CHECKING:
    from harness.report import Findings

Row = Mapping[str, Any]
"""Of the table `comparisons`."""


@click.command()
@suite_command
@click.argument("arm", required=False)
@click.argument("baseline", required=False)
@json_option
def compare(suite: Path, arm: str | None, baseline: str | None, as_json: bool, **given: Any) -> None:
    """Show the verdicts of SUITE: all, those that ARM is in, or ARM against BASELINE. Nothing is run or written.

    Any two arms may be named. Where the suite declares their comparison, its verdict is shown; any other is
    exploratory: its interval is not adjusted for how many pairs somebody looks at.
    """
    from harness import outputs
    from harness import session as sessions

    opened = existing(suite, given)
    for name in filter(None, (arm, baseline)):
        _check_arm(name, opened.suite.arms)
    if arm is not None and arm == baseline:
        raise click.UsageError(f"'{arm}' cannot be compared with itself (arms: {', '.join(opened.suite.arms)})")
    found = outputs.findings(opened, sessions.walk_records(opened))
    rows = _all(found) if arm is None else _of(found, arm, baseline)
    if as_json:
        print_json(rows)
        return
    click.echo(table(*_table(rows, found)) if rows else "there is nothing to compare")
    if baseline is not None:
        click.echo("\n" + "\n\n".join(clean(str(row["sentence"])) for row in rows))


def _check_arm(name: str, arms: Sequence[str]) -> None:
    from harness.registry.catalog import nearest

    if name not in arms:
        near = nearest(name, arms)
        hint = f"; did you mean '{near}'?" if near else ""
        raise click.UsageError(f"the suite has no arm '{name}' (arms: {', '.join(arms)}){hint}")


def _all(found: Findings) -> list[dict[str, Any]]:
    """Verdicts on pairs, at the settings that were tuned where there are such."""
    rows = found.tables["comparisons"]
    rows = rows[(rows["kind"] == "pair") & (rows["setting"] != "untuned")]
    # As JSON can hold it: nothing in place of a number that there is not.
    plain: list[dict[str, Any]] = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return plain


def _of(found: Findings, arm: str, baseline: str | None) -> list[dict[str, Any]]:
    """The arm against the other, or against every other; declared verdicts are those of the suite."""
    declared = [row for row in _all(found) if row["primary"] and arm in (row["arm"], row["baseline"])]
    rows = []
    for other in [baseline] if baseline is not None else [one for one in found.suite.arms if one != arm]:
        known = [row for row in declared if other in (row["arm"], row["baseline"])]
        rows += known or _explored(found, arm, other)
    return rows


def _explored(found: Findings, arm: str, baseline: str) -> list[dict[str, Any]]:
    from harness import verdict

    pairs = verdict.pair(found.suite, found.tables, found.finals, arm=arm, baseline=baseline)
    return [one.to_plain() for one in pairs]


def _table(rows: Sequence[Row], found: Findings) -> tuple[list[str], list[list[str]]]:
    """Head and cells, the problem left out where there is only one."""
    from harness.report import wording
    from harness.verdict import Measure

    described = found.tables["metrics"].set_index("metric", drop=False)
    measure = Measure.from_row(described.loc[found.suite.compare.metric].to_dict())
    head = ["arm", "against", f"difference in {measure.words}", "interval", "level", "n", "verdict", ""]
    cells = [
        [
            str(row["arm"]),
            str(row["baseline"]),
            *_numbers(row, measure),
            wording.verdict(row["verdict"]),
            "" if row["primary"] else "exploratory",
        ]
        for row in rows
    ]
    if len(found.suite.problems) > 1:
        head.insert(0, "problem")
        cells = [[str(row["problem"]), *line] for row, line in zip(rows, cells, strict=True)]
    return head, cells


def _numbers(row: Row, measure: Any) -> list[str]:
    if row["lo"] is None:
        return ["", "", "", str(row["n"])]
    margin = row["margin"] or 0.0
    places = measure.decimals(row["lo"], row["hi"], 0.0, margin, -margin)
    difference = measure.difference(row["delta"], places)
    return [difference, measure.interval(row["lo"], row["hi"], places), f"{row['level']:.4g}", str(row["n"])]
