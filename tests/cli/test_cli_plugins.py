"""Plugins that are broken or odd, seen from the command line: one clear line each, and never a traceback or a hang."""

import os
import subprocess

import pytest

from harness.registry import child, discovery

PARTS = """
import os, sys
import torch
from torch import nn
import harness

print("a plugin may print what it likes\\x1b[31m")

def raises(params, *, lr=0.1):
    raise RuntimeError("no build today")

def misfit(input_shape, outputs):
    return nn.Linear(7, outputs)

def ends(input_shape, outputs):
    os._exit(7)

def exits(input_shape, outputs):
    raise SystemExit("no \\x1b[31m way")

def function(input_shape, outputs):
    return nn.Linear

def lazy(input_shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs))

def nothing(root):
    return None

def lists(root):
    return harness.Splits(train=([1], [1]), test=([1], [1]), classes=2)

def ragged(root):
    return harness.Splits(train=(torch.zeros(3, 4), torch.zeros(2).long()), test=(torch.zeros(3, 4), None), classes=2)

def away(root):
    raise harness.DataError("its files are away")

@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("raises", build=raises)]

@harness.hookimpl
def harness_models():
    return [harness.Model(build.__name__, build=build) for build in (misfit, ends, exits, function, lazy)]

@harness.hookimpl
def harness_datasets():
    return [harness.Dataset(load.__name__, load=load) for load in (nothing, lists, ragged, away)]
"""
LOUD = "\x1b"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A plugins folder in one place, so that it is described once."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "parts.py").write_text(PARTS)
    return folder


@pytest.mark.parametrize(
    ("override", "code", "says"),
    [
        ('problem.model="misfit"', 2, "arm 'sgd' cannot be built: RuntimeError: "),
        ('problem.model="exits"', 2, "arm 'sgd' cannot be built: SystemExit: no <U+001B>[31m way (parts.py, line 19)"),
        (
            'arms.optimizer=["sgd", "raises"]',
            2,
            "arm 'raises' cannot be built: RuntimeError: no build today (parts.py,",
        ),
        (
            'problem.model="function"',
            2,
            "arm 'sgd' cannot be built: model 'function' built type, not an nn.Module (nor",
        ),
        ('problem.model="lazy"', 2, "arm 'sgd' cannot be built: model 'lazy' built a lazy layer, '1.weight' has no"),
        ('problem.dataset="nothing"', 2, "load must return harness.Splits, got NoneType"),
        ('problem.dataset="lists"', 2, "must be a pair of tensors (inputs, targets)"),
        ('problem.dataset="ragged"', 2, "3 inputs for 2 targets"),
        ('problem.dataset="away"', 4, "its files are away"),
    ],
)
def test_a_part_that_cannot_be_used_stops_the_plan_with_its_reason_and_place(look, hostile, override, code, says):
    result = look.run("plan", "suite.toml", "--plugins", str(hostile), "--set", override)
    assert result.code == code
    assert result.out == ""
    assert says in result.err
    assert LOUD not in result.err
    assert "Traceback" not in result.err


def test_what_else_lies_in_a_plugins_folder_is_left_alone(look):
    (look.own / ".#lion.py").symlink_to("somebody@somewhere.1234")
    (look.own / "gone.py").symlink_to("/nowhere")
    (look.own / "folder.py").mkdir()
    os.mkfifo(look.own / "pipe.py")
    (look.own / "latin.py").write_bytes("# gr\xfc\xdfe: no marker here".encode("latin-1"))
    (look.own / "notes.txt").write_text("hookimpl")
    result = look.run("list", "models", "--plugins", str(look.own))
    assert (result.code, result.err) == (0, "")


def test_a_plugins_folder_with_any_name_works(look):
    folder = look.own / "my plug-ins für 雪"
    folder.mkdir()
    (folder / "my part.py").write_text(
        "import harness\n@harness.hookimpl\ndef harness_optimizers():\n"
        "    return [harness.Optimizer('mine', build=lambda params: None)]\n"
    )
    result = look.run("show", "mine", "--plugins", str(folder))
    assert (result.code, result.err) == (0, "")
    assert "optimizer mine  (my plug-ins für 雪)" in result.out


def test_a_folder_whose_name_no_record_could_hold_is_refused(look):
    os.mkdir(os.fsencode(look.own) + b"/plug\xff")
    result = look.run("list", "models", "--plugins", os.fsdecode(os.fsencode(look.own) + b"/plug\xff"))
    assert result.code == 2
    assert "is not UTF-8; rename it" in result.err


def test_an_installed_plugin_is_not_taken_twice_where_its_folder_is_named_too(look):
    import harness_plugins

    before = look.run("list", "--json").json()
    (folder,) = harness_plugins.__path__
    assert look.run("list", "--plugins", folder, "--json").json() == before


def test_a_file_in_the_working_folder_hides_no_module_from_the_child(look, monkeypatch):
    for name in ("harness", "torch", "pluggy", "json"):
        (look.own / f"{name}.py").write_text(f"raise SystemExit('{name} is hidden')")
    (look.own / "plugins").mkdir()
    (look.own / "plugins/mine.py").write_text(
        "import json, torch, harness\n@harness.hookimpl\ndef harness_optimizers():\n"
        "    return [harness.Optimizer('mine', build=torch.optim.SGD)]\n"
    )
    monkeypatch.chdir(look.own)
    monkeypatch.setattr(child, "subprocess", subprocess)  # how it is started is what counts here
    result = look.run("show", "mine")
    assert (result.code, result.err) == (0, "")


def test_noise_in_the_answers_channel_is_the_failure_of_the_question_at_hand(look):
    (look.own / "noise.py").write_text(
        "import harness, os\nharness.hookimpl\n"
        "for descriptor in range(3, 20):\n"
        "    try:\n        os.write(descriptor, b'\\xff noise\\n')\n    except OSError:\n        pass\n"
    )
    result = look.run("list", "models", "--plugins", str(look.own))
    assert result.code == 0
    assert "  line " in result.out
    assert "broken plugin noise (" in result.err
    assert "wrote into the channel that its answer was expected on" in result.err


def test_every_kind_of_question_has_a_deadline():
    assert set(child.DEADLINES_SECONDS) == {"plugin", "data", "price", "outline", "weights", "conformance"}


def test_the_hash_of_a_file_that_cannot_be_read_is_a_hash_all_the_same(look):
    gone = discovery.Source("d", "", "gone", look.own / "gone.py", look.own, local=True)
    assert len(gone.sha256()) == 64
