"""What a comparison says: the verdict as one row of the table `comparisons`, and the question it belongs to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.spec import STREAMS
from harness.suite.checks import lacking_controls

if TYPE_CHECKING:
    from harness.hookspecs import Plain
    from harness.suite import Setting, Suite

Code = Literal[
    "better",
    "worse",
    "equivalent",
    "better_small",
    "worse_small",
    "undecided",
    "identical",
    "not_compared",
    "reproduced",
    "not_reproduced",
]
CLAIMED: tuple[Code, ...] = ("better", "worse", "equivalent", "better_small", "worse_small")
"""The codes that claim something about the difference."""

ERROR_RATE = 0.05
"""Of a whole family of primary verdicts, and of each exploratory one."""

SMALLEST_N = 3
"""Below this there is no interval worth the name, so no verdict."""


@dataclass(frozen=True)
class Verdict:
    """One row of `comparisons`: the answer to "is this arm better than that one here", with all its numbers.

    Differences are positive where the arm is better than the baseline, in the metric's unit. A number that does not
    exist (the interval of two points) is None.
    """

    question: str
    kind: str
    """`pair`: one arm against another on one problem; `claim`: one arm against a published value."""
    primary: bool
    """Part of the family that the suite declared; the others are exploratory and not adjusted."""
    family_size: int
    looks: int
    """Verdicts that may be read with more and more replicates; 1 for exploratory ones, which are not adjusted."""
    problem: str
    arm: str
    baseline: str
    """The other arm; of a claim what is claimed, in words."""
    metric: str
    split: str
    setting: str
    claim: str
    """`method`, `setting`; where nothing was tuned `given`, or `defaults` if the suite gives the arms no option."""
    paired: bool
    paired_on: str
    """The seed streams that both arms share in a replicate."""
    n: int
    """Replicates that both arms have; unpaired, the smaller number of runs."""
    failed_arm: int
    failed_baseline: int
    delta: float | None
    sd: float | None
    lo: float | None
    hi: float | None
    level: float
    method: str
    """`paired t`, `paired t of checkpoint means`, `Welch t`, ..., or `none`."""
    p_t: float | None
    p_holm: float | None
    p_signflip: float | None
    p_floor: float | None
    """The smallest `p_signflip` possible with n differences."""
    p_tost: float | None
    wins: int | None
    wins_n: int | None
    """Replicates that are no ties."""
    wins_lo: float | None
    wins_hi: float | None
    p_superior: float | None
    margin: float | None
    mde80: float | None
    """The difference that so many replicates find in 4 of 5 cases."""
    more: int | None
    """Replicates still needed to find the margin in 4 of 5 cases, and its range."""
    more_lo: int | None
    more_hi: int | None
    agree: int
    """How many of the further analyses support the verdict."""
    analyses: int
    verdict: Code
    sentence: str

    @property
    def alpha(self) -> float:
        """The error rate of this verdict's interval: the family's, divided by its size and by the looks."""
        return ERROR_RATE / (self.family_size * self.looks)

    def to_plain(self) -> dict[str, Plain]:
        """The row as plain data for JSON."""
        return dataclasses.asdict(self)


def or_none(number: float) -> float | None:
    """The number, None where it does not exist."""
    return None if math.isnan(number) else number


@dataclass(frozen=True)
class Context:
    """What a verdict must know of its suite to word the answer and to size the family."""

    question: str
    problems: tuple[str, ...]
    arms: tuple[str, ...]
    trials: int
    """Of each study; 0: every arm as the suite gives it, else at its parts' defaults."""
    noun: str = "arm"
    """What the arms are: `optimizer`, `model`, `strategy`, ... where they differ in nothing else."""
    split: str = "test"
    checkpoints: int | None = None
    """Trained networks that the runs start from, replicate r from checkpoint r mod so many; None: from chance."""
    averaged: bool = False
    """Whether several replicates start from each of several checkpoints, so that one of n is a checkpoint."""
    lacks: tuple[str, ...] = ()
    """Controls of a fine-tuning suite that no arm is, by `controls = false`."""
    stepless: tuple[str, ...] = ()
    """Arms that take no steps, and so are not matched in steps with the others."""
    untuned: Literal["given", "defaults"] = "defaults"
    """What runs without tuning show: arms with options that the suite gives, or none but the parts' defaults."""

    @property
    def setting(self) -> str:
        """The setting that is judged: `tuned`, or `given` without tuning."""
        return "tuned" if self.trials else "given"


def context_of(suite: Suite) -> Context:
    """The context of a loaded suite."""
    return Context(
        question=suite.question,
        problems=suite.problems,
        arms=suite.arms,
        trials=suite.tuning.trials,
        noun=_noun(suite),
        checkpoints=checkpoints_of(suite),
        averaged=averaged_over(checkpoints_of(suite), replicates=suite.compare.replicates) is not None,
        lacks=() if suite.source is None else lacking_controls(setting.values for setting in suite.settings),
        stepless=suite.stepless,
        untuned=_untuned(suite),
    )


def checkpoints_of(suite: Suite) -> int | None:
    """Trained networks that the suite's runs start from; None where they start from chance."""
    return None if suite.source is None else int(suite.source.replicates)


def averaged_over(checkpoints: int | None, *, replicates: int) -> int | None:
    """Checkpoints, where several replicates start from each of several: values are averaged within one first."""
    return checkpoints if checkpoints is not None and 1 < checkpoints < replicates else None


def _untuned(suite: Suite) -> Literal["given", "defaults"]:
    """Whether the suite gives an option of that which its arms differ in."""
    differing = _differing(suite)
    return "given" if any(differing & setting.given for setting in suite.settings) else "defaults"


def shared_streams(suite: Suite, *, problem: str, arm: str, baseline: str) -> str:
    """The seed streams that two arms share in every replicate, as the column `paired_on` lists them.

    Arms with another model share no initial weights, and arms with another data set share nothing.
    """
    one, other = (_setting(suite, problem, name).values for name in (arm, baseline))
    if one["dataset"] != other["dataset"]:
        return ""
    return ", ".join(name for name in STREAMS if name != "init" or one["model"] == other["model"])


def _setting(suite: Suite, problem: str, arm: str) -> Setting:
    return next(setting for setting in suite.settings if (setting.problem, setting.arm) == (problem, arm))


def _differing(suite: Suite) -> set[str]:
    """Keys of [problem] of which some arm has another value than the baseline."""
    differing: set[str] = set()
    for setting in suite.settings:
        mine, other = setting.values, _setting(suite, setting.problem, suite.compare.baseline).values
        differing |= {key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)}
    return differing


def _noun(suite: Suite) -> str:
    differing = _differing(suite)
    kinds = {"dataset", "model", "loss", "optimizer", "schedule", "strategy", "augmentation"}
    return differing.pop() if len(differing) == 1 and differing <= kinds else "arm"
