"""Numbers as they are written, by hand."""

from __future__ import annotations

import math

import pytest

from harness.verdict import Measure
from harness.verdict.format import count, listed, p_value, percent, significant_decimals

ACCURACY = Measure("top5_accuracy", "maximize", "fraction", floor=0.1)
LOSS = Measure("loss", "minimize", "nats")
BARE = Measure("score", "maximize")


@pytest.mark.parametrize(
    ("size", "decimals"),
    [(0.54, 2), (5.4, 1), (54.0, 0), (540.0, 0), (0.0996, 2), (0.0994, 3), (0.0, 2), (math.nan, 2)],
)
def test_two_significant_digits_fix_the_decimals(size, decimals):
    assert significant_decimals(size) == decimals


def test_a_fraction_is_written_in_percent_and_its_differences_in_points():
    assert ACCURACY.value(0.97123, 2) == "97.12 %"
    assert ACCURACY.difference(-0.0127, 2) == "-1.27 pp"
    assert ACCURACY.interval(0.0073, 0.0181, 2) == "[0.73, 1.81]"
    assert ACCURACY.span(0.0073, 0.0181, 2) == "0.73 to 1.81"
    assert ACCURACY.words == "top5 accuracy"


@pytest.mark.parametrize(
    ("name", "words"), [("roc_auc", "ROC AUC"), ("f1", "F1"), ("macro_r2", "macro R2"), ("log_loss", "log loss")]
)
def test_abbreviations_are_capitals(name, words):
    assert Measure(name, "maximize").words == words


def test_other_metrics_keep_their_unit_or_none():
    assert LOSS.value(0.3104, 3) == LOSS.difference(0.3104, 3) == "0.310 nats"
    assert BARE.difference(1234.5, 1) == "1,234.5"


def test_zero_has_no_sign():
    assert BARE.difference(-0.0004, 2) == "0.00"
    assert BARE.interval(-1e-9, 1e-9, 1) == "[0.0, 0.0]"


@pytest.mark.parametrize(
    ("margin", "text"),
    [(0.002, "0.20 pp"), (0.0025, "0.25 pp"), (0.00125, "0.125 pp"), (0.01, "1.0 pp"), (0.12, "12 pp")],
)
def test_a_margin_is_written_as_declared(margin, text):
    assert ACCURACY.margin(margin) == text


def test_decimals_of_a_row_are_those_of_its_half_width():
    assert ACCURACY.decimals(0.0073, 0.0181) == 2
    assert LOSS.decimals(0.2, 0.6) == 2


def test_an_end_that_only_rounds_to_zero_or_the_margin_gets_more_decimals():
    assert BARE.decimals(0.004, 1.2, 0.0) == 3
    assert BARE.decimals(0.0, 1.2, 0.0) == 2
    assert BARE.decimals(0.2004, 1.2, 0.0, 0.2) == 4


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.00099, "p < 0.001"),
        (0.0139, "p = 0.014"),
        (0.0996, "p = 0.10"),
        (0.314, "p = 0.31"),
        (1.0, "p = 1.00"),
        (None, "p = -"),
        (math.nan, "p = -"),
        (0.0, "p < 0.001"),
    ],
)
def test_p_values_never_claim_to_be_zero(p, text):
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("family", "text"),
    [(1, "95 %"), (2, "97.5 %"), (3, "98.33 %"), (4, "98.75 %"), (40, "99.88 %"), (2000, "99.9975 %")],
)
def test_a_level_is_as_exact_as_it_must_be(family, text):
    assert percent(1 - 0.05 / family) == text


def test_words_for_counts_and_lists():
    assert (count(1, "replicate"), count(1200, "example")) == ("1 replicate", "1,200 examples")
    assert (listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")) == ("a", "a and b", "a, b or c")


def test_a_measure_is_read_from_the_metrics_table():
    row = {"metric": "loss", "direction": "minimize", "unit": math.nan, "floor": math.nan}
    assert Measure.from_row(row) == Measure("loss", "minimize", "", None)
    assert Measure.from_row({**row, "unit": "fraction", "floor": 0.1}).floor == 0.1


def test_a_direction_must_be_one_of_two():
    with pytest.raises(ValueError, match="direction must be 'maximize' or 'minimize', got 'up'"):
        Measure("x", "up")
