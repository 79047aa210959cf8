"""`plan`, `status`, `report`, `list` and `show`: they tell what there is, completely, and change nothing."""

import json
import os
import shutil

import pytest

from harness import plan
from harness.cli import looking
from harness.hookspecs import KINDS, plural
from harness.plan import Label, Price
from tests.conftest import SUITE, changed, inline, to_toml
from tests.small import a_plan

COUNTS = {"planned": 24, "ok": 24, "pruned": 0, "failed": 0, "missing": 0}


@pytest.fixture
def copied(look):
    """A copy of the finished results folder, which a test may spoil."""
    shutil.copytree(look.folder / "results/suite", look.own / "copy")
    return look.own / "copy"


def test_plan_says_how_many_runs_of_what_and_does_none(look):
    before = look.files()
    result = look.run("plan", "suite.toml", "--results", str(look.own / "results"))
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "suite: Which optimizer separates two clouds best?"
    assert lines[2].split() == ["problem", "arm", "parameters", "tune", "final", "untuned", "runs", "one", "run"]
    # 3 replicates x 2 trials, 3 tuned and 3 untuned final runs; 4 x 8 + 8 weights and biases, then 8 x 2 + 2.
    assert [line.split()[:7] for line in lines[3:5]] == [
        ["clouds-line", arm, "58", "6", "3", "3", "12"] for arm in ("sgd", "adam")
    ]
    assert "3 studies of 2 tpe trials for each arm; 3 replicates compared in accuracy, margin 0.01 with sgd" in lines
    assert "24 runs, about " in lines[-1]
    assert "0 of 24 ok, 0 failed, 24 missing" in lines[-1]
    assert "the start of a process for each run and the report come on top" in lines[-1]
    assert look.files() == before


def test_plan_says_of_how_many_runs_the_time_is_unknown(project, monkeypatch):
    def unanswered(found):
        price = Price(step_seconds=None, example_seconds=None, parameters=0)
        return {(setting.problem, setting.arm): price for setting in found.suite.settings}

    monkeypatch.setattr(plan, "prices", unanswered)
    lines = project.write().run("plan", "suite.toml").out.splitlines()
    assert [line.split() for line in lines[3:5]] == [
        ["clouds-line", arm, "6", "3", "3", "12", "unknown"] for arm in ("sgd", "adam")
    ]
    assert "how long 24 of these runs take could not be measured: they count as 0 s here" in lines


def test_plan_as_json_has_the_same_numbers(look):
    found = look.run("plan", "suite.toml", "--json").json()
    times = {"seconds", "seconds_left"}
    assert set(found) == {"suite", "question", "results", "runs", "counts", "shared_labels", *times}
    assert found["shared_labels"] == []
    assert (found["suite"], found["results"]) == ("suite", "results/suite")
    assert found["counts"] == COUNTS
    assert found["seconds_left"] == 0 < found["seconds"]
    assert [row["arm"] for row in found["runs"]] == ["sgd", "adam"]
    for row in found["runs"]:
        assert row["tune"] + row["final"] + row["untuned"] == row["runs"] == 12
        assert row["parameters"] == 58
        assert row["seconds"] > 0


def test_plan_says_how_labels_validate_and_where_tuning_and_final_runs_share_them(look):
    dropped = ["problem.train_examples", "problem.validation_examples", "problem.epochs", "arms", "compare.baseline"]
    suite = {"problem.steps": 8, "problem.validation_within": 0.2, "problem.labels_per_class": 61}
    path = look.suite(to_toml(changed(SUITE, {**dict.fromkeys(dropped), **suite})))
    out = look.run("plan", path).out.splitlines()
    assert any(line.startswith("20 % of the labels (12 of 61 a class) validate in tuning runs") for line in out)
    assert any(line.startswith("clouds-line: 61 labels a class are more than one of 2 blocks has (60)") for line in out)
    (found,) = look.run("plan", path, "--json").json()["shared_labels"]
    assert (found["labels"], found["block"], found["of"]) == (61, 60, 2)


def test_plan_knows_what_an_extension_leaves_to_do(look):
    result = look.run("plan", "suite.toml", "--set", "compare.replicates=4")
    assert "24 of 32 ok, 0 failed, 8 missing" in result.out


def test_status_counts_by_arm(look):
    before = look.files()
    result = look.run("status", "suite.toml")
    assert (result.code, result.err) == (0, "")
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[:3] == [
        ["problem", "arm", "planned", "ok", "failed", "missing"],
        ["clouds-line", "sgd", "12", "12", "0", "0"],
        ["clouds-line", "adam", "12", "12", "0", "0"],
    ]
    assert result.out.endswith("\n24 of 24 ok, 0 failed, 0 missing\n")
    assert look.files() == before


TRIAL, FINAL, UNTUNED = ("tune", "tuned", 1, 2), ("final", "tuned"), ("final", "untuned")
SEVERAL = {"problem.batch_size": None, "problems.batch_size": [20, 30]}


@pytest.mark.parametrize(
    ("changes", "label", "words"),
    [
        ({"tuning.repeats": 3}, TRIAL, "sgd, replicate 2, trial 1, repeat 2"),
        ({}, TRIAL, "sgd, replicate 2, trial 1"),
        ({}, FINAL, "sgd, replicate 2"),
        ({}, UNTUNED, "sgd, replicate 2, untuned"),
        (SEVERAL, FINAL, "clouds-line+batch_size-20, sgd, replicate 2"),
    ],
)
def test_status_tells_a_failed_run_from_all_others(tmp_path, changes, label, words):
    suite = a_plan(tmp_path, changes).suite
    assert looking._where(Label(suite.problems[0], "sgd", 2, *label), suite) == words


def test_status_as_json_has_the_same_numbers(look):
    found = look.run("status", "suite.toml", "--json").json()
    assert set(found) == {"suite", "question", "results", "arms", "counts", "failed", "damaged"}
    assert found["counts"] == COUNTS
    assert [(row["arm"], row["planned"], row["ok"]) for row in found["arms"]] == [("sgd", 12, 12), ("adam", 12, 12)]
    assert found["failed"] == []
    assert found["damaged"] == {}


@pytest.mark.parametrize("command", ["status", "report"])
@pytest.mark.parametrize("folder", ["nowhere", "empty", "foreign", "file"])
def test_a_folder_without_results_is_refused_with_those_nearby_and_left_as_it_is(look, command, folder):
    (look.own / "empty").mkdir()
    (look.own / "foreign").mkdir()
    (look.own / "foreign/diary.txt").write_text("dear diary")
    (look.own / "file").write_text("a file")
    before = look.files()
    result = look.run(command, "suite.toml", "--results", str(look.own / folder))
    assert result.code == 4
    assert result.out == ""
    assert result.err == f"error: no plan.json in {look.own / folder}; results lie in results/suite\n"
    assert look.files() == before
    assert (look.own / "nowhere").exists() is False


def test_where_no_results_are_near_the_command_to_make_some_is_named(project):
    project.write()
    result = project.run("status", "suite.toml")
    assert result.code == 4
    assert result.err == "error: no plan.json in results/suite; first: harness run suite.toml\n"
    assert not (project.folder / "results").exists()


@pytest.mark.parametrize("command", ["status", "report", "run"])
def test_the_results_of_another_suite_are_refused_with_both_names(look, command):
    other = look.suite(to_toml(SUITE), name="other.toml")
    before = look.files()
    result = look.run(command, other, "--results", "results/suite")
    assert result.code == 4
    assert "results/suite holds the results of suite 'suite', not of 'other'" in result.err
    assert look.files() == before


def test_status_of_partial_results_tells_what_is_missing(look, copied):
    records = sorted((copied / "runs").glob("*/*.json"))
    final = [path for path in records if json.loads(path.read_text())["spec"]["phase"] == "final"]
    for path in final[:5]:
        path.unlink()
    before = look.files()
    result = look.run("status", "suite.toml", "--results", str(copied))
    assert result.code == 0
    assert "19 of 24 ok, 0 failed, 5 missing" in result.out
    assert look.files() == before


def test_status_of_damaged_records_counts_them_as_missing_and_tells_why(look, copied):
    record = next((copied / "runs").glob("*/*.json"))
    record.write_bytes(record.read_bytes()[:-20])
    before = look.files()
    result = look.run("status", "suite.toml", "--results", str(copied))
    assert result.code == 0
    assert f"damaged record {record.stem[:12]} counts as missing: not a JSON record" in result.out
    assert list(look.run("status", "suite.toml", "--results", str(copied), "--json").json()["damaged"]) == [record.stem]
    assert look.files() == before


@pytest.mark.parametrize("content", ["", "[]", "null", '{"runs": []}', "[" * 5000, "\ufffd{"])
def test_a_plan_that_cannot_be_read_is_no_reason_to_lose_results(look, copied, content):
    (copied / "plan.json").write_text(content)
    result = look.run("status", "suite.toml", "--results", str(copied))
    assert result.code == 0, result.err
    assert "24 of 24 ok" in result.out


@pytest.mark.draws
def test_report_builds_the_same_bytes_again(look, copied):
    derived = ("tables", "report", "datapackage.json")
    look.run("report", "suite.toml", "--results", str(copied))
    first = {path: data for path, data in look.files().items() if copied in path.parents}
    for name in derived:
        shutil.rmtree(copied / name) if (copied / name).is_dir() else (copied / name).unlink()
    result = look.run("report", "suite.toml", "--results", str(copied))
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith(f"report: {copied / 'report' / 'report.html'}\n")
    again = {path: data for path, data in look.files().items() if copied in path.parents}
    assert [path.name for path in first if first[path] != again.get(path)] == []
    assert set(first) == set(again)


def test_run_writes_again_what_was_deleted_beside_the_records(look, copied):
    shutil.rmtree(copied / "tables")
    result = look.run("run", "suite.toml", "--results", str(copied))
    assert (result.code, "nothing to run" in result.err) == (0, True)
    assert (copied / "tables/runs.csv").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"headline": "lies"}', '{"headline": "lies", "inputs": null}'])
def test_a_kept_answer_that_is_not_ours_is_not_given(look, copied, content):
    (copied / "report/answer.json").write_text(content)
    result = look.run("run", "suite.toml", "--results", str(copied))
    assert result.code == 0, result.err
    assert "lies" not in result.out
    assert result.out.startswith("On clouds-line, tuned alike")


def test_the_command_in_the_report_can_be_pasted_into_a_shell(look, copied):
    import shlex

    override = "problem.model=" + inline({"use": "line", "width": 8})
    look.run("report", "suite.toml", "--results", str(copied), "--set", override)
    report = (copied / "report/report.md").read_text()
    (line,) = [line for line in report.splitlines() if "harness run suite.toml --set" in line]
    words = shlex.split(line[line.index("harness run") :].strip(" `"))
    assert words == ["harness", "run", "suite.toml", "--set", override]


def spelt_out(names):
    """`vgg{11,13}` as vgg11 and vgg13."""
    shared, _, rest = names.partition("{")
    return [shared + end for end in rest.removesuffix("}").split(",")]


def test_list_puts_parts_that_are_described_alike_into_one_line(look):
    names = [line.split()[0] for line in look.run("list", "models").out.splitlines()[2:] if line]
    assert {"cnn", "mlp", "alexnet", "resnet{18,34,50,101,152}", "swin_{b,s,t}", "vit_{b_32,l_32}"} <= set(names)
    assert "vgg{11,11_bn,13,13_bn,16,16_bn,19,19_bn}" in names
    assert len(names) < 35


def test_list_keeps_parts_apart_that_say_nothing_of_themselves(look):
    (look.own / "mute.py").write_text(
        "import harness\n@harness.hookimpl\ndef harness_losses():\n"
        "    return [harness.Loss(name, build=lambda: None) for name in ('mute1', 'mute2')]\n"
    )
    shown = look.run("list", "losses", "--plugins", str(look.own)).out
    assert {"mute1", "mute2"} <= {line.split()[0] for line in shown.splitlines() if line}


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_part_of_a_kind_by_either_of_its_names(look, kind):
    result = look.run("list", plural(kind))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{plural(kind)}\n  name")
    assert look.run("list", kind).out == result.out
    found = look.run("list", kind, "--json").json()
    assert found["broken"] == []
    shown = [name for line in result.out.splitlines()[2:] if line for name in spelt_out(line.split()[0])]
    assert sorted(shown) == sorted(part["name"] for part in found["parts"]) != []
    assert {part["kind"] for part in found["parts"]} == {kind}


def test_list_without_a_kind_shows_all_kinds(look):
    result = look.run("list")
    assert [line for line in result.out.splitlines() if line and line[0] != " "] == [plural(kind) for kind in KINDS]
    assert {part["kind"] for part in look.run("list", "--json").json()["parts"]} == set(KINDS)


def test_list_names_broken_plugins_beside_the_others_also_as_json(look):
    (look.own / "torn.py").write_text("import harness, no_such_module\nharness.hookimpl")
    result = look.run("list", "models", "--plugins", str(look.own))
    assert result.code == 0
    assert "  line " in result.out
    assert "broken plugin torn (" in result.err
    assert "ModuleNotFoundError: No module named 'no_such_module' (torn.py, line 1)" in result.err
    (broken,) = look.run("list", "--json", "--plugins", str(look.own)).json()["broken"]
    assert (broken["module"], broken["file"]) == ("torn", str(look.own / "torn.py"))


def test_show_of_a_part_of_a_broken_plugin_says_why_it_is_not_there(project):
    project.plugin("torn", "import harness, no_such_module\nharness.hookimpl\nNAME = 'shredder'")
    result = project.run("show", "shredder")
    assert result.code == 2
    assert "'shredder' is mentioned in a plugin that could not be imported: torn (" in result.err
    assert "No module named 'no_such_module' (torn.py, line 1)" in result.err


def test_show_tells_options_defaults_space_and_source_of_every_part(look):
    # Of those that are described alike, the last one.
    parts = {(part["kind"], part["summary"]): part for part in look.run("list", "--json").json()["parts"]}
    for part in parts.values():
        result = look.run("show", part["name"])
        assert (result.code, result.err) == (0, "")
        assert f"{part['kind']} {part['name']}  (" in result.out
        assert part["summary"] in result.out
        assert part["source"] in result.out
        for option, default in part["options"].items():
            (row,) = [line for line in result.out.splitlines() if line.split()[:1] == [option]]
            assert row.endswith(json.dumps(default))
    for part in {part["kind"]: part for part in parts.values()}.values():
        assert part in look.run("show", part["name"], "--json").json()


def test_show_gives_the_search_space_in_words(look):
    assert "lr            0.0003 .. 0.03 (log)  0.001" in look.run("show", "adam").out


def test_show_tells_two_parts_of_one_name_apart(look):
    (look.own / "mine.py").write_text(
        "import harness\n@harness.hookimpl\ndef harness_optimizers():\n"
        "    return [harness.Optimizer('adam', build=lambda params, *, mine=1: None)]\n"
    )
    folder = look.own.name
    both = look.run("show", "adam", "--plugins", str(look.own)).out
    assert "optimizer adam  (harness " in both
    assert f"optimizer adam  ({folder})" in both
    mine = look.run("show", f"{folder}:adam", "--plugins", str(look.own)).out
    assert mine.startswith(f"optimizer adam  ({folder})")
    assert "beta1" not in mine


def test_looking_works_where_nothing_can_be_kept(look, monkeypatch):
    (look.own / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(look.own / "file" / "cache"))
    assert look.run("list", "models").code == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", "null", '{"answer": [{"kind": "model"}], "sha256": "0"}', "[" * 5000]
)
def test_garbage_in_the_cache_is_asked_again(project, monkeypatch, content):
    monkeypatch.setenv("HARNESS_CACHE", str(project.folder / "cache"))
    from harness import registry

    question = {"ask": "data", "never": content}
    monkeypatch.setattr(registry.child, "ask", lambda questions: [{"asked": True}] * len(questions))
    registry.ask_cached([question])
    (kept,) = (project.folder / "cache/answers").iterdir()
    whole = kept.read_text()
    kept.write_text(content)
    monkeypatch.setattr(registry.child, "ask", lambda questions: [{"asked": "again"}] * len(questions))
    assert registry.ask_cached([question]) == [{"asked": "again"}]
    kept.write_text(whole)
    assert registry.ask_cached([question]) == [{"asked": True}]
    kept.write_text(whole.replace("true", "false"))
    assert registry.ask_cached([question]) == [{"asked": "again"}]


def test_output_that_is_no_terminal_has_no_escape_codes(look):
    for words in (["list"], ["plan", "suite.toml"], ["status", "suite.toml"], ["run", "suite.toml"], ["runn"]):
        result = look.run_apart(*words)
        assert "\x1b" not in result.out + result.err
        assert "\r" not in result.out + result.err


def test_an_unreadable_suite_is_told_with_its_owner(look):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    suite = look.suite(to_toml(SUITE))
    os.chmod(suite, 0)
    assert "no permission to read" in look.run("check", suite).err
