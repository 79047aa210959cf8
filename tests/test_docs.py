"""What the pages say is so: every key, default, option, hook, part, suite and example is held against the code."""

from __future__ import annotations

import hashlib
import importlib
import json
import lzma
import re
import runpy
import tomllib
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import click
import pytest
from pydantic_core import PydanticUndefined

import harness
from harness.cli import cli
from harness.hookspecs import HOOKS, KINDS
from harness.suite import declaration, schema

ROOT = Path(__file__).parents[1]
COMMANDS = {name: cli.get_command(None, name) for name in cli.list_commands(None)}
PAGES = sorted(
    path
    for path in ROOT.glob("**/*.md")
    if not any(part == "examples" or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
SUITES = sorted((ROOT / "suites").glob("*.toml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks of a language, without the indent of the list that they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def sections(text: str) -> dict[str, dict[str, list[str]]]:
    """Rows of the tables of suites/README.md by the table of the suite that they stand under, then by key."""
    found: dict[str, dict[str, list[str]]] = {}
    name = ""
    for line in text.partition("## Keys")[2].splitlines():
        if line.startswith("Top level"):
            name = ""
        elif heading := re.match(r"`\[(\w+)\]`:|`\[\[(\w+)\]\]`, once for", line):
            name = heading[1] or heading[2]
        elif row := re.match(r"\| `(\w+)` \| *(.*?) *\| (.*) \|$", line):
            found.setdefault(name, {})[row[1]] = [row[2], row[3]]
    return found


KEYS = sections(read("suites/README.md"))
TABLES: dict[str, type[schema.Table]] = {
    "": schema.SuiteFile,
    "source": schema.Source,
    "problem": schema.Problem,
    "tuning": schema.Tuning,
    "compare": schema.Compare,
    "claim": schema.Claim,
    "execution": schema.Execution,
}


def keys(table: type[schema.Table]) -> dict[str, Any]:
    """Keys of a table with their defaults, tables left out."""
    return {
        info.alias or name: ... if info.default is PydanticUndefined and info.default_factory is None else info.default
        for name, info in table.model_fields.items()
        if not _is_table(info.annotation)
        and not (table is schema.SuiteFile and name in ("problems", "arms", "arm", "claim"))
    }


def _is_table(annotation: Any) -> bool:
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not NoneType]
    return all(isinstance(kind, type) and issubclass(kind, schema.Table) for kind in kinds)


@pytest.mark.parametrize("name", TABLES)
def test_every_key_of_a_suite_has_a_row_and_every_row_a_key(name):
    assert set(KEYS[name]) == set(keys(TABLES[name]))


CASES = [(name, key, default) for name, table in TABLES.items() for key, default in keys(table).items()]


@pytest.mark.parametrize(("name", "key", "default"), CASES, ids=lambda value: str(value))
def test_a_keys_default_is_the_one_in_its_row(name, key, default):
    shown = KEYS[name][key][0]
    if default is ...:
        assert shown.startswith("required")
    elif isinstance(default, bool | int | float | str):
        literal = shown.strip("`")
        assert (literal if re.match(r"[a-z]+$", literal) else json.loads(literal)) in (default, str(default).lower())
    else:  # what stands in for None is said in words, or the key may be left out
        assert not shown.startswith("`")


@pytest.mark.parametrize(
    "word", ["[problems]", "[arms]", "[[arm]]", "[tuning]", "[compare]", "[execution]", "[source]"]
)
def test_every_table_of_a_suite_is_explained(word):
    assert f"`{word}`" in read("suites/README.md")


def test_every_word_that_a_key_takes_is_in_its_row():
    for name, table in TABLES.items():
        for key in keys(table):
            path = tuple(step for step in (name, *([0] if name == "claim" else []), key) if step != "")
            words = declaration.allowed(path).split(", ")
            if all(re.fullmatch(r"[a-z_0-9]+", word) for word in words) and words[0] not in (
                "text",
                "integer",
                "number",
                "true",
                "table",
            ):
                row = " ".join(KEYS[name][key])
                assert [word for word in words if word not in row] == [], f"{name}.{key}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name):
    assert f"harness {name}" in read("README.md")


def test_every_command_that_the_pages_name_is_there():
    for page in PAGES:
        for words in re.findall(r"(?:^    |`|\$ )harness ([a-z]+)\b", page.read_text(), re.MULTILINE):
            assert words in COMMANDS, f"{page.name} names 'harness {words}'"


def test_every_option_that_the_pages_name_is_there():
    options = {option for command in COMMANDS.values() for p in command.params for option in p.opts}
    foreign = {"--extra-index-url", "--index-url", "--editable", "--help", "--version", "--benchmark-skip"}
    foreign |= {"--nthreads", "--resources"}  # of `dask worker`
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for option in re.findall(r"`(?:[^`]* )?(--[a-z][a-z-]+)", text):
            assert option in options | foreign, f"{page.name} names '{option}'"


def test_every_option_says_what_it_does():
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} --{parameter.name}"


def test_every_exit_code_is_in_the_help():
    shown = cli.epilog or ""
    classes = (harness.HarnessError, harness.SuiteError, harness.PluginError, harness.DataError, harness.ResultsError)
    assert all(re.search(rf"\b{error.exit_code} ", shown) for error in classes)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_in_the_plugins_page(hook):
    assert hook in read("plugins/README.md")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_part_has_a_built_in_row(kind):
    assert re.search(rf"^\| {kind} \| `", read("plugins/README.md"), re.MULTILINE)


@pytest.fixture(scope="session")
def catalog(_cache):
    from harness.registry import load_catalog

    return load_catalog()


NETWORKS = "harness_plugins.torchvision_models"
"""Have a table of their own, a family a row."""


def newer(part: Any) -> bool:
    """Whether the installed torch or torchvision has the part, and harness knows nothing of it."""
    return part.source == f"torch.optim.{part.source.rpartition('.')[2]}" or part.source == "torchvision"


def test_every_built_in_part_has_its_row_with_options_defaults_and_space(catalog):
    rows = {
        (row[1], row[2]): row[0]
        for row in re.finditer(r"^\| (\w+) \| `(\w+)` \|.*$", read("plugins/README.md"), re.MULTILINE)
    }
    built_in = [part for part in catalog.parts if part.origin.distribution == "harness" and not newer(part)]
    built_in = [part for part in built_in if part.origin.module != NETWORKS]
    assert set(rows) == {(part.kind, part.name) for part in built_in}
    for part in built_in:
        options, tuned = rows[part.kind, part.name].split("|")[3:5]
        assert re.findall(r"`(\w+)` \(", options) == [*part.options, *part.required]
        for name, default in part.options.items():
            shown, _ = json.JSONDecoder().raw_decode(options.partition(f"`{name}` (")[2])
            assert shown == default, f"{part.name}: {name}"
        assert re.findall(r"`(\w+)` (\S+) to (\S+?),? ", f"{tuned} ") == [
            (name, f"{domain.low:g}", f"{domain.high:g}") for name, domain in part.space.items()
        ]
        for name, domain in part.space.items():
            assert (", log" in tuned) == domain.log, f"{part.name}: {name}"


def test_every_network_of_torchvision_is_in_the_row_of_its_family_with_smallest_side_and_head(catalog):
    networks = {part.name: part for part in catalog.of("model") if part.origin.module == NETWORKS and not newer(part)}
    listed = {}
    for row in re.finditer(
        r"^\| (`\w+`(?:, `\w+`)*) \| ([\w ]+) \| (.*) \| `([\w.]+)` \|$", read("plugins/README.md"), re.M
    ):
        listed |= dict.fromkeys(re.findall(r"`(\w+)`", row[1]), row.groups()[1:])
    assert listed.keys() == networks.keys()
    for name, (side, source, head) in listed.items():
        part = networks[name]
        assert (part.source, part.extra["head"]) == (source, f"network.{head}")
        words = {"any": "torchvision."}.get(side, f"images of {side} pixels a side or more.")
        assert part.summary.endswith(side.replace("multiples of", "a multiple of") + "." if " " in side else words), (
            name
        )


def test_every_option_of_images_is_explained_with_its_default(catalog):
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*) \|$", read("plugins/README.md").partition("option of images")[2], re.M)
    )
    options = catalog.find("dataset", "mnist").options
    assert list(options) == [name for name in rows if name in options]
    first = {name: re.match(r"`?([\w\"]+)", rows[name])[1] for name in options}
    assert first == {"normalize": '"symmetric"', "classes": "all", "half": "both", "invert": "false", "rotate": "0"}
    for name in ("fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "digits"):
        shared = catalog.find("dataset", name).options
        assert {option: shared[option] for option in options} == options


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_every_suite_is_in_the_suites_page_and_is_valid(suite, project):
    assert f"| `{suite.name}` | " in read("suites/README.md")
    question = tomllib.loads(suite.read_text())["question"]
    row = next(line for line in read("suites/README.md").splitlines() if line.startswith(f"| `{suite.name}` |"))
    assert len(row.split("|")[2].split()) >= 4, f"the row does not say what '{question}' asks"
    result = project.run("check", str(suite))
    assert result.code == 0, result.err


def test_every_suite_that_the_pages_name_is_there():
    for page in PAGES:
        for name in re.findall(r"suites/(\w+)\.toml", page.read_text()):
            assert (ROOT / "suites" / f"{name}.toml").exists(), f"{page.name} names suites/{name}.toml"


def test_links_to_files_of_the_repository_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def resolves(dotted: str) -> bool:
    """Whether modules and attributes of that name are there, as one who follows it in the code would find them."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.is_dir() or path.with_suffix(".py").is_file():
            found: Any = importlib.import_module(".".join(parts[:end]))
            for name in parts[end:]:
                found = getattr(found, name, None)
            return found is not None
    return False


SOURCES = sorted(path for top in ("harness", "plugins", "tests") for path in (ROOT / top).rglob("*.py"))


def test_every_name_of_harness_that_docstrings_comments_and_pages_quote_is_there():
    quoted = {
        (path.relative_to(ROOT).as_posix(), dotted)
        for path in (*SOURCES, *PAGES)
        for dotted in re.findall(r"`(harness(?:\.[A-Za-z_]\w*)+)", path.read_text())
    }
    assert ("harness/suite/schema.py", "harness.train.penalties") in quoted  # the check sees what it is to see
    assert {(place, dotted) for place, dotted in quoted if not resolves(dotted)} == set()


def mapped() -> list[tuple[list[str], list[str]]]:
    """The rows of the table in CONTRIBUTING.md: files and folders of harness, and the modules that a row explains."""
    rows = [line.split("|")[1:3] for line in read("CONTRIBUTING.md").splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", places), re.findall(r"`([a-z_/]+)`", said)) for places, said in rows]


def test_the_table_of_contributing_names_nothing_that_is_gone():
    gone = set()
    for places, modules in mapped():
        gone |= {place for place in places if not (ROOT / "harness" / place).exists()}
        folders = ["", *(place for place in places if place.endswith("/"))]
        for module in modules:
            if not any((ROOT / "harness" / folder / f"{module}.py").is_file() for folder in folders):
                gone.add(module)
    assert gone == set()


def test_no_page_holds_a_placeholder():
    for page in PAGES:
        found = re.findall(r"\b(TODO|FIXME|XXX|TBD|ANSWER|FOREST|TIME)\b", page.read_text())
        assert found == [], f"{page.relative_to(ROOT)} holds {found}"


TOML = [(page, text) for page in PAGES for text in blocks(page.read_text(), "toml")]
PYTHON = [(page, text) for page in PAGES for text in blocks(page.read_text(), "python")]


def label(value: Any) -> str:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else ""


@pytest.mark.parametrize(("page", "text"), TOML, ids=label)
def test_every_toml_example_is_toml_and_a_suite_among_them_is_valid(page, text, project):
    values = tomllib.loads(text)
    if "question" in values:
        result = project.write(text, name="example.toml").run("check", "example.toml")
        assert result.code == 0, result.err


@pytest.mark.parametrize(("page", "text"), PYTHON, ids=label)
def test_every_python_example_is_python(page, text):
    compile(text, str(page), "exec")


PLUGINS = [(page, text) for page, text in PYTHON if "hookimpl" in text]
COMPARED = {"optimizer": "sgd", "strategy": "full"}
"""Kinds of part that the pages show how to write, and the built-in one that the example is compared with."""


@pytest.mark.parametrize(("page", "text"), PLUGINS, ids=label)
def test_every_plugin_of_the_pages_is_found_and_runs(page, text, look_for_parts):
    project, ((kind, name),) = look_for_parts(text)
    changes = {"tuning": None, "compare.replicates": 1}
    if kind == "dataset":
        changes |= {"problem.dataset": name, "problem.train_examples": 60, "problem.validation_examples": 30}
    else:
        changes |= {"arms.optimizer": None, f"arms.{kind}": [COMPARED[kind], name], "compare.baseline": COMPARED[kind]}
    result = project.write(suite=changes).run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "2 of 2 ok" in result.err


@pytest.fixture
def look_for_parts(project):
    """Put a plugin into the folder; returns the project and kind and name of each part that it adds."""

    def add(text: str) -> tuple[Any, list[tuple[str, str]]]:
        found = project.plugin("example", text).run("list", "--json").json()
        assert found["broken"] == []
        return project, [(p["kind"], p["name"]) for p in found["parts"] if p["origin"]["module"] == "example"]

    return add


RESULTS = [(page, text) for page, text in PYTHON if "harness.load(" in text]


@pytest.mark.parametrize(("page", "text"), RESULTS, ids=label)
def test_every_example_that_reads_results_runs(page, text, finished):
    example = finished.folder / "example.py"
    example.write_text(text.replace("results/optimizers", "results/suite"))
    found = runpy.run_path(str(example))
    assert found["results"].answer.startswith("On clouds-line, ")


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    (newest, *_) = re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)
    assert project["version"] == harness.__version__ == newest


def test_the_python_versions_are_the_same_everywhere():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    last = int(high) - 1
    classified = [int(name.rpartition(".")[2]) for name in project["classifiers"] if "Python :: 3." in name]
    assert classified == list(range(int(low), last + 1))
    for name in ("README.md", "Makefile"):
        assert f"3.{low} to 3.{last}" in read(name), name


def test_every_package_is_packed():
    packed = set(tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "harness").rglob("__init__.py")}
    assert packed == there | {"harness_plugins"}


def test_every_dependency_beyond_the_task_has_its_reason():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    names = {
        re.match(r"[\w-]+", line)[0] for line in (*project["dependencies"], *project["optional-dependencies"]["test"])
    }
    given = {"torch", "torchvision", "pandas", "seaborn", "optuna", "pytest", "pytest-benchmark", "pluggy"}
    assert {name for name in names - given if f"`{name}`" not in read("DECISIONS.md")} == set()


def test_the_embedded_mnist_is_the_one_whose_checksums_are_declared_twice():
    mnist = importlib.import_module("harness_plugins.mnist")
    listed = {
        name: sha256 for sha256, name in re.findall(r"^(\w{64})  (\S+)$", read("plugins/data/mnist/SHA256SUMS"), re.M)
    }
    assert len(mnist.CHECKSUMS) == 4
    for name, declared in mnist.CHECKSUMS.items():
        packed = (ROOT / "plugins/data/mnist" / f"{name}.xz").read_bytes()
        assert hashlib.sha256(lzma.decompress(packed)).hexdigest() == declared == listed[name]
        assert hashlib.sha256(packed).hexdigest() == listed[f"{name}.xz"]
    assert "CC BY-SA 3.0" in read("plugins/data/mnist/NOTICE")


def test_every_remark_of_the_lint_has_a_row_and_every_row_a_remark():
    sources = "".join(
        read(f"harness/{name}") for name in ("verdict/lint.py", "verdict/lint_problems.py", "outputs.py", "looks.py")
    )
    made = set(re.findall(r'Remark\(\s*"(H\d{3})", "?([WN]|level)', sources)) | {("H003", "W"), ("H003", "N")}
    rows = re.findall(r"^\| (H\d{3}) ([WN, ]+) \|", read("results/README.md"), re.MULTILINE)
    assert {(code, level) for code, levels in rows for level in levels.split(", ")} == made - {("H003", "level")}
