"""Every built-in part passes the checks that are shipped to plugin authors, and is documented beside its module."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import harness_plugins
import pytest
import sklearn.datasets  # noqa: F401  # now, since to import it draws from Python's generator, which no part may
import torch

from harness.hookspecs import plural
from harness.registry.catalog import Origin
from harness.registry.describe import describe, parts_of
from harness.testing import check

torch.set_num_threads(1)

MODULES = [module.name for module in pkgutil.iter_modules(harness_plugins.__path__)]
PARTS = [part for name in MODULES for part in parts_of(importlib.import_module(f"harness_plugins.{name}"))]
# Whole networks and data sets that lie elsewhere: test_builtin_torchvision_*.py checks one of each family, and small
# files in the formats of the others; test_builtin_torch_optim.py checks those that fit a few models only.
ELSEWHERE = ("torchvision_models", "torchvision_datasets", "torchvision_photographs", "torch_optim")
ALL_HERE = [
    part
    for name in MODULES
    if name not in ELSEWHERE
    for part in parts_of(importlib.import_module(f"harness_plugins.{name}"))
]
README = (Path(harness_plugins.__path__[0]) / "README.md").read_text()


def label(part):
    return f"{part.kind}-{part.name}"


@pytest.mark.parametrize("part", ALL_HERE, ids=label)
def test_part_conforms(part):
    check(part)


@pytest.mark.parametrize("part", PARTS, ids=label)
def test_every_option_is_explained_where_it_is_built(part):
    info = describe(part, Origin("", "", "", "", ""))
    text = inspect.getdoc(getattr(part, part.call))
    assert info.summary
    assert all(f"{name}:" in text or f"`{name}`" in text for name in info.options)


def test_no_two_parts_of_a_kind_have_one_name():
    assert len({(part.kind, part.name) for part in PARTS}) == len(PARTS)


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
