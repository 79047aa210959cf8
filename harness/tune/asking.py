"""What a study tries next: Optuna asked, or what it answered before. The only file that knows Optuna.

An answer follows from the study's key, how it is asked, and all that was told; a chain of hashes over these is the
question under which a memo keeps it. So a finished study is walked without importing Optuna, and one that goes on is
rebuilt from what was told: each trial has a fresh sampler seeded from (study, trial number).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness import pruning
from harness.hookspecs import Choice, Domain, Int, domain_to_plain
from harness.spec import digest, seed
from harness.tune.memo import Memo

if TYPE_CHECKING:
    import optuna

FORMAT = 1
"""Raised when this file asks in another way, so that nothing kept before is found."""
Setting = dict[str, Any]
"""Dotted option -> value."""


@dataclass(frozen=True)
class Method:
    """One study, and how it is asked."""

    key: str
    direction: str
    space: Mapping[str, Domain]
    sampler: str = "tpe"
    pruner: str = "none"
    trials: int = 1
    batch: int = 1
    evaluations: int = 1
    """Of each run."""

    @property
    def startup(self) -> int:
        """Trials drawn at random before a model is made of them.

        With Hyperband a model sees its own bracket alone, so each bracket takes its share of them, but at least two.
        """
        whole = max(5, self.trials // 5)
        return max(2, whole // pruning.brackets(self.evaluations)) if self.bracketed else whole

    @property
    def bracketed(self) -> bool:
        """Whether the sampler models each bracket of Hyperband by itself; the others look at no values at all."""
        return self.pruner == "hyperband" and self.sampler in ("tpe", "gp")

    def question(self) -> str:
        """Hash of all that answers follow from before anything was told."""
        plain = {name: domain_to_plain(domain) for name, domain in self.space.items()}
        how = [self.direction, plain, list(self.space), self.sampler, self.pruner, self.startup, self.batch > 1]
        return digest([FORMAT, self.key, *how, self.evaluations if self.bracketed else 0, versions()])


@dataclass(frozen=True)
class Told:
    """What Optuna is told of a trial."""

    setting: Mapping[str, Any]
    value: float | None
    """None: it failed and there is nothing to count it as."""
    reported: tuple[float, ...] = ()
    """Intermediate values from step 1 on."""
    pruned: bool = False


@cache
def versions() -> list[str]:
    """Versions of the libraries that proposals come from."""
    return [metadata.version(name) for name in ("optuna", "numpy", "scipy", "torch")]


class Asker:
    """Proposes settings for one study, batch by batch."""

    def __init__(self, method: Method, memo: Memo) -> None:
        self.method, self.memo = method, memo
        self._chain = method.question()
        self._told: list[Told] = []
        self._study: optuna.Study | None = None
        self._known = 0
        """How much of what was told the study has."""
        self._live: list[optuna.trial.Trial] = []
        """Trials of the study that wait to be told; none where they came from the memo."""

    def ask(self, count: int) -> list[Setting]:
        """The settings of the next trials; `tell` must follow."""
        kept = self.memo.get(self._chain)
        if self._fits(kept, count):
            self._chain = digest([self._chain, kept[:count]])
            return [{name: setting[name] for name in self.method.space} for setting in kept[:count]]
        study = self._caught_up()
        self._live = [self._ask(study, len(self._told) + place) for place in range(count)]
        settings = [dict(trial.params) for trial in self._live]
        self.memo.put(self._chain, settings)
        self._chain = digest([self._chain, settings])
        return settings

    def _fits(self, kept: Any, count: int) -> bool:
        """Whether a kept answer is one: so many settings at least, each of them inside the space."""
        space = self.method.space
        return (
            isinstance(kept, list)
            and len(kept) >= count
            and all(
                isinstance(one, dict)
                and one.keys() == space.keys()
                and all(one[name] in domain for name, domain in space.items())
                for one in kept
            )
        )

    def tell(self, told: Sequence[Told]) -> None:
        """What became of the trials that were asked for last."""
        self._told += told
        if self._live and self._study is not None:
            for trial, one in zip(self._live, told, strict=True):
                _tell(self._study, trial, one)
            self._live, self._known = [], len(self._told)
        self._chain = digest([self._chain, [[one.value, one.reported, one.pruned] for one in told]])

    def hopeless(self, repeats: Sequence[Sequence[float]]) -> list[bool]:
        """Which trials Optuna's WilcoxonPruner stops, by their values in the repeats done so far."""
        question = digest([self._chain, "wilcoxon", [list(values) for values in repeats]])
        kept = self.memo.get(question)
        if isinstance(kept, list) and len(kept) == len(repeats) and all(isinstance(one, bool) for one in kept):
            return kept
        import optuna

        study, made = self._caught_up(), []
        with _quietly():
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=pruning.WILCOXON_P)
            for values in repeats:
                reported = dict(enumerate(values, start=1))
                state = optuna.trial.TrialState.RUNNING
                made.append(pruner.prune(study, optuna.trial.create_trial(state=state, intermediate_values=reported)))
        self.memo.put(question, made)
        return made

    def _caught_up(self) -> optuna.Study:
        """The study in memory, with every trial that was told."""
        if self._study is None:
            self._study = _study(self.method)
        distributions = _distributions(self.method.space)
        for number, told in enumerate(self._told[self._known :], start=self._known):
            if self.method.sampler == "qmc":
                # How far a quasi-random sequence got is kept in the study by asking, and nowhere else.
                _tell(self._study, self._ask(self._study, number), told)
            else:
                self._study.add_trial(_frozen(told, distributions))
        self._known = len(self._told)
        return self._study

    def _ask(self, study: optuna.Study, number: int) -> optuna.trial.Trial:
        with _quietly():
            study.sampler = _sampler(self.method, number)
            return study.ask(_distributions(self.method.space))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings of what is marked experimental and used on purpose: `multivariate`, the Wilcoxon pruner, ..."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _study(method: Method) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = optuna.study.StudyDirection[method.direction.upper()]
    if not method.bracketed:
        return optuna.create_study(direction=direction, study_name=method.key)
    pruner = optuna.pruners.HyperbandPruner(max_resource=method.evaluations, reduction_factor=pruning.HYPERBAND_FACTOR)
    study = optuna.create_study(direction=direction, study_name=method.key, pruner=pruner)
    # Hyperband makes its brackets when it is first asked to prune; before that all trials are in one.
    pruner.prune(study, optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
    return study


def _sampler(method: Method, number: int) -> optuna.samplers.BaseSampler:
    import optuna

    start = seed(method.key, number, bits=32)
    if method.sampler == "random":
        return optuna.samplers.RandomSampler(seed=start)
    if method.sampler == "qmc":
        # A quasi-random sequence is one sequence: its seed belongs to the study, not to the trial.
        own = seed(method.key, bits=32)
        return optuna.samplers.QMCSampler(scramble=True, seed=own, warn_independent_sampling=False)
    if method.sampler == "gp":
        return optuna.samplers.GPSampler(seed=start, n_startup_trials=method.startup, deterministic_objective=False)
    return optuna.samplers.TPESampler(
        seed=start, n_startup_trials=method.startup, multivariate=True, constant_liar=method.batch > 1
    )


def _distributions(space: Mapping[str, Domain]) -> dict[str, optuna.distributions.BaseDistribution]:
    return {name: _distribution(domain) for name, domain in space.items()}


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    import optuna

    if isinstance(domain, Choice):
        return optuna.distributions.CategoricalDistribution(domain.options)
    if isinstance(domain, Int):
        return optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)


def _tell(study: optuna.Study, trial: optuna.trial.Trial, told: Told) -> None:
    from optuna.trial import TrialState

    for step, value in enumerate(told.reported, start=1):
        trial.report(value, step)
    if told.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif told.value is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, told.value)


def _frozen(told: Told, distributions: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """The trial as Optuna has it after `_tell`; a pruned one's value is the last that it reported."""
    import optuna

    state, value = optuna.trial.TrialState.COMPLETE, told.value
    if told.pruned:
        state, value = optuna.trial.TrialState.PRUNED, told.reported[-1]
    elif value is None:
        state = optuna.trial.TrialState.FAIL
    return optuna.trial.create_trial(
        state=state,
        params=dict(told.setting),
        distributions=dict(distributions),
        value=value,
        intermediate_values=dict(enumerate(told.reported, start=1)),
    )


def rebuild(name: str, direction: str, space: Mapping[str, Domain], told: Sequence[Told]) -> optuna.Study:
    """An Optuna study in memory with the given trials, in their order."""
    study = _study(Method(name, direction, space))
    distributions = _distributions(space)
    for one in told:
        values = {option: _typed(space[option], value) for option, value in one.setting.items()}
        study.add_trial(_frozen(Told(values, one.value, one.reported, one.pruned), distributions))
    return study


def _typed(domain: Domain, value: Any) -> Any:
    return int(value) if isinstance(domain, Int) else value
