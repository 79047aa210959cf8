"""The contract: search domains that refuse what cannot be searched, parts that are plain and frozen."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness import hookspecs
from harness.hookspecs import (
    Augmentation,
    Choice,
    Float,
    Int,
    Metric,
    Model,
    Optimizer,
    Phase,
    Strategy,
    domain_from_plain,
    domain_to_plain,
)

finite = st.floats(-1e6, 1e6, allow_nan=False)
floats = st.tuples(finite, finite).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: Float(*pair))
ints = st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda pair: Int(pair[0], pair[0] + pair[1]))
choices = st.lists(st.text(max_size=3) | st.integers(0, 9), min_size=1, max_size=4, unique_by=repr).map(
    lambda options: Choice(*options)
)


@settings(derandomize=True, deadline=None)
@given(floats | ints | choices)
def test_a_domain_survives_as_plain_data(domain):
    assert domain_from_plain(domain_to_plain(domain)) == domain


@settings(derandomize=True, deadline=None)
@given(floats)
def test_both_ends_belong_to_a_range_and_what_lies_beyond_does_not(domain):
    assert domain.low in domain
    assert domain.high in domain
    assert math.nextafter(domain.low, -math.inf) not in domain
    assert math.nextafter(domain.high, math.inf) not in domain


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Float, (1.0, 0.1), "Float: low must be below high, got low=1.0, high=0.1"),
        (Float, (1.0, 1.0), "Float: low must be below high"),
        (Float, (0.0, 1.0, True), "Float: low must be above 0 on a log scale, got low=0.0"),
        (Float, (float("nan"), 1.0), "Float: low must be a finite number, got nan"),
        (Float, (0.0, float("inf")), "Float: high must be a finite number, got inf"),
        (Float, ("0", 1.0), "Float: low must be a finite number, got '0'"),
        (Float, (False, 1.0), "Float: low must be a finite number, got False"),
        (Int, (1, 0), "Int: low must be below high"),
        (Int, (0, 8, True), "Int: low must be above 0 on a log scale"),
        (Int, (0.5, 2), "Int: bounds must be whole numbers, got low=0.5, high=2"),
        (Choice, (), "Choice: at least one option is needed"),
        (Choice, ([1, 2],), "Choice: options must be plain values, got ([1, 2],); write Choice(1, 2)"),
        (Choice, ({},), "Choice: options must be plain values, got ({},)$"),
        (Choice, ("a", "b", "a"), "Choice: options must differ"),
    ],
)
def test_a_domain_that_cannot_be_searched_is_refused_with_the_rule_and_the_values(kind, arguments, message):
    with pytest.raises(ValueError, match="^" + re.escape(message).replace(r"\$", "$")):
        kind(*arguments)


def test_values_of_another_type_are_outside_of_a_domain():
    assert 1 in Float(0.5, 2.0)
    assert True not in Float(0.5, 2.0)
    assert "1" not in Float(0.5, 2.0)
    assert 1.0 not in Int(0, 2)
    assert True not in Int(0, 2)
    assert 1 in Choice(1, 2)
    assert 1.0 not in Choice(1, 2)
    assert True not in Choice(1, 2)


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_a_phase_has_a_finite_share_of_the_steps(share):
    with pytest.raises(ValueError, match="Phase: share must be a finite number of at least 0"):
        Phase(lambda parameter: 1.0, share=share)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"draws": -1}, "Augmentation: draws must be a whole number of at least 0, got -1"),
        ({"draws": 1.0}, "Augmentation: draws must be a whole number of at least 0, got 1.0"),
        ({"draws": True}, "Augmentation: draws must be a whole number"),
        ({"space": {"by": Float(0, 1)}}, "Augmentation: its options are not tuned, got space for by"),
        ({"name": "none"}, "Augmentation: 'none' stands for no augmentation in a suite"),
    ],
)
def test_an_augmentation_that_cannot_be_used_is_refused_with_the_rule(fields, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**{"name": "odd", "apply": lambda images, draws: images, **fields})


@pytest.mark.parametrize("part_type", hookspecs.PART_TYPES)
def test_every_kind_of_part_is_frozen_and_has_a_hook_and_a_callable(part_type):
    assert dataclasses.is_dataclass(part_type)
    assert part_type.__dataclass_params__.frozen
    assert hookspecs.HOOKS[f"harness_{hookspecs.plural(part_type.kind)}"] is part_type
    assert part_type.call in {field.name for field in dataclasses.fields(part_type)}


def test_every_hook_is_specified_and_nothing_else_is():
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, "harness_spec")}
    assert specified == set(hookspecs.HOOKS)


def test_the_plural_of_a_kind_is_english():
    assert [hookspecs.plural(kind) for kind in ("loss", "strategy", "model")] == ["losses", "strategies", "models"]


@pytest.mark.parametrize("name", [name for name in harness.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_documented(name):
    assert getattr(harness, name).__doc__ or name == "hookimpl"


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'Optimiser'"):
        harness.Optimiser  # noqa: B018


def test_importing_harness_imports_nothing_heavy():
    heavy = "{'torch', 'pandas', 'optuna', 'pydantic', 'click'}"
    code = f"import sys, harness; harness.Float; print({heavy} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


def optimizer(**fields):
    return Optimizer("mine", build=dict, **fields)


def strategy(name="mine", **fields):
    return Strategy(name, **{"phases": lambda t: [Phase(lambda p: 1.0)], **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "foo"}, "Strategy 'mine': start must be 'source' or 'random', got 'foo'"),
        ({"start": None}, "Strategy 'mine': start must be 'source' or 'random', got None"),
        ({"weight_decay": "no"}, "Strategy 'mine': weight_decay must be True or False, got 'no'"),
        ({"phases": [1]}, r"Strategy 'mine': phases must be a function or another callable, got \[1\]"),
        *(
            ({hook: 3}, f"Strategy 'mine': {hook} must be a function or another callable, got 3")
            for hook in ("prepare", "penalty", "finish", "exact")
        ),
        ({"defaults": ["r"]}, r"Strategy 'mine': defaults must be a dict by option, got \['r'\]"),
    ],
)
def test_a_field_of_a_strategy_that_means_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        strategy(**fields)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a:b", "':' is not allowed"),
        ("", "it is empty"),
        ("../x", "'/' is not allowed"),
        (3, "it is int"),
    ],
)
def test_a_part_has_a_name_that_a_suite_and_a_file_can_hold(name, why):
    with pytest.raises(ValueError, match=f"a part's name must match .*, got {name!r}: ({why})"):
        strategy(name)


@pytest.mark.parametrize(
    ("domain", "default", "allowed"),
    [
        (Float(0.1, 1.0), 5.0, "from 0.1 to 1.0"),
        (Float(0.1, 1.0), float("nan"), "from 0.1 to 1.0"),
        (Int(1, 4), 5, "a whole number from 1 to 4"),
        (Int(1, 4), 2.5, "a whole number from 1 to 4"),
        (Choice("a", "b"), "c", "one of 'a', 'b'"),
        (Choice(0, 1), True, "one of 0, 1"),
    ],
)
def test_a_default_outside_of_its_own_space_is_refused(domain, default, allowed):
    found = f"Optimizer 'mine': the default of x must be in the space that tuning searches, {allowed}, got {default}"
    with pytest.raises(ValueError, match=found.replace(str(default), f"'?{default}'?")):
        optimizer(space={"x": domain}, defaults={"x": default})


@pytest.mark.parametrize(
    ("domain", "default"),
    [
        (Float(0.1, 1.0), 1),
        (Float(0.1, 1.0), None),
        (Int(1, 4), "none"),
        (Int(1, 4), 4),
        (Choice("a", "b"), None),
        (Choice(0.0, 0.5), 0),
    ],
)
def test_a_default_may_lie_in_its_space_or_be_no_number(domain, default):
    assert optimizer(space={"x": domain}, defaults={"x": default}).defaults == {"x": default}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": "body"}, r"Model 'net': blocks must be a list of .*, got 'body'; write blocks=\('body',\)"),
        ({"blocks": [1]}, r"Model 'net': blocks must be a list of regular expressions, got \[1\]"),
        ({"head": 3}, "Model 'net': head must be the dotted name of a layer, or None, got 3"),
        ({"build": "net"}, "Model 'net': build must be a function or another callable, got 'net'"),
    ],
)
def test_a_field_of_a_model_that_means_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Model("net", **{"build": dict, **fields})


def test_a_metric_says_which_way_is_better():
    with pytest.raises(ValueError, match="Metric 'm': direction must be 'maximize' or 'minimize', got 'max'"):
        Metric("m", apply=float, direction="max")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"select": 1.0}, r"Phase: select must be a function .*, got 1.0; for one rate write Phase\(lambda p: 1.0\)"),
        ({"share": "1"}, "Phase: share must be a finite number of at least 0, got '1'"),
        ({"share": True}, "Phase: share must be a finite number of at least 0, got True"),
        ({"keep": "yes"}, "Phase: keep must be True or False, got 'yes'"),
        ({"carry": 0}, "Phase: carry must be True or False, got 0"),
        ({"name": None}, "Phase: name must be a word, got None"),
    ],
)
def test_a_field_of_a_phase_that_means_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Phase(**{"select": lambda p: 1.0, **fields})
