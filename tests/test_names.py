"""Names that may stand in files, tables and shell commands: exactly those of the documented pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.names import broken_rule, sanitized

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(alphabet="aZ09._+-/ é\n<$", max_size=70))
def test_a_name_is_allowed_exactly_if_the_pattern_fits_and_no_dot_ends_it(name):
    fits = PATTERN.fullmatch(name) is not None and not name.endswith(".")
    assert (broken_rule(name) is None) == fits


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "it is empty"),
        ("a b", "a blank is not allowed"),
        ("a/b", "'/' is not allowed"),
        ("a\nb", "U+000A is not allowed"),
        ("é", "only ASCII is allowed, found U+00E9"),
        ("-rf", "it begins with '-'"),
        ("a.", "it ends with a dot"),
        ("x" * 65, "it has 65 characters, 64 are allowed"),
        ("nul.txt", "'nul' is a device on Windows"),
        ("COM7", "'COM7' is a device on Windows"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_words(name, says):
    assert broken_rule(name) == says


@pytest.mark.parametrize("name", ["NA", "null", "nan", "001", "con1", "x" * 64, "a+b", "1e-3"])
def test_odd_but_harmless_names_are_allowed(name):
    assert broken_rule(name) is None


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_sanitizing_leaves_only_characters_that_names_may_have_and_changes_no_good_name(text):
    made = sanitized(text)
    assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._+-]*)?", made)
    assert sanitized(made) == made
