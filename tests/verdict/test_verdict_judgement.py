"""What verdicts take from a loaded suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from harness.registry import load_catalog
from harness.suite import load
from harness.verdict import Context, context_of, shared_streams


@dataclass(frozen=True)
class FakeSetting:
    problem: str
    arm: str
    values: dict[str, Any]
    given: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FakeSuite:
    settings: tuple[FakeSetting, ...]
    compare: Any
    tuning: Any
    arms: tuple[str, ...] = ("sgd", "adam")
    problems: tuple[str, ...] = ("mnist",)
    question: str = "Which?"
    source: Any = None
    stepless: tuple[str, ...] = ()


@dataclass(frozen=True)
class FakeTuning:
    trials: int


PROBLEM = {
    "dataset": {"use": "mnist"},
    "model": {"use": "cnn"},
    "optimizer": {"use": "sgd", "lr": 0.1},
    "strategy": {"use": "full"},
    "batch_size": 64,
}


def suite(kit, trials=12, problems=("mnist",), **patch) -> Any:
    """Two arms on each problem, of which the second is patched."""
    settings = [
        FakeSetting(problem, arm, PROBLEM | {"dataset": {"use": problem}} | (patch if arm == "adam" else {}))
        for problem in problems
        for arm in ("sgd", "adam")
    ]
    return FakeSuite(tuple(settings), kit.compare("sgd", ("adam",)), FakeTuning(trials), problems=problems)


@pytest.mark.parametrize(
    ("patch", "noun"),
    [
        ({"optimizer": {"use": "adam", "lr": 0.001}}, "optimizer"),
        ({"optimizer": {"use": "sgd", "lr": 0.2}}, "optimizer"),
        ({"model": {"use": "mlp"}}, "model"),
        ({"strategy": {"use": "frozen"}}, "strategy"),
        ({"batch_size": 128}, "arm"),
        ({"model": {"use": "mlp"}, "batch_size": 128}, "arm"),
        ({}, "arm"),
    ],
)
def test_arms_are_called_by_what_they_differ_in(kit, patch, noun):
    assert context_of(suite(kit, **patch)).noun == noun


def test_problems_that_differ_do_not_name_the_arms(kit):
    loaded = suite(kit, problems=("mnist", "fashion"), optimizer={"use": "adam"})
    assert context_of(loaded) == Context("Which?", ("mnist", "fashion"), ("sgd", "adam"), 12, "optimizer")


def test_the_judged_setting_is_given_where_nothing_is_tuned(kit):
    assert context_of(suite(kit)).setting == "tuned"
    assert context_of(suite(kit, trials=0)).setting == "given"


@pytest.mark.parametrize(
    ("patch", "streams"),
    [
        ({"optimizer": {"use": "adam"}}, "split, init, order, augmentation, noise"),
        ({"model": {"use": "mlp"}}, "split, order, augmentation, noise"),
        ({"dataset": {"use": "fashion"}}, ""),
    ],
)
def test_arms_share_the_streams_of_what_they_have_in_common(kit, patch, streams):
    assert shared_streams(suite(kit, **patch), problem="mnist", arm="adam", baseline="sgd") == streams


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"optimizer": "sgd"}, {"optimizer": "adam"}, "defaults"),
        ({"optimizer": {"use": "sgd", "lr": 0.1}}, {"optimizer": "adam"}, "given"),
        ({}, {"batch_size": 40}, "given"),
        ({}, {"model": {"width": 8}}, "given"),
        ({"regularisation": "none"}, {"regularisation": {"l2": 0.1}}, "given"),
        ({}, {"schedule": "cosine"}, "defaults"),
    ],
)
def test_arms_are_at_their_defaults_only_where_the_suite_gives_no_option_that_they_differ_in(project, one, other, said):
    # What is equal in all arms does not count: each of these suites gives the width of its network.
    arms = [{"name": "one", **one}, {"name": "other", **other}]
    model = {"use": "line", "width": 4}
    project.write(suite={"problem.model": model, "arms": None, "arm": arms, "compare.baseline": "one"})
    assert context_of(load(project.folder / "suite.toml", load_catalog())).untuned == said


def test_a_verdict_knows_its_error_rate(kit):
    assert kit.verdict_of([0.1, 0.2, 0.4]).alpha == 0.05
