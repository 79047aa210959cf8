"""Every built-in part passes the checks that are shipped to plugin authors, and is documented beside its module."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import harness_plugins
import pytest
import torch

from harness.catalog import Origin
from harness.describe import describe, parts_of
from harness.hookspecs import plural
from harness.testing import check

torch.set_num_threads(1)

MODULES = [module.name for module in pkgutil.iter_modules(harness_plugins.__path__)]
PARTS = [part for name in MODULES for part in parts_of(importlib.import_module(f"harness_plugins.{name}"))]
README = (Path(harness_plugins.__path__[0]) / "README.md").read_text()


def label(part):
    return f"{part.kind}-{part.name}"


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_part_conforms(part):
    check(part)


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_part_has_a_row_in_the_readme_with_its_options_and_space(part):
    info = describe(part, Origin("", "", "", "", ""))
    row = next(line for line in README.splitlines() if line.startswith(f"| {part.kind} | `{part.name}` |"))
    for name, default in info.options.items():
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower().removesuffix(".0")
        assert re.search(rf"`{name}` \({re.escape(shown)}", row), f"{name} ({shown}) is not in: {row}"
    for name, domain in part.space.items():
        assert f"`{name}` {domain.low:g} to {domain.high:g}" in row


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_every_option_is_explained_where_it_is_built(part):
    info = describe(part, Origin("", "", "", "", ""))
    text = inspect.getdoc(getattr(part, part.call))
    assert info.summary
    assert all(f"{name}:" in text or f"`{name}`" in text for name in info.options)


def test_all_kinds_have_a_built_in_part():
    assert {plural(part.kind) for part in PARTS} == {
        "models",
        "optimizers",
        "strategies",
        "datasets",
        "losses",
        "schedules",
        "augmentations",
        "metrics",
        "executors",
    }


def test_importing_the_package_imports_no_plugin():
    assert not [name for name in vars(harness_plugins) if name.startswith("harness_")]


def test_the_readmes_plugin_works(tmp_path):
    source = re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE).group(1)
    (tmp_path / "sign_sgd.py").write_text(source)
    spec = importlib.util.spec_from_file_location("sign_sgd", tmp_path / "sign_sgd.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (part,) = parts_of(module)
    assert len(source.strip().splitlines()) <= 20
    check(part)
