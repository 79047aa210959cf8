"""Parts as plain data: found by name, missed with a way out."""

from __future__ import annotations

import pytest

from harness.errors import PluginError
from harness.registry.catalog import Broken, Catalog, Origin, PartInfo, nearest


def a_part(kind, name, distribution="harness"):
    return PartInfo(kind, name, Origin(distribution, "1.0", f"{distribution}.{name}", f"{name}.py", "0" * 64))


CATALOG = Catalog(
    (
        a_part("optimizer", "sgd"),
        a_part("optimizer", "adam"),
        a_part("optimizer", "adam", "mine"),
        a_part("model", "adam"),
        a_part("loss", "cross_entropy"),
    ),
    (Broken("m", "extra", "0.2", "m.py", "ImportError: no", ("lion",)),),
)


def test_parts_of_a_kind_come_by_name():
    assert [part.name for part in CATALOG.of("optimizer")] == ["adam", "adam", "sgd"]
    assert CATALOG.names("optimizer") == ["adam", "sgd"]
    assert CATALOG.names("metric") == []


def test_the_same_name_in_two_kinds_is_two_parts():
    assert CATALOG.find("model", "adam").kind == "model"


@pytest.mark.parametrize("distribution", ["harness", "mine"])
def test_a_distribution_before_the_name_picks_one_of_two(distribution):
    assert CATALOG.find("optimizer", f"{distribution}:adam").origin.distribution == distribution


def test_two_of_one_name_are_refused_with_both_and_what_to_write():
    with pytest.raises(PluginError) as caught:
        CATALOG.find("optimizer", "adam")
    text = str(caught.value)
    assert "harness 1.0 (adam.py)" in text
    assert "mine 1.0 (adam.py)" in text
    assert "write 'harness:adam' or 'mine:adam'" in text


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("optimizer", "sdg", "did you mean 'sgd'?"),
        ("optimizer", "SGD2", "did you mean 'sgd'?"),
        ("optimizer", "xyzzy", "'harness list optimizers' shows all"),
        ("loss", "xyzzy", "'harness list losses' shows all"),
        ("metric", "accuracy", "(known: none)"),
        ("optimizer", "nobody:sgd", "no optimizer named 'nobody:sgd'"),
        ("optimizer", "lion", "could not be imported: m (extra 0.2): ImportError: no"),
    ],
)
def test_a_part_that_is_not_there_is_missed_with_a_way_out(kind, name, says):
    with pytest.raises(PluginError) as caught:
        CATALOG.find(kind, name)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [("admaw", ["adam", "adamw"], "adamw"), ("ADAM", ["adam"], "adam"), ("x", ["adam"], None), ("adam", [], None)],
)
def test_the_near_word_is_the_one_most_likely_meant(word, known, near):
    assert nearest(word, known) == near
