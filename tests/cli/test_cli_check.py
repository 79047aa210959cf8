"""`harness check`: every mistake with its place, what was found, what is allowed and the near word; nothing is done."""

import json

import pytest

GOOD = """\
question = "Which optimizer separates two clouds best?"

[problem]
dataset = "clouds"
model = "line"
train_examples = 120
validation_examples = 80
epochs = 2
batch_size = 30

[arms]
optimizer = ["sgd", "adam"]

[tuning]
trials = 2

[tuning.space]
lr = { low = 0.001, high = 0.1, log = true }

[compare]
metric = "accuracy"
baseline = "sgd"
replicates = 3
margin = 0.01
"""
TWINS = """\
[[arm]]
name = "twin"
optimizer = "sgd"

[[arm]]
name = "twin"
optimizer = "adam"
"""


def changed(old, new):
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


# What to write, where its caret stands (the last such place), and what the message says.
MISTAKES = {
    "typo in a key": (
        changed("trials = 2", "trails = 2"),
        "trails",
        ["error[unknown-key]: unknown key 'trails' in [tuning]", "allowed: trials, sampler,", "did you mean 'trials'?"],
    ),
    "unknown part": (
        changed('model = "line"', 'model = "lime"'),
        '"lime"',
        [
            "error[unknown-name]: [problem] model: no model named 'lime'",
            "more; 'harness list models' shows all",
            "did you mean 'line'?",
        ],
    ),
    "wrong type": (
        changed("epochs = 2", 'epochs = "fast"'),
        '"fast"',
        ['error[wrong-type]: [problem] epochs: expected an integer, found "fast" (string)', "allowed: integer >= 1"],
    ),
    "unknown hyperparameter": (
        changed('"adam"]', '{ use = "momentum", nestrov = true }]'),
        "nestrov",
        ["optimizer 'momentum' has no option 'nestrov'", "momentum, nesterov,", "did you mean 'nesterov'?"],
    ),
    "low above high": (
        changed("low = 0.001", "low = 0.5"),
        "0.5",
        ["error[out-of-range]: [tuning.space] lr: low must be below high, found low = 0.5, high = 0.1"],
    ),
    "log range from 0": (
        changed("low = 0.001", "low = 0"),
        "0, high",
        ["lr: low must be above 0 on a log scale, found low = 0", "allowed: low > 0"],
    ),
    "duplicate arm": (
        changed('[arms]\noptimizer = ["sgd", "adam"]\n', TWINS).replace('baseline = "sgd"', 'baseline = "twin"'),
        '"twin"\noptimizer = "adam"',
        ["error[doubled-name]: two arms are named 'twin'"],
    ),
    "baseline that is no arm": (
        changed('baseline = "sgd"', 'baseline = "sdg"'),
        '"sdg"',
        ["[compare] baseline: no arm named 'sdg'", "arms are made here", "allowed: sgd, adam", "did you mean 'sgd'?"],
    ),
    "nan": (
        changed("margin = 0.01", "margin = nan"),
        "nan",
        ["error[not-finite]: [compare] margin: a finite number is due, found nan (float)", "allowed: number > 0"],
    ),
    "negative epochs": (
        changed("epochs = 2", "epochs = -2"),
        "-2",
        ["error[out-of-range]: [problem] epochs: -2 (integer) is out of range", "allowed: integer >= 1"],
    ),
    "broken TOML": (
        changed('["sgd", "adam"]', '["sgd", "adam"'),
        '["sgd"',
        ["error[unclosed]: array without closing ]"],
    ),
}


def place(text, at):
    """Line and column of the last `at`, counted from 1."""
    before = text[: text.rindex(at)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


@pytest.mark.parametrize(("text", "at", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_shown_with_its_place_what_was_found_and_what_is_allowed(look, text, at, says):
    suite = look.suite(text)
    before = look.files()
    result = look.run("check", suite)
    line, column = place(text, at)
    assert result.code == 2
    assert result.out == ""
    assert f"--> {suite}:{line}:{column}\n" in result.err
    assert f"{line} | {text.splitlines()[line - 1]}\n" in result.err
    assert [part for part in says if part not in result.err] == []
    assert result.err.endswith(f"1 error in {suite}; nothing was run\n")
    assert look.files() == before


@pytest.mark.parametrize(("text", "at", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_as_json_has_the_same_words_and_place(look, text, at, says):
    suite = look.suite(text)
    result = look.run("check", suite, "--json")
    (found,) = result.json()["mistakes"]
    assert (result.code, result.err) == (2, "")
    assert result.json()["ok"] is False
    assert set(found) == {"code", "message", "places", "allowed", "help"}
    first = found["places"][0]
    assert (first["source"], (first["line"], first["column"])) == (suite, place(text, at))
    shown = look.run("check", suite).err
    assert f"error[{found['code']}]: {found['message']}" in shown
    assert found["allowed"] in shown
    assert found["help"] in shown


def test_a_missing_file_is_answered_with_the_one_beside_it(look):
    look.suite(GOOD, name="optimizers.toml")
    wrong = str(look.own / "optimisers.toml")
    result = look.run("check", wrong)
    assert result.code == 2
    assert result.err.startswith("error[no-file]: no suite file '")
    assert f"--> {wrong}\n" in result.err
    assert f"did you mean '{look.own / 'optimizers.toml'}'?" in result.err
    (found,) = look.run("check", wrong, "--json").json()["mistakes"]
    assert (found["code"], found["allowed"]) == ("no-file", "optimizers.toml")


def test_several_mistakes_are_shown_at_once_from_top_to_bottom(look):
    text = changed('model = "line"', 'model = "lime"').replace("epochs = 2", "epochs = -2")
    text = text.replace("trials = 2", "trails = 2").replace("margin = 0.01", "margin = nan")
    suite = look.suite(text)
    result = look.run("check", suite)
    assert result.code == 2
    order = [result.err.index(word) for word in ("'lime'", "epochs: -2", "'trails'", "margin: a finite")]
    assert order == sorted(order)
    assert "4 errors in " in result.err
    assert len(look.run("check", suite, "--json").json()["mistakes"]) == 4


@pytest.mark.parametrize("command", ["check", "plan", "status", "report", "run"])
def test_every_command_that_reads_a_suite_shows_its_mistakes(look, command):
    suite = look.suite(changed("epochs = 2", "epochs = -2"))
    before = look.files()
    result = look.run(command, suite, "--results", str(look.own / "results"))
    assert result.code == 2
    assert result.out == ""
    assert f"--> {suite}:8:10" in result.err
    assert look.files() == before


def test_a_good_suite_is_said_to_be_valid_with_its_arms(look):
    suite = look.suite(GOOD)
    before = look.files()
    result = look.run("check", suite)
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"{suite} is valid: 1 problem(s), 2 arms (sgd, adam)\n"
        "no data were read and no arm was built: 'harness plan' does both, and refuses what does not fit\n"
    )
    assert look.files() == before


def test_a_good_suite_as_json_lists_problems_and_arms(look):
    result = look.run("check", look.suite(GOOD), "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json() == {"ok": True, "problems": ["clouds-line"], "arms": ["sgd", "adam"], "mistakes": []}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense", "'=' is due between key and value"),
        ("tuning.trails=3", "did you mean 'trials'?"),
        ("tuning.trials=three", 'strings need quotes: "three"'),
        ("compare.replicates=-1", "allowed: integer >= 1"),
        ("", "--set #1"),
        ("=", "--set #1"),
        ("problem=1", "--set #1"),
        ("compare.margin=nan", "a finite number is due"),
    ],
)
def test_nonsense_in_a_set_is_shown_there_and_not_in_the_file(look, override, says):
    result = look.run("check", look.suite(GOOD), "--set", override)
    assert result.code == 2
    assert "--> --set #1" in result.err
    assert says in result.err
    assert "Traceback" not in result.err


def test_a_set_changes_the_suite_for_this_command(look):
    suite = look.suite(GOOD)
    assert "1 arms" not in look.run("check", suite).out
    result = look.run("check", suite, "--set", 'arms.optimizer=["sgd", "adam", "momentum"]', "--json")
    assert result.json()["arms"] == ["sgd", "adam", "momentum"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("a b.toml", "a blank is not allowed"), ("größe.toml", "only ASCII is allowed, found U+00F6")],
)
def test_a_file_name_that_cannot_name_a_folder_is_refused_with_the_rule(look, name, says):
    result = look.run("check", look.suite(GOOD, name=name))
    assert result.code == 2
    assert says in result.err


def test_a_folder_a_fifo_and_an_empty_file_are_no_suites(look):
    import os

    os.mkfifo(look.own / "pipe.toml")
    assert "is a folder, not a regular file" in look.run("check", str(look.own)).err
    assert "is not a regular file" in look.run("check", str(look.own / "pipe.toml")).err
    empty = look.run("check", look.suite(""))
    assert empty.code == 2
    assert "the suite lacks the key 'question'" in empty.err


def test_what_a_terminal_would_obey_is_shown_as_code_points(look):
    suite = look.suite(GOOD.replace("two clouds", r"\u001b[31mtwo\u0007 clouds"))
    result = look.run("plan", suite)
    assert result.code == 0
    assert "Which optimizer separates <U+001B>[31mtwo<U+0007> clouds best?" in result.out


def test_json_is_ascii_so_that_any_program_can_read_it(look):
    suite = look.suite(GOOD.replace("two clouds", "zwei Wölkchen 雪"))
    out = look.run("plan", suite, "--json").out
    assert out.isascii()
    assert json.loads(out)["question"] == "Which optimizer separates zwei Wölkchen 雪 best?"
