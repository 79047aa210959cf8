"""Positions and refusals of the TOML reader."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import toml
from harness.diagnostics import Mistake
from harness.toml.scan import Path, scan

EXACT = settings(derandomize=True, deadline=None, max_examples=500)


def positions(text: str) -> dict[Path, tuple[tuple[int, int] | None, tuple[int, int]]]:
    """Line and column of key and value by path."""
    document = toml.parse(text, "f.toml")
    assert not document.mistakes, document.mistakes[0].message
    found = {}
    for path, entry in document.entries.items():
        key = document.place(entry.key) if entry.key else None
        value = document.place(entry.value)
        found[path] = ((key.line, key.column) if key else None, (value.line, value.column))
    return found


def mistake(text: str) -> Mistake:
    found = toml.parse(text, "f.toml").mistakes
    assert len(found) == 1, found
    return found[0]


def at(found: Mistake, number: int = 0) -> tuple[int, int]:
    return found.places[number].line, found.places[number].column


# Positions ------------------------------------------------------------------------------------------------------------


def test_plain_dotted_and_quoted_keys_have_the_place_of_their_last_part() -> None:
    found = positions('a = 1\n  b.c  =  "x"\n"d e".\'f\' = true\n')
    assert found["a",] == ((1, 1), (1, 5))
    assert found["b",] == ((2, 3), (2, 3))
    assert found["b", "c"] == ((2, 5), (2, 11))
    assert found["d e", "f"] == ((3, 7), (3, 13))


def test_items_of_lists_go_by_index_and_keys_of_inline_tables_by_name() -> None:
    found = positions("x = [1, [2,\n 3], {y = 4, z.w = 5}]\n")
    assert found["x", 0] == (None, (1, 6))
    assert found["x", 1] == (None, (1, 9))
    assert found["x", 1, 1] == (None, (2, 2))
    assert found["x", 2, "y"] == ((2, 7), (2, 11))
    assert found["x", 2, "z", "w"] == ((2, 16), (2, 20))


def test_tables_and_arrays_of_tables_stand_at_their_heads() -> None:
    found = positions("[a.b]\nk = 1\n[[arm]]\nname = 'x'\n[[ arm ]]\n[arm.sub]\nq = 2\n")
    assert found["a",] == ((1, 2), (1, 1))
    assert found["a", "b"] == ((1, 4), (1, 1))
    assert found["arm", 0, "name"] == ((4, 1), (4, 8))
    assert found["arm", 1] == ((5, 4), (5, 1))
    assert found["arm", 1, "sub", "q"] == ((7, 1), (7, 5))


@pytest.mark.parametrize(
    "string", ['"a # b"', "'a ] b'", '"""\na "quoted" \\""""', "'''\na = 1'''", '""', '""""a"""""']
)
def test_what_stands_in_any_kind_of_string_is_no_syntax(string: str) -> None:
    document = toml.parse(f"x = {string}\ny = 1\n", "f.toml")
    assert not document.mistakes
    assert document.written(("x",)) == string
    assert document.values == {"x": tomllib.loads(f"x = {string}")["x"], "y": 1}


def test_escapes_in_quoted_keys_are_read() -> None:
    assert ("aA\n",) in positions('"a\\u0041\\n" = 1')


def test_crlf_is_one_line_end_and_columns_count_characters() -> None:
    found = positions('a = "é😀"\r\nb = ["ü", 2]\r\n')
    assert found["b", 1] == (None, (2, 11))


# One of everything, generated with the positions known from how it was made.

Placed = dict[Path, tuple[tuple[int, int] | None, tuple[int, int]]]
names = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
scalars = st.one_of(
    st.sampled_from(
        ["0", "-9223372036854775808", "1_000", "0x1F", "0o7", "0b1", "1.5", "-1e-3", "+inf", "nan", "1e400"]
    ),
    st.sampled_from(["true", "false", "1979-05-27", "07:32:00.5", "1979-05-27 07:32:00", "1979-05-27T07:32:00Z"]),
    st.sampled_from(
        [
            '""',
            '"a\\\\"',
            '"a # \\" ] }"',
            '"日本 😀"',
            "'it\\'",
            '"""\na\n"b" \\\n  c"""',
            "'''\n[x]\ny = 1'''",
            '"\\u00e9"',
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3), st.tuples(st.just("# c"), inner)
    ),
    max_leaves=6,
)


class Writer:
    """Writes TOML and notes where each key and value begins."""

    def __init__(self, blank: str) -> None:
        self.text = ""
        self.blank = blank
        self.placed: Placed = {}

    def here(self) -> tuple[int, int]:
        return self.text.count("\n") + 1, len(self.text) - (self.text.rfind("\n") + 1) + 1

    def key(self, name: str) -> tuple[int, int]:
        start = self.here()
        self.text += f'"{name}"' if len(name) % 2 else name
        return start

    def value(self, path: Path, key: tuple[int, int] | None, value: Any) -> None:
        self.placed[path] = (key, self.here())
        if isinstance(value, tuple):
            value = [value[1]]
            self.text += "[ # ]\n" + self.blank
            self.value((*path, 0), None, value[0])
            self.text += "\n,]"
        elif isinstance(value, list):
            self.text += "[" + self.blank
            for index, item in enumerate(value):
                self.text += "," + self.blank if index else ""
                self.value((*path, index), None, item)
            self.text += self.blank + "]"
        elif isinstance(value, dict):
            self.text += "{" + self.blank
            for index, name in enumerate(value):
                self.text += "," + self.blank if index else ""
                self.pair((*path, name), name, value[name])
            self.text += self.blank + "}"
        else:
            self.text += str(value)

    def pair(self, path: Path, name: str, value: Any) -> None:
        key = self.key(name)
        self.text += f"{self.blank}={self.blank}"
        self.value(path, key, value)

    def table(self, path: Path, name: str, table: dict[str, Any], brackets: str) -> None:
        head = self.here()
        self.text += brackets
        key = self.key(name)
        self.text += brackets.replace("[", "]") + "# [x]\n"
        self.placed.setdefault(path[:1], (key, head))
        self.placed[path] = (key, head)
        for inner in table:
            self.text += self.blank
            self.pair((*path, inner), inner, table[inner])
            self.text += "\n\n"


@EXACT
@given(
    st.dictionaries(names, values, max_size=4),
    st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=3),
    st.lists(st.dictionaries(names, values, max_size=3), max_size=3),
    st.sampled_from(["", " ", "\t "]),
)
def test_every_position_of_a_generated_file_is_exact(
    top: dict[str, Any], tables: dict[str, Any], arms: list[dict[str, Any]], blank: str
) -> None:
    writer = Writer(blank)
    for name, value in top.items():
        writer.pair((name,), name, value)
        writer.text += "\n"
    for name, table in tables.items():
        if name not in top:
            writer.table((name,), name, table, "[")
    for index, arm in enumerate(arms):
        writer.table(("long-name", index), "long-name", arm, "[[")
    tomllib.loads(writer.text)
    assert positions(writer.text) == writer.placed


def paths(values: Any, above: Path = ()) -> set[Path]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return {path for key, item in items for path in ({(*above, key)} | paths(item, (*above, key)))}


PIECES = st.sampled_from(
    [
        *("a", "b", ".", "=", " = ", "[", "]", "[[", "]]", "{", "}", ",", " ", "\t", "\n", "\r\n", "#c", "é", "\\"),
        *(
            "1",
            "-0",
            "00",
            "1.5",
            "1e3",
            "inf",
            "-nan",
            "true",
            "0x1F",
            "1979-05-27",
            "07:32:00",
            "'x'",
            '"y"',
            '"""',
            "'''",
        ),
        *("a = 1\n", "[a]\n", "[[a]]\n", "a.b = 2\n", "[a.b]\n", "b = {c = 1}\n", "c = [\n1,\n]\n"),
    ]
)


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(st.lists(PIECES, min_size=1, max_size=12).map("".join))
def test_what_the_parser_takes_the_scanner_takes_with_the_same_paths(text: str) -> None:
    found = scan(text)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert not found.faults
    assert set(found.entries) == paths(values)


@EXACT
@given(st.text())
def test_no_text_raises(text: str) -> None:
    document = toml.parse(text, "f.toml")
    assert document.mistakes or isinstance(document.values, dict)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_t3_a_file_without_permission_is_named_with_owner_and_mode(tmp_path: FilePath) -> None:
    path = tmp_path / "s.toml"
    path.write_text("")
    path.chmod(0)
    found = toml.read(path).mistakes[0]
    assert "no permission" in found.message
    assert "owner" in found.message
    assert "----------" in found.message


def test_t5_a_byte_order_mark_is_accepted_and_not_counted(tmp_path: FilePath) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\n")
    document = toml.read(path)
    assert document.values == {"a": 1}
    assert document.place(document.entries["a",].value).column == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_t18_a_fifo_a_device_a_folder_and_a_large_file_are_refused_at_once(tmp_path: FilePath) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(2 * 2**30)
    assert "not a regular file" in toml.read(tmp_path / "fifo").mistakes[0].message
    assert "not a regular file" in toml.read(FilePath("/dev/zero")).mistakes[0].message
    assert "a folder, not a regular file" in toml.read(tmp_path).mistakes[0].message
    assert "larger than 1 MiB" in toml.read(tmp_path / "large").mistakes[0].message


def test_a_file_of_exactly_one_mebibyte_is_read(tmp_path: FilePath) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(b"#" * 2**20)
    assert not toml.read(path).mistakes
    path.write_bytes(b"#" * (2**20 + 1))
    assert "larger than 1 MiB" in toml.read(path).mistakes[0].message


def test_a_missing_file_shows_the_nearest_toml_files_beside_it(tmp_path: FilePath) -> None:
    for name in ("optimizers.toml", "optimizers.txt", "widths.toml"):
        (tmp_path / name).write_text("")
    found = toml.read(tmp_path / "optimzers.toml").mistakes[0]
    assert (found.code, found.allowed) == ("no-file", "optimizers.toml")
    assert found.help == f"did you mean '{tmp_path / 'optimizers.toml'}'?"
    assert toml.read(tmp_path / "optimizers").mistakes[0].allowed == "optimizers.toml"


@pytest.mark.parametrize("path", ["no/such/folder/s.toml", "a\0b.toml", "x" * 300 + ".toml"])
def test_a_path_that_cannot_be_is_one_mistake(path: str) -> None:
    assert len(toml.read(FilePath(path)).mistakes) == 1


def test_bytes_that_are_not_utf8_are_shown_where_they_stand(tmp_path: FilePath) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes("é = 1\nb = 'é".encode() + b"\xff'\n")
    found = toml.read(path).mistakes[0]
    assert (found.message, at(found)) == ("not UTF-8: byte 0xff", (2, 7))
    path.write_bytes("a = 1\n".encode("utf-16"))
    assert "UTF-16" in toml.read(path).mistakes[0].help


# Texts ----------------------------------------------------------------------------------------------------------------


def test_t8_a_bare_carriage_return_is_refused_on_its_line() -> None:
    found = mistake("a = 1\rb = 2\rc = 3")
    assert "bare carriage return" in found.message
    assert at(found) == (1, 6)


@pytest.mark.parametrize(
    ("text", "name", "second", "first"),
    [
        ("a = 1\nb = 2\na = 3\n", "a", (3, 1), (1, 1)),
        ("[t]\nx = 1\n\n  'x' = 2\n", "x", (4, 3), (2, 1)),
        ("a.b = 1\na = 2\n", "a", (2, 1), (1, 1)),
        ("a = {b = 1, b = 2}\n", "b", (1, 13), (1, 6)),
        ("a = 1\n[a]\n", "a", (2, 2), (1, 1)),
        ("a = {b = 1}\na.c = 1\n", "a", (2, 1), (1, 1)),
        ("[a.b]\n[a]\nb.c = 1\n", "b", (3, 1), (1, 4)),
        ("a = [1]\n[[a]]\n", "a", (2, 3), (1, 1)),
    ],
)
def test_t9_a_doubled_key_is_named_with_both_places(
    text: str, name: str, second: tuple[int, int], first: tuple[int, int]
) -> None:
    found = mistake(text)
    assert (found.code, found.message) == ("doubled-key", f"doubled key '{name}'")
    assert (at(found), at(found, 1)) == (second, first)


def test_all_doubled_keys_are_shown_not_only_the_first() -> None:
    assert len(toml.parse("a = 1\na = 2\nb = 1\n[c]\n[c]\nx = 1\nx = 2\n", "f").mistakes) == 3


def test_t10_a_table_written_twice_shows_how_a_list_is_written() -> None:
    found = mistake("[claim]\nx = 1\n[claim]\ny = 2\n")
    assert (at(found), at(found, 1)) == ((3, 2), (1, 2))
    assert "for a list write [[claim]]" in found.help


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("model = cnn\n", 'strings need quotes: "cnn"', (1, 9)),
        ("a = 1\nq = Which one is best?  # really\n", 'strings need quotes: "Which one is best?"', (2, 5)),
        ('x = [1, cnn, "b"]\n', 'strings need quotes: "cnn"', (1, 9)),
        ("x = {use = cnn}\n", 'strings need quotes: "cnn"', (1, 12)),
        ("x = ~/data\n", 'strings need quotes: "~/data"', (1, 5)),
    ],
)
def test_t12_an_unquoted_string_is_shown_in_quotes(text: str, message: str, place: tuple[int, int]) -> None:
    found = mistake(text)
    assert (found.code, found.message, at(found)) == ("unquoted", message, place)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("x = True", "write true"),
        ("x = None", "leave the key out"),
        ("x = \u201ccnn\u201d", 'write " in place'),
        ("x = 007", "no leading zeros"),
        ("x = 1.2.3", "strings need quotes"),
    ],
)
def test_other_values_that_toml_does_not_know_come_with_a_cure(text: str, cure: str) -> None:
    assert cure in mistake(text).help


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ('a = 1\nb = "x\nc = 1\n', 'string without closing "', (2, 5)),
        ("b = 'x", "string without closing '", (1, 5)),
        ('a = 1\nb = """x\nc = 1\n', 'string without closing """', (2, 5)),
        ("b = '''x\nc = 1\n''\n", "string without closing '''", (1, 5)),
        ("a = [1,\n [2, 3\n", "array without closing ]", (2, 2)),
        ("a = [1, 2\n\nb = 3\n", "array without closing ]", (1, 5)),
        ("a = [1, 2,\n[tuning]\ntrials = 6\n", "array without closing ]", (1, 5)),
        ("a = {x = 1,\n y = 2}\n", "inline table without closing }", (1, 5)),
    ],
)
def test_t14_what_is_not_closed_is_shown_where_it_was_opened(text: str, what: str, place: tuple[int, int]) -> None:
    found = mistake(text)
    assert (found.code, found.message, at(found)) == ("unclosed", what, place)
    assert found.places[0].label == "opened here"


@pytest.mark.parametrize("text", ["a = " + "[" * 500, "a = " + "{b=" * 500, "\na = " + "[{b=" * 100_000])
def test_t15_deep_nesting_is_refused_before_parsing(text: str) -> None:
    found = mistake(text)
    assert found.message == "nested deeper than 32"
    assert found.places[0].line == text.count("\n") + 1


def test_arrays_nested_32_deep_are_read() -> None:
    assert not toml.parse("a = " + "[" * 32 + "]" * 32, "f").mistakes
    assert toml.parse("a = " + "[" * 33 + "]" * 33, "f").mistakes


@pytest.mark.parametrize("text", [".".join("a" * 20_000) + " = 1", f"[{'.'.join('a' * 20_000)}]"])
def test_t16_a_key_of_20000_parts_is_refused(text: str) -> None:
    assert mistake(text).message == "key longer than 16 parts"


def test_a_key_of_16_parts_is_read() -> None:
    assert not toml.parse(".".join("a" * 16) + " = 1", "f").mistakes
    assert toml.parse(".".join("a" * 17) + " = 1", "f").mistakes


@pytest.mark.parametrize("number", ["1" * 5000, "9223372036854775808", "-9223372036854775809", "0x" + "f" * 5000])
def test_t17_an_integer_of_more_than_64_bits_never_reaches_the_parser(number: str) -> None:
    document = toml.parse(f"a = 1\nb = {number}\n", "f")
    assert document.oversized == {("b",)}
    assert document.values == {"a": 1, "b": 0}
    assert document.written(("b",)) == number


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "0x7fffffffffffffff", "1_0"])
def test_integers_of_64_bits_are_read(number: str) -> None:
    document = toml.parse(f"b = {number}\n", "f")
    assert not document.oversized
    assert document.values == {"b": int(number, 0)}


def test_more_keys_than_any_question_needs_are_refused() -> None:
    assert "more than 10,000" in mistake(f"a = [{'0,' * 500_000}]").message


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"question": "x"}', "JSON"),
        ('\n[\n  {"a": 1}\n]', "JSON"),
        ("# note\nquestion: x\nproblem:\n  model: cnn\n", "YAML"),
        ("---\na: 1\n", "YAML"),
        ("- a\n- b\n", "YAML"),
    ],
)
def test_t20_other_formats_are_named(text: str, kind: str) -> None:
    assert mistake(text).message == f"looks like {kind}; a suite is TOML"


def test_t21_a_merge_conflict_is_shown_from_its_first_to_its_last_line() -> None:
    found = mistake("a = 1\n<<<<<<< HEAD\nb = 1\n=======\nb = 2\n>>>>>>> other\n")
    assert found.message == "unresolved merge conflict, lines 2-6"
    assert (at(found), at(found, 1)) == ((2, 1), (6, 1))


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a = 1 b = 2\n", "a new line is due here, found 'b'", (1, 7)),
        ("x\n", "'=' is due after the key 'x', found the end of the line", (1, 2)),
        ("a = \n", "a value is due here, found the end of the line", (1, 5)),
        ("= 1\n", "a key is due here, found '='", (1, 1)),
        ("[a\nb = 1\n", "']' is due after the table's name, found the end of the line", (1, 1)),
        ("a = [1 2]\n", "',' or ']' is due here, found '2'", (1, 8)),
        ("a = {b = 1,}\n", "no comma may stand before '}'", (1, 11)),
        ('\na = "\x1b"\n', "not TOML: illegal character '\\x1b'", (2, 6)),
    ],
)
def test_other_broken_toml_says_what_is_due_and_where(text: str, message: str, place: tuple[int, int]) -> None:
    found = mistake(text)
    assert (found.code, found.message, at(found)) == ("syntax", message, place)
