"""The first contact: help, typos, versions, and what happens where nobody reads the output."""

import os
import subprocess
import sys

import click
import pytest

import harness
from harness.cli import _COMMANDS, cli

COMMANDS = cli.list_commands(None)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_the_program_names_every_command_the_first_steps_and_the_exit_codes(look, flag):
    result = look.run(flag)
    assert (result.code, result.err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in result.out
        assert cli.get_command(None, name).get_short_help_str(60).removesuffix("...") in result.out
    assert "harness run suites/optimizers.toml" in result.out
    assert all(code in result.out for code in ("0 done", "1 done, some runs failed", "2 mistake", "130, 143"))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_usage_what_it_does_and_every_option(look, name):
    result = look.run(name, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: harness {name} [OPTIONS]")
    for parameter in cli.get_command(None, name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"--{parameter.name} says nothing" if parameter.name != "results" else ""
            assert all(option in result.out for option in parameter.opts)
        else:
            assert parameter.human_readable_name in result.out


def test_without_a_command_the_help_is_shown_as_a_mistake(look):
    result = look.run()
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("Usage: harness [OPTIONS] COMMAND [ARGS]...")
    assert "First steps:" in result.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pln"], "did you mean 'plan'?"),
        (["stauts", "suite.toml"], "did you mean 'status'?"),
        (["suite.toml"], "did you mean 'harness run suite.toml'?"),
        (["xyzzy"], "known: run, plan, check, status, report, compare, studies, list, show"),
        (["run"], "Missing argument 'SUITE'"),
        (["run", "a.toml", "b.toml"], "unexpected extra argument"),
        (["run", "suite.toml", "--wrokers", "2"], "--workers"),
        (["run", "suite.toml", "--workers", "0"], "0 is not in the range x>=1"),
        (["run", "suite.toml", "--workers", "two"], "'two' is not a valid integer"),
        (["run", "suite.toml", "--scheduler"], "requires an argument"),
        (["plan", "suite.toml", "--jsn"], "--json"),
        (["run", "suite.toml", "--set"], "requires an argument"),
        (["list", "optimisers"], "did you mean 'optimizers'?"),
        (["list", "optimizer", "adam"], "unexpected extra argument"),
        (["show", "admaw"], "did you mean 'adamw'?"),
        (["show", "nowhere:adam"], "no part named 'nowhere:adam'"),
        (["list", "--plugins", "nowhere"], "no plugins folder nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_is_named_with_the_way_out(look, words, says):
    result = look.run(*words)
    assert result.code == 2
    assert result.out == ""
    assert says in result.err
    assert "Traceback" not in result.err


def test_the_version_is_the_packages(look):
    assert look.run("--version").out == f"harness, version {harness.__version__}\n"


def test_the_module_is_the_command(look):
    result = look.run_apart("--version")
    assert (result.code, result.out) == (0, f"harness, version {harness.__version__}\n")


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["list"], ["show", "adam", "--json"]])
def test_a_reader_that_goes_away_ends_a_command_quietly(look, words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "harness", *words]
    process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=look.folder, timeout=120)
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, b"")


def test_a_terminal_without_the_characters_gets_their_codes(look):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    suite = look.suite((look.folder / "suite.toml").read_text().replace("best?", "best – für 雪?"))
    assert look.run("plan", suite).code == 0  # its answers are kept: the next command starts no child
    command = [sys.executable, "-m", "harness", "plan", suite]
    process = subprocess.run(command, cwd=look.folder, env=environment, capture_output=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, b"")
    assert r"best \u2013 für \u96ea?" in process.stdout.decode("latin-1")


def test_a_fault_of_harness_itself_has_a_code_of_its_own_and_its_traceback(look, monkeypatch):
    monkeypatch.setattr("harness.registry.load_catalog", lambda folders: {}["of our own making"])
    result = look.run("list")
    assert result.code == 70
    assert "KeyError: 'of our own making'" in result.err
    assert result.err.endswith("internal error: harness is at fault, not your suite; finished runs are kept\n")


def test_an_end_of_file_is_not_taken_for_ctrl_c(look, monkeypatch):
    def ended(folders):
        raise EOFError

    monkeypatch.setattr("harness.registry.load_catalog", ended)
    assert look.run("list").code == 70


def test_ctrl_c_says_what_is_kept(look, monkeypatch):
    def interrupted(folders):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.registry.load_catalog", interrupted)
    result = look.run("list")
    assert result.code == 130
    assert result.err.strip() == "interrupted; finished runs are kept, the same command goes on"


def test_what_the_machine_refuses_is_one_line(look, monkeypatch):
    def refused(folders):
        raise PermissionError(13, "Permission denied", "plugins/\x1b[31mred")

    monkeypatch.setattr("harness.registry.load_catalog", refused)
    result = look.run("list")
    assert result.code == 4
    assert result.err.startswith("error: [Errno 13] Permission denied: 'plugins/")
    assert "\x1b" not in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_program_says_of_a_command_what_the_command_says_of_itself(name):
    own = " ".join(cli.get_command(None, name).help.split("\n\n")[0].split())
    assert own == _COMMANDS[name][2]
