"""Every kind of mistake in a suite, as the catalogue of bad inputs lists them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.diagnostics import MistakesError
from harness.errors import SuiteError
from harness.suite import load

sys.path.insert(0, str(Path(__file__).parent))

from suite_catalog import CATALOG, GOOD, SHORT, at, good, mistake, mistakes, read, spelled

# The twelve kinds -----------------------------------------------------------------------------------------------------


def test_a_typo_in_a_key(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("sampler =", "smapler ="))
    assert (found.code, found.message) == ("unknown-key", "unknown key 'smapler' in [tuning]")
    assert at(found) == (14, 1, 7)
    assert found.allowed == "trials, sampler, pruner, batch, repeats, space"
    assert found.help == "did you mean 'sampler'?"


def test_an_unknown_part(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"cnn"', '"cn"'))
    assert (found.code, found.message) == ("unknown-name", "[problem] model: no model named 'cn'")
    assert at(found) == (5, 9, 4)
    assert found.allowed == "cnn, mlp, table (harness-builtin 0.1)"
    assert found.help == "did you mean 'cnn'?"


def test_a_wrong_type(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("epochs = 2", 'epochs = "fast"'))
    assert (found.code, found.message) == ("wrong-type", '[problem] epochs: expected an integer, found "fast" (string)')
    assert at(found) == (7, 10, 6)
    assert found.allowed == "integer >= 1"


def test_an_unknown_hyperparameter(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"momentum", "adam"', '{use = "momentum", nestrov = true}'))
    assert found.code == "unknown-key"
    assert found.message == "[arms] optimizer, value 2: optimizer 'momentum' has no option 'nestrov'"
    assert at(found) == (10, 40, 7)
    assert found.allowed == "lr, momentum, nesterov, weight_decay"
    assert found.help == "did you mean 'nesterov'?"


def test_low_above_high(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", "lr = {low = 0.1, high = 0.01}"))
    assert found.code == "out-of-range"
    assert found.message == "[tuning.space] lr: low must be below high, found low = 0.1, high = 0.01"
    assert (at(found), at(found, 1)) == ((17, 13, 3), (17, 25, 4))


def test_a_log_range_from_zero(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("batch_size = [32, 64, 128]", "lr = {low = 0, high = 0.1, log = true}"))
    assert found.code == "out-of-range"
    assert found.message == "[tuning.space] lr: low must be above 0 on a log scale, found low = 0"
    assert at(found) == (17, 13, 1)
    assert found.allowed == "low > 0"


def test_a_duplicate_arm(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"', 'name = "b"\noptimizer = "adam"', 'name = "b"'))
    assert (found.code, found.message) == ("doubled-name", "two arms are named 'b'")
    assert (at(found), at(found, 1)) == ((14, 8, 3), (11, 8, 3))


def test_a_baseline_that_is_no_arm(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('baseline = "sgd"', 'baseline = "sdg"'))
    assert (found.code, found.message) == ("unknown-name", "[compare] baseline: no arm named 'sdg'")
    assert (at(found), at(found, 1)) == ((21, 12, 5), (10, 13, 27))
    assert found.places[1].label == "arms are made here"
    assert found.allowed == "sgd, momentum, adam"
    assert found.help == "did you mean 'sgd'?"


@pytest.mark.parametrize("number", ["nan", "+inf", "-nan"])
def test_nan(tmp_path: Path, number: str) -> None:
    found = mistake(tmp_path, good("margin = 0.002", f"margin = {number}"))
    assert (found.code, found.message) == (
        "not-finite",
        f"[compare] margin: a finite number is due, found {number} (float)",
    )
    assert at(found) == (23, 10, len(number))
    assert found.allowed == "number > 0"


def test_negative_epochs(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("epochs = 2", "epochs = -2"))
    assert (found.code, found.message) == ("out-of-range", "[problem] epochs: -2 (integer) is out of range")
    assert at(found) == (7, 10, 2)
    assert found.allowed == "integer >= 1"


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "optimizers.toml").write_text(GOOD)
    with pytest.raises(MistakesError) as caught:
        load(tmp_path / "optimzers.toml", CATALOG)
    (found,) = caught.value.mistakes
    assert (found.code, found.places[0].line) == ("no-file", 0)
    assert found.allowed == "optimizers.toml"
    assert found.help == f"did you mean '{tmp_path / 'optimizers.toml'}'?"


def test_broken_toml(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('["sgd", "momentum", "adam"]', '["sgd", "momentum", "adam"'))
    assert (found.code, found.message) == ("unclosed", "array without closing ]")
    assert at(found) == (10, 13, 1)


def test_several_mistakes_come_at_once_and_by_line(tmp_path: Path) -> None:
    text = GOOD
    for old, new in (
        ('"cnn"', '"cn"'),
        ("epochs = 2", 'epochs = "fast"'),
        ('"adam"]', '{use = "adam", lr = 0}]'),
        ("sampler", "smapler"),
        ("[32, 64, 128]", "{low = 64, high = 32}"),
        ('"sgd"\nrep', '"sdg"\nrep'),
        ("0.002", "nan"),
    ):
        assert old in text
        text = text.replace(old, new)
    found = mistakes(tmp_path, text)
    assert [(one.places[0].line, one.code) for one in found] == [
        (5, "unknown-name"),
        (7, "wrong-type"),
        (10, "out-of-range"),
        (14, "unknown-key"),
        (17, "out-of-range"),
        (21, "unknown-name"),
        (23, "not-finite"),
    ]


# Rows of the catalogue: the file as text ------------------------------------------------------------------------------


def test_t5_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()).arms == read(tmp_path, GOOD).arms


def test_crlf_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace("\n", "\r\n")).settings == read(tmp_path, GOOD).settings


@pytest.mark.parametrize(
    ("row", "text", "says", "line"),
    [
        ("T8", GOOD.replace("\n", "\r"), "bare carriage return", 1),
        ("T9", good("epochs = 2", "epochs = 2\nepochs = 3"), "doubled key 'epochs'", 8),
        ("T10", GOOD + "[compare]\n", "for a list write [[compare]]", 24),
        ("T12", good('"cnn"', "cnn"), 'strings need quotes: "cnn"', 5),
        ("T14", good("MNIST?" + '"', "MNIST?"), "string without closing", 1),
        ("T15", GOOD + "x = " + "[" * 500, "nested deeper than 32", 24),
        ("T16", GOOD + ".".join("x" * 20_000), "key longer than 16 parts", 24),
        ("T17", good("trials = 6", "trials = " + "9" * 5000), "integer too large (64 bits)", 13),
        ("T19", good("0.002", "1e400"), "1e400 overflows to infinity", 23),
        ("T20", '{"question": "x"}', "looks like JSON; a suite is TOML", 1),
        ("T20", "question: x\n", "looks like YAML; a suite is TOML", 1),
        ("T21", good("[tuning]\n", "<<<<<<< a\n[tuning]\n>>>>>>> b\n"), "unresolved merge conflict, lines 12-14", 12),
    ],
)
def test_rows_t_are_one_mistake_each(tmp_path: Path, row: str, text: str, says: str, line: int) -> None:
    found = mistake(tmp_path, text)
    assert says in f"{found.message}; {found.help}", row
    assert found.places[0].line == line


# Rows of the catalogue: what the file says ----------------------------------------------------------------------------


def test_s1_an_unknown_key_shows_the_keys_of_its_level(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("optimizer =", "optimzer ="), "compare.baseline='sgd'")
    assert (found.message, at(found)) == ("unknown key 'optimzer' in [arms]", (10, 1, 8))
    assert "optimizer, schedule" in found.allowed
    assert found.help == "did you mean 'optimizer'?"


@pytest.mark.parametrize(
    ("text", "help"),
    [
        (good("margin = 0.002", "trials = 6"), "'trials' belongs in [tuning]"),
        (good("[problem]", "model = 'cnn'\n[problem]"), "'model' belongs in [problem]"),
        (good("margin = 0.002", "seed = 3"), "'seed' belongs at the top of the file, before the first table"),
        (
            good("epochs = 2", "epochs = 2\nlr = 0.1"),
            'an option goes into its part: optimizer = {use = "sgd", lr = ...}',
        ),
        (good("margin = 0.002", "trails = 6"), "did you mean 'trials' in [tuning]?"),
    ],
)
def test_s2_a_key_in_the_wrong_table_is_told_where_it_belongs(tmp_path: Path, text: str, help: str) -> None:
    found = mistake(tmp_path, text)
    assert (found.code, found.help) == ("unknown-key", help)


@pytest.mark.parametrize(
    ("old", "new", "expected", "found_text"),
    [
        ("epochs = 2", "epochs = 2.0", "an integer", "2.0 (float)"),
        ("epochs = 2", "epochs = true", "an integer", "true (boolean)"),
        ("margin = 0.002", 'margin = "small"', "a number", '"small" (string)'),
        ("margin = 0.002", "untuned = 1", "true or false", "1 (integer)"),
        ('metric = "accuracy"', "metric = 3", "a part", "3 (integer)"),
        ('baseline = "sgd"', "baseline = 3", "text", "3 (integer)"),
        ('["sgd", "momentum", "adam"]', '"sgd"', "a list", '"sgd" (string)'),
        ('"cnn"', "3", "a part", "3 (integer)"),
        ('"cnn"', "{use = 3}", "a part", "3 (integer)"),
        ("[tuning.space]\nbatch_size = [32, 64, 128]", "space = 3", "a table", "3 (integer)"),
    ],
)
def test_s4_a_wrong_type_shows_what_was_expected_and_found(
    tmp_path: Path, old: str, new: str, expected: str, found_text: str
) -> None:
    found = mistake(tmp_path, good(old, new))
    assert found.code == "wrong-type"
    assert found.message.endswith(f": expected {expected}, found {found_text}")


@pytest.mark.parametrize("value", ["-1", "0", "0.0"])
def test_s7_a_value_off_the_log_scale_names_the_part_and_its_range(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"adam"]', f'{{use = "adam", lr = {value}}}]'))
    assert found.code == "out-of-range"
    assert "optimizer 'adam' takes lr above 0, found " + value in found.message
    assert found.allowed == "above 0; 'adam' searches 1e-05 .. 0.1 (log scale)"
    assert at(found) == (10, 53, len(value))


def test_s8_a_doubled_value_shows_both_positions(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"momentum", "adam"]', '"adam", "sgd"]'))
    assert found.message == "[arms] optimizer: doubled value 'sgd' (positions 1, 3)"
    assert (at(found), at(found, 1)) == ((10, 29, 5), (10, 14, 5))


def test_s8_one_and_one_point_zero_are_the_same_value(tmp_path: Path) -> None:
    text = SHORT + 'baseline = "lr-1"\n[arms]\noptimizer = [{lr = 1}, {lr = 1.0}]\n'
    assert mistake(tmp_path, text).code == "doubled-value"


@pytest.mark.parametrize("seed", ["-1", str(2**64), "1" * 26, str(2**32)])
def test_s9_a_seed_out_of_range(tmp_path: Path, seed: str) -> None:
    found = mistake(tmp_path, f"seed = {seed}\n" + GOOD)
    assert (found.code, found.allowed) == ("out-of-range", "integer, 0 .. 2^32 - 1")
    assert at(found) == (1, 8, len(seed))


def test_the_largest_seed_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, "seed = 4294967295\n" + GOOD).seed == 2**32 - 1


def test_s10_a_list_where_a_count_is_due(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("replicates = 5", "replicates = [0, 1, 2]"))
    assert "a count, not a list" in found.message
    assert found.help == "write replicates = 3"


def test_s12_an_unknown_optimizer_shows_names_with_their_distribution(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"adamx"]'))
    assert found.help == "did you mean 'adam'?"
    assert found.allowed == "adam, adamw, momentum, sgd, twice (harness-builtin 0.1); twice (harness-extra 0.2)"
    assert at(found) == (10, 33, 7)


def test_many_names_are_cut_to_the_nearest_five_and_a_command(tmp_path: Path) -> None:
    from suite_catalog import part

    from harness.registry.catalog import Catalog

    many = Catalog((*CATALOG.parts, *(part("model", f"net{number}") for number in range(12))))
    path = tmp_path / "s.toml"
    path.write_text(good('"cnn"', '"nett"'))
    with pytest.raises(MistakesError) as caught:
        load(path, many)
    allowed = caught.value.mistakes[0].allowed
    assert allowed.count("net") == 5
    assert allowed.endswith("and 10 more; 'harness list models' shows all")


def test_a_part_of_a_broken_plugin_names_plugin_and_reason(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"lion"]'))
    reason = "lion (harness-lion 0.3): ModuleNotFoundError: no module named 'lion'"
    assert found.help == f"'lion' is mentioned in a plugin that could not be imported: {reason}"


def test_s13_an_option_that_the_merged_part_does_not_take(tmp_path: Path) -> None:
    text = spelled('name = "a"\noptimizer = {nesterov = true}')
    found = mistake(tmp_path, text)
    assert found.message == "arm \"a\" optimizer: optimizer 'sgd' has no option 'nesterov'"
    assert at(found) == (10, 14, 8)


@pytest.mark.parametrize(
    ("part", "says", "allowed"),
    [
        ('optimizer = {use = "momentum", nesterov = 1}', "takes true or false, found 1 (integer)", "true or false"),
        ('optimizer = {use = "adam", lr = "1e-3"}', 'takes a number, found "1e-3" (string)', "number, default 0.001"),
        ('optimizer = {use = "adam", betas = 0.9}', "takes a list, found 0.9 (float)", "list, default [0.9, 0.999]"),
        ("model = {width = 2.5}", "takes an integer, found 2.5 (float)", "integer, default 32"),
        ("model = {width = true}", "takes an integer, found true (boolean)", "integer, default 32"),
    ],
)
def test_an_option_must_be_of_the_type_of_its_default(tmp_path: Path, part: str, says: str, allowed: str) -> None:
    found = mistake(tmp_path, spelled(f'name = "a"\n{part}'))
    assert found.code == "wrong-type"
    assert says in found.message
    assert found.allowed.startswith(allowed)


def test_an_option_that_is_a_word_must_be_text(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('dataset = "mnist"', 'dataset = {use = "mnist", normalize = 1}'))
    assert found.code == "wrong-type"
    assert "takes text, found 1 (integer)" in found.message
    assert found.allowed.startswith('text, default "symmetric"')


@pytest.mark.parametrize(
    ("part", "kind", "option", "word"),
    [
        ('strategy = {use = "soft", alpha = "none"}', "strategy", "alpha", "none"),
        ('strategy = {use = "probe", depth = "all"}', "strategy", "depth", "all"),
        ('schedule = {use = "warm", share = "half"}', "schedule", "share", "half"),
    ],
)
def test_a_word_for_a_number_goes_to_a_strategy_and_to_a_part_that_declares_it(
    tmp_path: Path, part: str, kind: str, option: str, word: str
) -> None:
    (setting,) = read(tmp_path, spelled(f'name = "a"\n{part}')).settings
    assert setting.values[kind][option] == word  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("part", "says", "help"),
    [
        ('strategy = {use = "soft", alpha = "0.1"}', 'takes a number, found "0.1" (string)', "numbers have no quotes"),
        ('strategy = {use = "probe", depth = " "}', 'takes an integer, found " " (string)', ""),
        ('strategy = {use = "probe", depth = true}', "takes an integer, found true (boolean)", ""),
        ('schedule = {use = "warm", share = "hlf"}', 'takes a number, found "hlf" (string)', ""),
        ('optimizer = {use = "adam", lr = "fast"}', 'takes a number, found "fast" (string)', ""),
    ],
)
def test_no_other_text_stands_for_a_number(tmp_path: Path, part: str, says: str, help: str) -> None:
    found = mistake(tmp_path, spelled(f'name = "a"\n{part}'))
    assert (found.code, found.help) == ("wrong-type", help)
    assert says in found.message


def test_a_weight_of_zero_is_left_to_the_part_and_a_count_of_zero_is_not(tmp_path: Path) -> None:
    (setting,) = read(tmp_path, spelled('name = "a"\nstrategy = {use = "weighed", weight = 0}')).settings
    assert setting.values["strategy"]["weight"] == 0.0  # type: ignore[index,call-overload]
    found = mistake(tmp_path, spelled('name = "a"\nstrategy = {use = "weighed", weight = -0.1}'))
    assert "takes weight of 0 or above, found -0.1 (float)" in found.message
    found = mistake(tmp_path, spelled('name = "a"\nstrategy = {use = "weighed", r = 0}'))
    assert "takes r above 0, found 0 (integer)" in found.message


def test_a_range_or_list_in_place_of_an_option_is_told_where_it_belongs(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"\noptimizer = {lr = {low = 1, high = 2}}'))
    assert found.help == "ranges belong in [tuning.space]: optimizer.lr = {low = 1, high = 2}"
    found = mistake(tmp_path, spelled('name = "a"\noptimizer = {lr = [1, 2]}'))
    assert "lists of values belong in" in found.help


def test_a_required_option_that_is_missing(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "a"\nschedule = "step"'))
    assert (found.code, found.message) == ("missing-key", "schedule 'step' needs the option 'every'")
    assert at(found) == (10, 12, 6)
    found = mistake(tmp_path, spelled('name = "a"\nschedule = {use = "step", evry = 3}'))
    assert (found.code, found.help) == ("unknown-key", "did you mean 'every'?")


@pytest.mark.parametrize(("low", "high"), [("2", "1"), ("1", "1"), ("1", "1.0")])
def test_s15_a_domain_without_width_shows_both_places(tmp_path: Path, low: str, high: str) -> None:
    text = good("batch_size = [32, 64, 128]", f"[tuning.space.lr]\nlow = {low}\nhigh = {high}")
    found = mistake(tmp_path, text)
    assert f"found low = {low}, high = {high}" in found.message
    assert (at(found), at(found, 1)) == ((18, 7, len(low)), (19, 8, len(high)))


@pytest.mark.parametrize(
    ("wanted", "says", "allowed", "place"),
    [
        ("batch_size = []", "the list of choices is empty", "'batch_size' is an integer", (17, 14, 2)),
        (
            "lr = []",
            "the list of choices is empty",
            "optimizer 'sgd' takes a number; declared 1e-05 .. 0.1 (log scale)",
            (17, 6, 2),
        ),
        ('batch_size = [1, "2"]', "'batch_size' is an integer, found \"2\" (string)", "an integer", (17, 18, 3)),
        ("batch_size = [1, 2.5]", "'batch_size' is an integer, found 2.5 (float)", "an integer", (17, 18, 3)),
        ("kernel = [[1, 2], 3]", "a plain value is due, found [1, 2] (list)", "", (17, 11, 6)),
        (
            "nesterov = [true, 0]",
            "optimizer 'momentum' takes true or false, found 0 (integer)",
            "true or false",
            (17, 19, 1),
        ),
        ("batch_size = [32, 64, 32]", "doubled value 32 (positions 1, 3)", "", (17, 23, 2)),
    ],
)
def test_s18_choices_empty_mixed_or_doubled(
    tmp_path: Path, wanted: str, says: str, allowed: str, place: tuple[int, int, int]
) -> None:
    found = mistakes(tmp_path, good("batch_size = [32, 64, 128]", wanted))[0]
    assert says in found.message
    assert found.allowed == allowed
    assert at(found) == place


def test_choices_of_mixed_type_where_the_part_does_not_say_what_it_takes(tmp_path: Path) -> None:
    text = good('"cnn"', '"table"').replace("batch_size = [32, 64, 128]", 'anything = ["a", 1, "b"]')
    found = mistake(tmp_path, text)
    assert found.message == "[tuning.space] anything, value 2: choices of mixed type: strings and 1 (integer)"
    assert (found.allowed, at(found)) == ("string", (17, 18, 1))


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ('"tpe"', '"bayes"', "random, qmc, tpe, gp"),
        ('"tpe"', '"cmaes"', "random, qmc, tpe, gp"),
        ('sampler = "tpe"', 'pruner = "medium"', "none, median, hyperband, halving, wilcoxon"),
        ("margin = 0.002", 'claim = "methd"', "method, setting"),
        ("margin = 0.002", 'epoch = "best"', "best_validation, last"),
        ("epochs = 2", 'precision = "fp16"', "fp32, bf16"),
        ("[compare]", '[execution]\ndevice = "gpu"\n[compare]', "auto, cpu, cuda"),
    ],
)
def test_s23_a_word_that_is_not_known_shows_all_that_are(tmp_path: Path, old: str, new: str, allowed: str) -> None:
    found = mistake(tmp_path, good(old, new))
    assert (found.code, found.allowed) == ("unknown-word", allowed)


@pytest.mark.parametrize(
    ("changes", "said", "allowed", "second"),
    [
        (("epochs = 2", "epochs = 1"), "median can stop no run that is evaluated once", "epochs or steps of 2", 7),
        (("epochs = 2", "steps = 1"), "median can stop no run that is evaluated once", "epochs or steps of 2", 7),
        (("epochs = 2\n", ""), "median can stop no run that is evaluated once", "epochs or steps of 2", 3),
        (('"median"', '"halving"\nrepeats = 9'), None, "", 0),
        (('"median"', '"wilcoxon"\nrepeats = 4'), "wilcoxon can stop no trial of 4 repeats", "repeats of 5", 15),
        (('"median"', '"wilcoxon"'), "wilcoxon can stop no trial of 1 repeat:", "repeats of 5", 12),
        (('"median"', '"wilcoxon"\nrepeats = 5'), None, "", 0),
    ],
    ids=str,
)
def test_a_pruner_that_could_never_stop_anything_is_refused(tmp_path, changes, said, allowed, second) -> None:
    text = good('sampler = "tpe"', 'pruner = "median"').replace(*changes)
    if said is None:
        assert read(tmp_path, text).tuning.pruner in ("halving", "wilcoxon")
        return
    found = mistake(tmp_path, text)
    assert found.code == "conflict"
    assert found.message.startswith(f"[tuning] pruner: {said}")
    assert found.allowed.startswith(allowed)
    assert 'pruner = "none"' in found.help
    assert (found.places[0].line, found.places[1].line) == (13 if second == 3 else 14, second)


def test_one_problem_of_several_whose_runs_are_evaluated_once_is_refused(tmp_path: Path) -> None:
    text = good("epochs = 2\n", "[problems]\nepochs = [3, 1]\n").replace('sampler = "tpe"', 'pruner = "hyperband"')
    found = mistake(tmp_path, text)
    assert found.message.startswith("[tuning] pruner: hyperband can stop no run")
    assert found.places[1].line == 8


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ('"dsk"', "unknown-name", "did you mean 'dask'?"),
        ('{ use = "dask", schedular = "tcp://a:1" }', "unknown-key", "did you mean 'scheduler'?"),
        ('{ use = "process", scheduler = "tcp://a:1" }', "unknown-key", "executor 'process' has no option 'scheduler'"),
        ('{ use = "dask", patience = "long" }', "wrong-type", "executor 'dask' takes a number"),
        ('{ use = "dask", resources = 1 }', "wrong-type", "executor 'dask' takes a table"),
        ('"needy"', "missing-key", "executor 'needy' needs the option 'queue'"),
        ("5", "wrong-type", "expected a part"),
    ],
)
def test_an_executor_is_checked_as_every_part_is(tmp_path: Path, value: str, code: str, says: str) -> None:
    found = mistake(tmp_path, good("[compare]", f"[execution]\nexecutor = {value}\n[compare]"))
    assert found.code == code
    assert says in f"{found.message}; {found.help}"


def test_s25_tuning_reads_validation_only(tmp_path: Path) -> None:
    found = mistake(tmp_path, good("trials = 6", 'trials = 6\nsplit = "test"'))
    assert (found.code, found.help) == ("unknown-key", "tuning reads validation only")


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        # 3 arms x (5 replicates x trials + 5 x 2 final runs)
        (good("trials = 6", "trials = 2147483648"), 3 * (5 * 2**31 + 10)),
        (good("trials = 6", "trials = 6667"), 3 * (5 * 6667 + 10)),
        (good("replicates = 5", "replicates = 2147483648"), 3 * 2**31 * (6 + 2)),
        (good("trials = 6", "trials = 6\nrepeats = 1200"), 3 * 5 * (6 * 1200 + 2)),
    ],
)
def test_s26_a_plan_of_too_many_runs_is_counted_and_not_built(tmp_path: Path, text: str, runs: int) -> None:
    found = mistake(tmp_path, text)
    assert found.code == "plan-too-large"
    assert f"the plan has {runs:,} runs: [arms] optimizer 3, replicates" in found.message
    assert found.allowed == "100,000 runs"


def test_s26_axes_multiply_without_being_multiplied_out(tmp_path: Path) -> None:
    lists = "".join(f"{key} = [{', '.join(values)}]\n" for key, values in {
        "batch_size": map(str, range(1, 2001)),
        "optimizer": (f'{{use = "sgd", lr = 0.{n:04}1}}' for n in range(1000)),
        "model": (f"{{width = {n}}}" for n in range(1, 1001)),
    }.items())  # fmt: skip
    found = mistake(tmp_path, SHORT + 'baseline = "x"\n[arms]\n' + lists)
    assert "the plan has 10,000,000,000 runs: [arms] batch_size 2000, [arms] optimizer 1000" in found.message


def test_a_plan_at_the_limit_is_taken(tmp_path: Path) -> None:
    # 1 arm x (5 x 19998 + 5 x 2) = 100,000
    text = SHORT + "[tuning]\ntrials = 19998\n"
    assert read(tmp_path, text).tuning.trials == 19998
    assert mistake(tmp_path, text.replace("19998", "19999")).code == "plan-too-large"
    # The study of replicate 0 alone, under the other claim: 99,990 + 10
    setting = text.replace("19998", "99990").replace("[tuning]", 'claim = "setting"\n[tuning]')
    assert read(tmp_path, setting).compare.claim == "setting"


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z"])
def test_s28_a_bare_date_is_to_be_quoted(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"cnn"', value))
    assert (found.code, found.help) == ("wrong-type", f'quote it: "{value}"')
    assert at(found) == (5, 9, len(value))


def test_s29_a_suite_includes_no_other_file(tmp_path: Path) -> None:
    found = mistake(tmp_path, 'include = "../other.toml"\n' + GOOD)
    assert (found.code, found.help) == ("unknown-key", "a suite is one file")


@pytest.mark.parametrize("value", ["${HOME}/x", "~/x", "~root", "a${b}"])
def test_s30_nothing_is_expanded(tmp_path: Path, value: str) -> None:
    found = mistake(tmp_path, good('"cnn"', f'{{use = "cnn", width = "{value}"}}'))
    assert (found.code, found.help) == ("not-expanded", "write it out or use --set")
    assert f'is not expanded, found "{value}" (string)' in found.message


def test_a_question_may_say_anything(tmp_path: Path) -> None:
    assert read(tmp_path, good("Which optimizer", "~5 % of ${x}: which optimizer")).question.startswith("~5 % of ${x}")


def test_s31_a_schema_that_is_not_known_shows_both_numbers(tmp_path: Path) -> None:
    found = mistake(tmp_path, "schema = 2\n" + GOOD)
    assert found.message == "schema 2 is not known here; this version reads schema 1"
    assert read(tmp_path, "schema = 1\n" + GOOD).schema == 1


# Rows of the catalogue: names -----------------------------------------------------------------------------------------

REFUSED = {
    "N1": ["../../x", "/etc/passwd"],
    "N3": ["a\\u0000", "a\\nb", "a\\tb"],
    "N6": ["\u00e9", "e\u0301"],
    "N8": ["-rf", "~root", "$HOME", "CON", "nul.txt", "a."],
    "N9": ["<script>", "=cmd()", "$\\\\frac$", "_x"],
}


@pytest.mark.parametrize(("row", "name"), [(row, name) for row, names in REFUSED.items() for name in names])
def test_rows_n_names_that_could_do_harm_are_refused_with_the_rule(tmp_path: Path, row: str, name: str) -> None:
    found = mistake(tmp_path, spelled('name = "a"', f'name = "{name}"'))
    assert found.code == "bad-name", row
    assert found.allowed.startswith("^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")
    assert found.places[0].line == 11


def test_n3_control_characters_are_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        read(tmp_path, spelled('name = "a"', 'name = "a\\u0000\\u001b"'))
    assert "arm 'a<U+0000><U+001B>': U+0000 is not allowed" in str(caught.value)


def test_n6_the_code_point_of_a_letter_outside_ascii_is_shown(tmp_path: Path) -> None:
    composed = mistake(tmp_path, spelled('name = "a"', 'name = "caf\u00e9"'))
    decomposed = mistake(tmp_path, spelled('name = "a"', 'name = "cafe\u0301"'))
    assert composed.message.endswith("only ASCII is allowed, found U+00E9")
    assert decomposed.message.endswith("only ASCII is allowed, found U+0301")


def test_n5_names_that_differ_by_case_only_collide(tmp_path: Path) -> None:
    found = mistake(tmp_path, spelled('name = "ResNet"', 'name = "resnet"'))
    assert found.message == "arms 'ResNet' and 'resnet' collide on disks that do not tell case"
    assert (at(found)[0], at(found, 1)[0]) == (11, 9)


def test_n9_names_that_look_like_values_are_accepted(tmp_path: Path) -> None:
    names = ("NA", "null", "nan", "001")
    assert read(tmp_path, spelled(*(f'name = "{name}"' for name in names))).arms == names


def test_a_name_has_at_most_64_characters(tmp_path: Path) -> None:
    assert read(tmp_path, spelled(f'name = "{"a" * 64}"')).arms == ("a" * 64,)
    assert mistake(tmp_path, spelled('name = "a"', f'name = "{"a" * 65}"')).message.endswith(
        "65 characters, 64 are allowed"
    )


def test_the_file_name_must_be_a_name_too(tmp_path: Path) -> None:
    found = mistake(tmp_path, GOOD, name="my suite.toml")
    assert (found.code, found.places[0].line) == ("bad-name", 0)
    assert "a blank is not allowed" in found.message


def test_n10_a_name_that_two_plugins_offer_shows_both(tmp_path: Path) -> None:
    found = mistake(tmp_path, good('"adam"]', '"twice"]'))
    assert found.code == "ambiguous-name"
    assert "harness-builtin 0.1 (plugins/all.py) and harness-extra 0.2 (extra/all.py)" in found.message
    assert (found.allowed, found.help) == ("harness-builtin:twice, harness-extra:twice", "write distribution:name")
