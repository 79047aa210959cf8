"""Which arm won, in clauses: what the report's first line says between its opening and its small print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scipy import stats

from harness.verdict.format import Measure, listed
from harness.verdict.judgement import ERROR_RATE, Code, Verdict
from harness.verdict.words import row_decimals, units

SPELLED_OUT = 6
"""Up to so many primary verdicts each is written with its own interval; more are summed up by word."""
Senseless = Mapping[tuple[str, str], str]
"""By problem and arm, why a strategy has no meaning there."""


def winner(verdicts: Sequence[Verdict], *, problem: str) -> str | None:
    """The arm that is `better` than every other arm of the problem, if there is one: the only one to print in bold.

    By primary verdicts, which are adjusted, and by exploratory ones at the error rate shared out among problems and
    looks: those against arms that are not the baseline, or of arms that are not declared. Among the arms of one problem
    it need not be shared: to be called best wrongly, an arm must beat the truly best one, which happens at the rate of
    one comparison (Gutmann and Maymin 1987, Annals of Statistics 15, 456-461). Each further problem, and each look, is
    another chance of that.
    """
    here, rate = _judged_here(verdicts, problem), best_rate(verdicts)
    arms = {name for verdict in here for name in (verdict.arm, verdict.baseline)}
    told = [verdict for verdict in here if verdict.primary or _clear(verdict, rate)]
    beaten = {(verdict.arm, verdict.baseline) for verdict in told if verdict.verdict == "better"}
    beaten |= {(verdict.baseline, verdict.arm) for verdict in told if verdict.verdict == "worse"}
    return next((arm for arm in sorted(arms) if all((arm, other) in beaten for other in arms - {arm})), None)


def best_rate(verdicts: Sequence[Verdict]) -> float:
    """The error rate of "best" on each problem: all of them together, at every look, then have that of one verdict."""
    primary = [verdict for verdict in verdicts if verdict.primary]
    problems = len({verdict.problem for verdict in primary})
    return ERROR_RATE / max(1, problems * max((verdict.looks for verdict in primary), default=1))


def _clear(verdict: Verdict, rate: float) -> bool:
    """Whether the interval at another error rate lies beyond the margin too.

    With n - 1 degrees of freedom, as every paired interval has; Welch's has as many or more, and is then narrower.
    """
    if verdict.lo is None or verdict.hi is None or verdict.delta is None:
        return False
    wider = float(stats.t.isf(rate / 2, verdict.n - 1) / stats.t.isf(verdict.alpha / 2, verdict.n - 1))
    return abs(verdict.delta) - wider * (verdict.hi - verdict.lo) / 2 > (verdict.margin or 0.0)


def rivals(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The leading arm against arms that are better than the baseline too: whether the front is decided."""
    ahead = {(v.problem, v.arm) for v in verdicts if v.primary and v.verdict in ("better", "better_small")}
    return [
        verdict
        for verdict in verdicts
        if verdict.setting != "untuned"
        and {(verdict.problem, verdict.arm), (verdict.problem, verdict.baseline)} <= ahead
    ]


def without_meaning(verdict: Verdict, senseless: Senseless) -> list[str]:
    """Which of the two arms have no meaning on the problem."""
    return [arm for arm in (verdict.arm, verdict.baseline) if (verdict.problem, arm) in senseless]


def reasons(verdicts: Sequence[Verdict], senseless: Senseless) -> str:
    """`norm_only does not apply to mnist-mlp (the model has no norm layer)`, for each such arm."""
    where: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        for arm in without_meaning(verdict, senseless):
            problems = where.setdefault((arm, senseless[verdict.problem, arm]), [])
            problems += [verdict.problem] if verdict.problem not in problems else []
    return "; ".join(f"{arm} does not apply to {listed(names)} ({why})" for (arm, why), names in where.items())


@dataclass(frozen=True)
class Answer:
    """The primary verdicts in words, and how the arms at the front compare among themselves."""

    verdicts: Sequence[Verdict]
    metric: Measure
    senseless: Senseless = field(default_factory=dict)

    @property
    def primary(self) -> list[Verdict]:
        """The verdicts that the suite declared."""
        return [verdict for verdict in self.verdicts if verdict.primary]

    @property
    def problems(self) -> list[str]:
        """The problems that they are about, each once."""
        return list(dict.fromkeys(verdict.problem for verdict in self.primary))

    @property
    def what(self) -> str:
        """`test accuracy`."""
        return f"{self.primary[0].split} {self.metric.words}"

    @property
    def margin(self) -> str:
        """The declared margin in words; empty where none is declared."""
        margin = self.primary[0].margin
        return "" if margin is None else self.metric.margin(margin)

    def text(self) -> str:
        """All clauses, the clearest first."""
        best = {problem: winner(self.verdicts, problem=problem) for problem in self.problems}
        arms = {name for verdict in self.primary for name in (verdict.arm, verdict.baseline)}
        crowned = {problem: name for problem, name in best.items() if name and len(arms) > 2}
        if len(self.problems) == 1 and crowned:
            return "; ".join([self._best(crowned[self.problems[0]]), *self._rest(crowned[self.problems[0]])])
        clauses = [self._crowns(crowned, len(arms))] if crowned else []
        clauses += [self._clause(part) for part in self._parts()]
        return "; ".join([*clauses, *(self._front(verdict) for verdict in rivals(self.verdicts))])

    def _by_clarity(self) -> list[Verdict]:
        order: tuple[Code, ...] = ("better", "better_small", "worse", "worse_small", "equivalent", "undecided")
        return sorted(self.primary, key=lambda v: order.index(v.verdict) if v.verdict in order else len(order))

    # One arm is best.

    def _best(self, best: str) -> str:
        here = [v for v in _judged_here(self.verdicts, self.problems[0]) if best in (v.arm, v.baseline)]
        others = [verdict.baseline if verdict.arm == best else verdict.arm for verdict in here]
        up = self._way(1)
        if len(here) > SPELLED_OUT:
            size = f"at least {self.metric.roughly(min(map(_nearest, here)))} {up} than that of every other arm"
        else:
            size = listed(
                [f"{self._amount(v)} {up} than that of {other}" for v, other in zip(here, others, strict=True)]
            )
        margin = (
            f", {'each ' if len(here) > 1 else ''}more than the {self.margin} declared to matter" if self.margin else ""
        )
        return f"{best} is the best of {len(here) + 1}: its {self.what} is {size}{margin}"

    def _rest(self, best: str) -> list[str]:
        """The primary verdicts about other arms, in words only; none when the baseline is best."""
        rest = [v for v in self._by_clarity() if best not in (v.arm, v.baseline)]
        texts = {
            "better": "{} better than {}",
            "better_small": "{} better than {}",
            "worse": "{} worse than {}",
            "worse_small": "{} worse than {}",
            "equivalent": "{} equivalent to {}",
            "identical": "{} the same computation as {}",
            "undecided": "{} not separated from {}",
            "not_compared": "{} not compared with {}",
            "equal": "{} in no replicate different from {}",
            "senseless": "{} not applicable",
        }
        groups: dict[str, list[Verdict]] = {}
        for verdict in rest:
            word = self._word(verdict)
            groups.setdefault(texts.get(word, texts[verdict.verdict]), []).append(verdict)
        return [
            text.format(f"{self._names(group)} {_verb(group)}", group[0].baseline) for text, group in groups.items()
        ]

    def _crowns(self, crowned: dict[str, str], arms: int) -> str:
        names = dict.fromkeys(crowned.values())
        on = {name: listed([problem for problem, best in crowned.items() if best == name]) for name in names}
        return listed([f"{name} is the best of {arms} on {problems}" for name, problems in on.items()])

    # A clause for each word, and for the arms that it is said of on the same problems.

    def _word(self, verdict: Verdict) -> str:
        """The verdict's code, or more exactly why two arms were not compared."""
        if verdict.verdict != "not_compared":
            return verdict.verdict
        if without_meaning(verdict, self.senseless):
            return "senseless"
        return "equal" if verdict.sd == 0 and verdict.delta == 0 else verdict.verdict

    def _parts(self) -> list[list[Verdict]]:
        """The primary verdicts by word, and each word's by the problems that its arms share."""
        parts: list[list[Verdict]] = []
        for word in dict.fromkeys(map(self._word, self._by_clarity())):
            group = [verdict for verdict in self.primary if self._word(verdict) == word]
            on = {arm: tuple(v.problem for v in group if v.arm == arm) for arm in dict.fromkeys(v.arm for v in group)}
            shared = list(dict.fromkeys(on.values()))
            if len(shared) > 1 and len(group) > SPELLED_OUT:
                parts.append(group)
            else:
                parts += [[v for v in group if on[v.arm] == problems] for problems in shared]
        return parts

    def _clause(self, part: Sequence[Verdict]) -> str:
        return self._where(part) + self._group(part)

    def _where(self, part: Sequence[Verdict]) -> str:
        """`on a, `: where the opening names other problems too, and the numbers do not say it."""
        if self._word(part[0]) == "senseless":
            return ""
        problems = list(dict.fromkeys(verdict.problem for verdict in part))
        if len(problems) == len(self.problems) or self._mixed(part) or self._labelled(part):
            return ""
        if len(problems) > 3:
            return f"on {len(problems)} of {len(self.problems)} problems, "
        return f"{listed([f'on {problem}' for problem in problems])}, "

    def _group(self, part: Sequence[Verdict]) -> str:
        code, other, names = self._word(part[0]), part[0].baseline, self._names(part)
        if code == "senseless":
            return reasons(part, self.senseless)
        verb = "is" if self._mixed(part) or len({verdict.arm for verdict in part}) == 1 else "are"
        start = {
            "better": f"{names} {verb} better than {other}{self._limit('by more than')}",
            "worse": f"{names} {verb} worse than {other}{self._limit('by more than')}",
            "better_small": f"{names} {verb} better than {other}{self._limit(', though perhaps by less than')}",
            "worse_small": f"{names} {verb} worse than {other}{self._limit(', though perhaps by less than')}",
            "equivalent": f"{names} {verb} equivalent to {other}{self._limit(', differing by less than')}",
            "undecided": f"it is not decided whether {names} {verb} better or worse than {other}",
            "identical": f"{names} {verb} the same computation as {other}",
            "not_compared": f"{names} cannot be compared with {other}",
            "equal": f"{names} did not differ from {other} in any of the {units(part[0], max(v.n for v in part))}",
        }[code]
        if code in ("identical", "not_compared", "equal"):
            return start
        if code in ("equivalent", "undecided"):
            if len(part) > 1 and len(self.primary) > SPELLED_OUT:
                return f"{start}: together their intervals reach from {self._ranges(part)} in {self.what}"
            return f"{start}: a {self.what} anywhere from {self._ranges(part)} fits these runs"
        return f"{start}: {self.what} {self._amounts(part)}"

    def _mixed(self, part: Sequence[Verdict]) -> bool:
        """Too many arms, each with problems of its own, to name them."""
        return len({tuple(v.problem for v in part if v.arm == arm) for arm in {v.arm for v in part}}) > 1

    def _labelled(self, part: Sequence[Verdict]) -> bool:
        """Each number says which problem it is of."""
        written = part[0].verdict not in ("identical", "not_compared") and len(self.primary) <= SPELLED_OUT
        return written and len({verdict.problem for verdict in part}) > 1

    def _label(self, verdict: Verdict, part: Sequence[Verdict]) -> str:
        if not self._labelled(part):
            return ""
        return (
            f" on {verdict.problem}" if len({v.arm for v in part}) == 1 else f" for {verdict.arm} on {verdict.problem}"
        )

    def _limit(self, words: str) -> str:
        if not self.margin:
            return ""
        return f"{'' if words.startswith(',') else ' '}{words} the {self.margin} declared to matter"

    def _front(self, verdict: Verdict) -> str:
        one, other = verdict.arm, verdict.baseline
        where = f" on {verdict.problem}" if len(self.problems) > 1 else ""
        if verdict.lo is None:
            word = "the same computation" if verdict.verdict == "identical" else "not compared"
            return f"{one} and {other} are {word}{where}"
        if verdict.verdict in ("undecided", "equivalent"):
            word = "not separated" if verdict.verdict == "undecided" else "equivalent"
            return f"{one} and {other} are {word}{where} ({self._range(verdict)} for {one})"
        return f"{one} is also better than {other}{where} ({self._amount(verdict)} {self._way(1)})"

    def _names(self, part: Sequence[Verdict]) -> str:
        arms, compared = dict.fromkeys(v.arm for v in part), {verdict.arm for verdict in self.primary}
        if self._mixed(part):
            return f"in {len(part)} of {len(self.primary)} comparisons the arm"
        return listed(list(arms)) if len(arms) <= SPELLED_OUT else f"{len(arms)} of {len(compared)} arms"

    # Numbers. Written is the metric's own direction; stored is positive for better.

    def _way(self, sign: float) -> str:
        return "higher" if sign * self.metric.sign > 0 else "lower"

    def _amounts(self, group: Sequence[Verdict]) -> str:
        way = self._way(group[0].delta or 0.0)
        if len(self.primary) > SPELLED_OUT:
            return f"at least {self.metric.roughly(min(map(_nearest, group)))} {way}"
        if self._labelled(group):
            return listed([f"{self._amount(verdict)} {way}{self._label(verdict, group)}" for verdict in group])
        return f"{listed([self._amount(verdict) for verdict in group])} {way}"

    def _amount(self, verdict: Verdict) -> str:
        assert verdict.delta is not None
        assert verdict.lo is not None
        assert verdict.hi is not None
        places = row_decimals(verdict, self.metric)
        low, high = sorted((abs(verdict.lo), abs(verdict.hi)))
        return f"{self.metric.difference(abs(verdict.delta), places)} ({self.metric.span(low, high, places)})"

    def _ranges(self, group: Sequence[Verdict]) -> str:
        if len(self.primary) > SPELLED_OUT:
            ends = [(verdict.lo or 0.0, verdict.hi or 0.0) for verdict in group]
            lo, hi = min(lo for lo, _ in ends), max(hi for _, hi in ends)
            lowest, highest = sorted((lo, hi), key=lambda end: end * self.metric.sign)
            return " to ".join(f"{self.metric.roughly(abs(end))} {self._way(end)}" for end in (lowest, highest))
        first, *others = [self._range(verdict) + self._label(verdict, group) for verdict in group]
        return listed([first, *(f"from {one}" for one in others)], "or")

    def _range(self, verdict: Verdict) -> str:
        assert verdict.lo is not None
        assert verdict.hi is not None
        places = row_decimals(verdict, self.metric)
        if verdict.lo * verdict.hi >= 0:
            low, high = sorted((abs(verdict.lo), abs(verdict.hi)))
            unit = f" {self.metric.difference_unit}".rstrip()
            return f"{self.metric.span(low, high, places)}{unit} {self._way(verdict.lo + verdict.hi)}"
        ends = sorted((verdict.lo, verdict.hi), key=lambda end: end * self.metric.sign)
        return " to ".join(f"{self.metric.difference(abs(end), places)} {self._way(end)}" for end in ends)


def _judged_here(verdicts: Sequence[Verdict], problem: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.problem == problem and verdict.setting != "untuned"]


def _verb(group: Sequence[Verdict]) -> str:
    return "is" if len(group) == 1 else "are"


def _nearest(verdict: Verdict) -> float:
    return min(abs(verdict.lo or 0.0), abs(verdict.hi or 0.0))
