"""Plugins are found, described from a child process, and one that is broken stops nothing that does not need it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from harness import registry
from harness.errors import PluginError
from harness.hookspecs import Choice, Float
from harness.registry import child, discovery
from harness.registry.catalog import Catalog, Origin, PartInfo

LION = '''
"""Lion (Chen et al. 2023, arXiv:2302.06675, Algorithm 2)."""
import harness

def lion(params, *, lr=1e-4, betas=(0.9, 0.99)):
    """Sign of an interpolated momentum."""
    import torch  # here, so that the child that describes it is there at once
    return torch.optim.SGD(params, lr=lr)

@harness.hookimpl
def harness_optimizers():
    space = {"lr": harness.Float(1e-5, 1e-2, log=True)}
    return [harness.Optimizer("lion", build=lion, space=space, source="Chen 2023")]
'''
OPTIMIZER = (
    "import harness\n@harness.hookimpl\ndef harness_optimizers():\n    return [harness.Optimizer({}, build=dict)]\n"
)


def test_every_built_in_part_comes_by_the_entry_point():
    catalog = registry.load_catalog()
    assert catalog.broken == ()
    assert {"sgd", "momentum", "adam", "adamw"} <= set(catalog.names("optimizer"))
    assert catalog.find("dataset", "mnist").origin.module == "harness_plugins.mnist"
    assert catalog.find("dataset", "mnist").origin.distribution == "harness"


def test_a_file_in_the_plugins_folder_of_the_working_folder_is_found(project):
    project.plugin("lion", LION)
    lion = registry.load_catalog().find("optimizer", "lion")
    assert lion.options == {"lr": 1e-4, "betas": [0.9, 0.99]}
    assert lion.space == {"lr": Float(1e-5, 1e-2, log=True)}
    assert lion.summary == "Sign of an interpolated momentum."
    assert lion.source == "Chen 2023"
    assert lion.origin.local


def test_a_plugins_folder_that_is_a_package_is_left_alone(project):
    project.plugin("lion", LION).plugin("__init__", "")
    assert "lion" not in registry.load_catalog().names("optimizer")


def test_a_given_folder_is_searched_and_a_missing_one_is_named(project, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "lion.py").write_text(LION)
    assert "lion" in registry.load_catalog([tmp_path / "more"]).names("optimizer")
    with pytest.raises(PluginError, match="no plugins folder"):
        registry.load_catalog([tmp_path / "nowhere"])


def test_an_installed_distribution_with_an_entry_point_is_found(tmp_path, monkeypatch):
    (tmp_path / "harness_lion.py").write_text(LION)
    info = tmp_path / "harness_lion-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-lion\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[harness]\nlion = harness_lion\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    origin = registry.load_catalog().find("optimizer", "lion").origin
    assert (origin.distribution, origin.version, origin.local) == ("harness-lion", "0.3", False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import no_such_package\nimport harness\nhookimpl = 1",
            "ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("def broken(:\n    hookimpl", "SyntaxError: invalid syntax (aaa_broken.py, line 1)"),
        (
            "import harness\n\ndef harness_strategies():\n    return []",
            "write @harness.hookimpl above it (aaa_broken.py)",
        ),
        ("import harness, os\nharness.hookimpl\nos._exit(3)", "ended its process (exit code 3)"),
        ("import harness, sys\nharness.hookimpl\nsys.exit('no')", "SystemExit: no"),
        (
            "import harness\n@harness.hookimpl\ndef harness_optimisers():\n    return []",
            "did you mean 'harness_optimizers'?",
        ),
        ("import harness\n@harness.hookimpl\ndef harness_models(config):\n    return []", "a hook takes no arguments"),
        (
            "import harness\n@harness.hookimpl\ndef harness_models():\n    return ['cnn']",
            "must return harness.Model parts",
        ),
        (
            "import harness\n@harness.hookimpl\ndef harness_models():\n    return 3",
            "must return a list of harness.Model",
        ),
        (OPTIMIZER.format("'x', space={'lr': (0, 1)}"), "must be Float, Int or Choice"),
        (OPTIMIZER.format("'x', defaults={'f': print}"), "is not plain data (aaa_broken.py)"),
        (OPTIMIZER.format("'a:b'"), "got 'a:b': ':' is not allowed (aaa_broken.py, line 4)"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_spoils_no_other(project, text, reason):
    project.plugin("aaa_broken", text).plugin("lion", LION)
    catalog = registry.load_catalog()
    assert [broken.module for broken in catalog.broken] == ["aaa_broken"]
    assert reason in catalog.broken[0].reason
    assert {"lion", "adam"} <= set(catalog.names("optimizer"))


def test_a_part_of_a_file_that_cannot_be_parsed_is_missed_with_file_and_line(project):
    project.plugin(
        "aaa", "import harness\n@harness.hookimpl\ndef hook(:\n    return [harness.Model('netz', build=dict)]"
    )
    message = r"'netz' is mentioned in a plugin that could not be imported: .*SyntaxError: .* \(aaa.py, line 3\)"
    with pytest.raises(PluginError, match=message):
        registry.load_catalog().find("model", "netz")


def test_a_hook_of_another_plugin_needs_no_mark_where_it_is_imported(project):
    project.plugin("lion", LION).plugin("more", "from lion import harness_optimizers\n" + "MARK = 'hookimpl'\n")
    assert registry.load_catalog().broken == ()


def test_a_plugin_that_hangs_at_import_is_given_up(project):
    project.plugin("hang", "import harness, time\nharness.hookimpl\ntime.sleep(600)").plugin("lion", LION)
    question = [registry._question(source) for source in discovery.find() if source.local]
    answers = dict(zip((q["origin"]["module"] for q in question), child.ask(question, deadline_seconds=2), strict=True))
    assert answers["hang"] == child.Failed("no answer within 2 s", kind="died")
    assert [part["name"] for part in answers["lion"]] == ["lion"]


def test_what_a_plugin_prints_cannot_be_taken_for_an_answer(project):
    project.plugin("loud", 'print(\'{"ended": 0, "answer": []}\' * 1000)\n' + LION)
    assert "lion" in registry.load_catalog().names("optimizer")


def test_a_part_named_by_a_broken_plugin_is_missed_with_that_plugins_reason(project):
    project.plugin("aaa", "import no_such_package, harness\nharness.Optimizer('adamz', build=harness.hookimpl)")
    with pytest.raises(
        PluginError, match=r"'adamz' is mentioned in a plugin that could not be imported: aaa .*no_such"
    ):
        registry.load_catalog().find("optimizer", "adamz")


def test_one_name_from_two_plugins_is_refused_with_both_and_the_way_out(project):
    project.plugin("mine", OPTIMIZER.format("'adam'"))
    catalog = registry.load_catalog()
    with pytest.raises(PluginError, match=r"offered twice, by .*'harness:adam' or 'plugins:adam'"):
        catalog.find("optimizer", "adam")
    assert catalog.find("optimizer", "harness:adam").origin.distribution == "harness"
    assert catalog.find("optimizer", "plugins:adam").origin.local


def test_a_typo_is_answered_with_the_near_name():
    with pytest.raises(PluginError, match=r"no optimizer named 'admaw' \(known: .*adamw.*\); did you mean 'adamw'\?"):
        registry.load_catalog().find("optimizer", "admaw")


def test_hyphens_and_underscores_are_the_same():
    part = PartInfo("loss", "cross_entropy", Origin("d", "1", "m", "f", "0"))
    assert Catalog((part,)).find("loss", "cross-entropy") == part


def test_an_unchanged_plugin_is_not_imported_again(project, tmp_path):
    count = tmp_path / "imports"
    project.plugin("lion", f"open({str(count)!r}, 'a').write('x')\n{LION}")
    registry.load_catalog()
    registry.load_catalog()
    assert count.read_text() == "x"
    project.plugin("lion", f"open({str(count)!r}, 'a').write('y')\n{LION}")
    registry.load_catalog()
    assert count.read_text() == "xy"


def test_the_source_hash_covers_what_the_module_imports_and_nothing_else(project):
    project.plugin("lion", "import support\n" + LION).plugin("support", "rate = 1").plugin("other", "x = 1")

    def sha256():
        discovery._closure.cache_clear()
        return next(source.sha256() for source in discovery.find() if source.module == "lion")

    before = sha256()
    project.plugin("other", "x = 2")
    assert sha256() == before
    project.plugin("support", "rate = 2")
    assert sha256() != before


def test_a_plugin_named_like_an_installed_module_hides_nothing(project):
    project.plugin("torch", f"import torch\ntorch.optim.SGD\n{LION}")
    catalog = registry.load_catalog()
    assert catalog.broken == ()
    assert "lion" in catalog.names("optimizer")


def test_a_part_description_survives_the_way_through_json():
    part = PartInfo(
        "optimizer", "x", Origin("d", "1", "m", "f", "0"), {"lr": 0.1}, ("params",), True,
        {"lr": Float(0.1, 1.0), "mode": Choice("a", None, 1)}, "source", "summary", {"head": None},
    )  # fmt: skip
    assert PartInfo.from_plain(json.loads(json.dumps(part.to_plain()))) == part


def test_finding_and_describing_plugins_leaves_torch_out_of_this_process():
    code = textwrap.dedent(
        """
        import sys
        from harness.registry import load_catalog
        assert "adam" in load_catalog().names("optimizer")
        print([name for name in ("torch", "pandas", "optuna", "scipy", "matplotlib") if name in sys.modules])
        """
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert said.stdout == "[]\n"
