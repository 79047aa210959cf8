"""Results in Python and in notebooks: `harness.load("results/optimizers")`."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.errors import ResultsError
from harness.hookspecs import domain_from_plain
from harness.tables import columns

if TYPE_CHECKING:
    import optuna

_READ_AS = {"string": "str", "datetime": "str", "integer": "Int64", "number": "float64", "boolean": "boolean"}


@dataclass(frozen=True)
class Results:
    """The tables of one results folder as frames; in a notebook it shows the answer and the summary."""

    folder: Path

    @cached_property
    def answer(self) -> str:
        """The first line of the report."""
        return str(json.loads((self.folder / "report" / "answer.json").read_text())["headline"])

    def table(self, name: str) -> pd.DataFrame:
        """One of the tables, with the columns that `results/README.md` documents.

        Raises:
            ResultsError: there is no such table.
        """
        if name not in columns.TABLES:
            raise ResultsError(f"no table '{name}' (known: {', '.join(columns.TABLES)})")
        if not (path := self.folder / "tables" / f"{name}.csv").is_file():
            raise ResultsError(
                f"no {path}: an earlier harness wrote the tables; 'harness report SUITE' writes them anew"
            )
        types = {column.name: _READ_AS[column.type] for column in columns.TABLES[name][1]}
        missing = {name: [""] for name, dtype in types.items() if dtype != "str"}
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run."""
        return self.table("runs")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a (problem, arm, setting, metric)."""
        return self.table("summary")

    @cached_property
    def classes(self) -> pd.DataFrame:
        """One row a (final run, class): precision, recall, F1 and area under the ROC curve on the test split."""
        return self.table("classes")

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """One row a (final run, true class, predicted class), with the number of such test examples."""
        return self.table("confusion")

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """One row a (final run with a source, block): what was trained of it, and how far it moved."""
        return self.table("blocks")

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row a verdict."""
        return self.table("comparisons")

    def study(self, arm: str, replicate: int, *, problem: str | None = None) -> optuna.Study:
        """The tuning study of an arm in a replicate, for Optuna's own plots and importances.

        Raises:
            ResultsError: nothing was tuned, no such study, or several problems to choose from.
        """
        studies = self.table("studies")
        if studies.empty:
            raise ResultsError(f"nothing was tuned in {self.folder}, so there is no study")
        found = studies[(studies["arm"] == arm) & (studies["replicate"] == replicate)]
        if problem is not None:
            found = found[found["problem"] == problem]
        if len(found) != 1:
            problems = ", ".join(sorted(set(studies["problem"])))
            raise ResultsError(
                f"{len(found)} studies of arm '{arm}', replicate {replicate} (arms: "
                f"{', '.join(sorted(set(studies['arm'])))}; problems: {problems}; name one with problem=)"
            )
        return self._study(found.iloc[0])

    def _study(self, row: Mapping[str, Any]) -> optuna.Study:
        from harness.tune.asking import Told, rebuild

        space = {name: domain_from_plain(domain) for name, domain in json.loads(row["space"]).items()}
        trials, parameters = self.table("trials"), self.table("trial_parameters")
        trials = trials[trials["study_id"] == row["study_id"]]
        parameters = parameters[parameters["study_id"] == row["study_id"]]
        chosen: dict[int, dict[str, Any]] = {int(number): {} for number in trials["trial"]}
        for line in parameters.to_dict("records"):
            value = json.loads(line["text"]) if line["text"] else line["value"]
            chosen[line["trial"]][line["name"]] = value
        reported = self._reported(row)
        told = []
        for trial in trials.sort_values("trial").to_dict("records"):
            value = None if pd.isna(trial["told"]) or trial["state"] == "pruned" else float(trial["told"])
            seen = reported.get(trial["trial"], ()) if trial["state"] != "failed" else ()
            told.append(Told(chosen[trial["trial"]], value, seen, trial["state"] == "pruned"))
        return rebuild(str(row["study_id"]), str(row["direction"]), space, told)

    def _reported(self, row: Mapping[str, Any]) -> dict[int, tuple[float, ...]]:
        """Intermediate values of the trials of a study: means over their repeats, or with `wilcoxon` the repeats."""
        runs, evaluations = self.runs, self.table("evaluations")
        for name in ("problem", "arm", "replicate"):
            runs = runs[runs[name] == row[name]]
        runs = runs[(runs["phase"] == "tune") & (runs["run_id"] != "")]
        values = evaluations[(evaluations["split"] == "validation") & (evaluations["metric"] == row["metric"])]
        if row["pruner"] == "wilcoxon" and (runs["epoch_rule"] == "early_stopping").all():
            values = values[values["selected"]]  # one value a run
        curves = {run_id: list(some) for run_id, some in values.groupby("run_id", sort=False)["value"]}
        found = {}
        for number, some in runs.groupby("trial"):
            mine = [curves.get(run_id, []) for run_id in some.sort_values("repeat")["run_id"]]
            if row["pruner"] == "wilcoxon":
                last, best = some["epoch_rule"].iloc[0] == "last", max if row["direction"] == "maximize" else min
                mine = [[curve[-1] if last else best(curve) for curve in mine if curve]]
            found[int(number)] = tuple(math.fsum(step) / len(step) for step in zip(*mine, strict=False))
        return found

    def _repr_html_(self) -> str:
        shown = self.summary[self.summary["setting"] != "untuned"][
            ["problem", "arm", "metric", "n_ok", "n", "mean", "lo", "hi"]
        ]
        return f"<p>{html.escape(self.answer)}</p>{shown.to_html(index=False, escape=True)}"


def load(folder: str | Path) -> Results:
    """The results in a folder such as `results/optimizers`.

    Raises:
        ResultsError: nothing was reported there.
    """
    path = Path(folder)
    if not (path / "tables" / "runs.csv").is_file():
        raise ResultsError(f"no tables in {path}; 'harness run SUITE' or 'harness report SUITE' writes them")
    return Results(path)
