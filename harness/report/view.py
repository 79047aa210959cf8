"""What all sections and figures need to know of the findings, worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.report.findings import Findings
from harness.report.layout import Cell, Column
from harness.verdict.format import Measure

if TYPE_CHECKING:
    from harness.suite import Suite

UNTUNED = "untuned"
# Okabe and Ito (2008), without yellow, which cannot be seen on white; the baseline alone is black, and not quite so,
# because matplotlib leaves pure black out of its SVG and a dark page could not turn it light.
COLOURS = ("#0d0d0d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# 6 colours and 7 markers: the pair repeats only after 42 arms.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


@dataclass(frozen=True)
class ArmStyle:
    """How an arm looks in every figure."""

    index: int
    """Its place in the suite; the elements that show it have the class `arm-INDEX`."""
    colour: str
    colour_index: int
    marker: str

    @property
    def gid(self) -> str:
        """The class of the elements that show the arm."""
        return f"arm-{self.index}"


def value_axis(measure: Measure, split: str = "", *, limit: int = 40) -> str:
    """Name and unit of an axis with values of the metric: `test accuracy (%)`, `loss (per example)`."""
    return f"{split} {short(measure.words, limit)} ({measure.value_unit or no_unit(measure)})".strip()


def difference_axis(measure: Measure) -> str:
    """Name and unit of an axis with differences: `difference in test accuracy (pp)`."""
    return f"difference in test {measure.words} ({measure.difference_unit or no_unit(measure)})"


def no_unit(measure: Measure) -> str:
    """What stands for the unit of a metric that has none: a loss is a mean over examples."""
    known = {"loss": "per example", "mse": "target's unit squared", "mae": "target's unit"}
    return known.get(measure.name, "no unit")


@dataclass(frozen=True)
class View:
    """The findings with the questions that several sections ask of them."""

    findings: Findings

    @property
    def suite(self) -> Suite:
        """The question as it was asked."""
        return self.findings.suite

    @property
    def problems(self) -> tuple[str, ...]:
        """Their names, as the suite orders them."""
        return tuple(self.suite.problems)

    @property
    def arms(self) -> tuple[str, ...]:
        """Their names, as the suite orders them."""
        return tuple(self.suite.arms)

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each arm in the suite."""
        return {arm: at for at, arm in enumerate(self.arms)}

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return str(self.suite.compare.baseline)

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """The table, or an empty one with these columns."""
        found = self.findings.tables.get(name)
        return pd.DataFrame(columns=list(columns)) if found is None else found

    @cached_property
    def styles(self) -> Mapping[str, ArmStyle]:
        """How each arm looks; no two of the first 43 look alike."""
        styles, other = {}, 0
        for index, arm in enumerate(self.arms):
            if arm == self.baseline:
                styles[arm] = ArmStyle(index, COLOURS[0], 0, MARKERS[0])
                continue
            colour = 1 + other % (len(COLOURS) - 1)
            styles[arm] = ArmStyle(index, COLOURS[colour], colour, MARKERS[1 + other % (len(MARKERS) - 1)])
            other += 1
        return styles

    def alike(self, arms: Sequence[str]) -> bool:
        """Whether two of the arms have one colour: small marks cannot be told apart then, so each gets a panel."""
        return len({self.styles[arm].colour for arm in arms}) < len(arms)

    @cached_property
    def measure(self) -> Measure:
        """The metric that the verdicts are about."""
        return self.measure_of(str(self.suite.compare.metric))

    def measure_of(self, metric: str) -> Measure:
        """Of any metric; one that nobody describes has no unit, and is minimised when its name says loss."""
        described = self.table("metrics", "metric")
        rows = described[described["metric"] == metric]
        if len(rows):
            return Measure.from_row(rows.iloc[0].to_dict())
        if metric == self.suite.compare.metric:
            extra = self.suite.metric.extra
            return Measure(metric, extra["direction"], extra.get("unit") or "")
        return Measure(metric, "minimize" if "loss" in metric else "maximize")

    @cached_property
    def main_setting(self) -> str:
        """The setting that the primary verdicts are about: `tuned`, or `given` without tuning."""
        return "tuned" if self.suite.tuning.trials else "given"

    def settings(self, frame: pd.DataFrame) -> list[str]:
        """Settings that occur, the main one first and the untuned one last."""
        found = set(frame["setting"]) if len(frame) else set()
        rank = {self.main_setting: 0, UNTUNED: 2}
        return sorted(found, key=lambda setting: (rank.get(setting, 1), setting))

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """All verdicts."""
        return self.table("comparisons", "kind", "primary", "problem", "arm", "setting", "verdict", "sentence")

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """The verdicts that compare two arms."""
        return self.comparisons[self.comparisons["kind"] == "pair"]

    @cached_property
    def primary(self) -> pd.DataFrame:
        """The verdicts that the suite declared."""
        return self.comparisons[self.comparisons["primary"].astype(bool)]

    def finals(self, problem: str, setting: str) -> pd.DataFrame:
        """Final runs of one problem and setting, in the order of arms and replicates."""
        rows = self.findings.finals
        rows = rows[(rows["problem"] == problem) & (rows["setting"] == setting)]
        return rows.assign(_arm=rows["arm"].map(self.order)).sort_values(["_arm", "replicate"]).drop(columns="_arm")

    @cached_property
    def codes(self) -> frozenset[str]:
        """Codes of the remarks."""
        return frozenset(remark.code for remark in self.findings.remarks)

    @cached_property
    def clocks_comparable(self) -> bool:
        """False under H008: then no time is shown."""
        cost = self.table("cost", "comparable")
        return "H008" not in self.codes and bool(cost["comparable"].fillna(False).astype(bool).all())

    def details(self, problem: str, arm: str, part: str = "task") -> list[tuple[int, Mapping[str, Any]]]:
        """What the arm's final runs kept of the test set, by replicate; those that have such a part of it."""
        kept = self.findings.details
        mine = sorted(key for key in kept if key[:2] == (problem, arm))
        return [(key[2], kept[key]) for key in mine if kept[key].get(part)]

    def detail_arm(self, problem: str) -> str:
        """The arm whose mistakes are shown: as the suite asks, else that with the best mean, else the baseline."""
        if self.suite.report.arm is not None:
            return self.suite.report.arm
        summary = self.table("summary", "problem", "arm", "setting", "metric", "mean")
        keep = (summary["problem"] == problem) & (summary["setting"] == self.main_setting)
        rows = summary[keep & (summary["metric"] == self.measure.name)].set_index("arm")["mean"].dropna()
        able = [arm for arm in self.arms if arm in rows.index and self.details(problem, arm)]
        return max(able, key=lambda arm: self.measure.sign * float(rows[arm]), default=self.baseline)

    def class_names(self, problem: str) -> list[str]:
        """The names of the classes, or their numbers where the data set names none."""
        rows = self.table("classes", "problem", "class", "name")
        rows = rows[rows["problem"] == problem].drop_duplicates("class").sort_values("class")
        return [
            str(n) if isinstance(n, str) and n else str(c) for c, n in zip(rows["class"], rows["name"], strict=True)
        ]

    def problem_column(self) -> list[Column]:
        """The column that tells problems apart, where there are several."""
        return [Column("Problem")] if len(self.problems) > 1 else []

    def problem_cell(self, problem: str) -> list[Cell]:
        """The cell of that column."""
        return [Cell(problem)] if len(self.problems) > 1 else []

    def arm_cell(self, arm: str) -> Cell:
        """The arm's name after its marker."""
        return Cell(arm, arm=arm)

    def slug(self, problem: str) -> str:
        """The problem in file names and ids; empty when there is one problem only."""
        if len(self.problems) == 1:
            return ""
        safe = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in problem)
        return f"-{self.problems.index(problem) + 1}-{safe[:40].strip('-')}".rstrip("-")


def short(text: str, limit: int = 26) -> str:
    """The text, its middle left out when it is too long for a figure; control characters are shown as spaces."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split()) or "?"
    if len(text) <= limit:
        return text
    head = (limit - 1 + 1) // 2
    return f"{text[:head]}…{text[-(limit - 1 - head) :]}"
