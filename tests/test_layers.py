"""Imports go down the layers of CONTRIBUTING.md, and what is heavy or dangerous stays where it is allowed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[1]
CORE = Path(harness.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """The files of harness; parsed by the process that asks, and not by each that collects this module."""
    return {path.relative_to(CORE).as_posix(): ast.parse(path.read_text()) for path in sorted(CORE.rglob("*.py"))}


# Who may import a library at all: files, or folders with a slash at the end.
TORCH = (
    "details.py", "outline.py", "probe.py", "strategies/", "train/",
    "execute/work.py", "execute/serial.py", "testing/",
)  # fmt: skip
SCHEMA = ("suite/schema.py", "suite/marks.py", "suite/declaration.py")
FRAMES = ("results.py", "tables/", "verdict/", "report/")
ALLOWED: dict[str, tuple[str, ...]] = {
    "torch": TORCH,
    "torchvision": (),
    "safetensors": ("train/snapshot.py", "strategies/weights.py"),
    "optuna": ("tune/asking.py", "results.py", "studies.py"),
    "pandas": FRAMES,
    "numpy": (*FRAMES, "train/device.py", "testing/"),
    "scipy": ("verdict/",),
    "statsmodels": (),
    "sklearn": (),
    "seaborn": ("report/",),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "markupsafe": ("report/",),
    "pydantic": SCHEMA,
    "pydantic_core": ("suite/marks.py",),
    "annotated_types": ("suite/declaration.py",),
    "click": ("cli/",),
    "rich": ("progress.py",),
    "filelock": ("store.py",),
    "platformdirs": ("locations.py",),
    "pluggy": ("hookspecs.py", "registry/describe.py"),
    "pytest": (),
    "psutil": (),
    "dask": ("execute/cluster.py",),
    "distributed": ("execute/cluster.py", "execute/dask.py", "execute/roster.py", "execute/station.py"),
}
# Layers from the ground up; a file may import its own layer and those below. A file that is named alone lies lower than
# the rest of its folder. `testing/` and `probe.py` stand beside.
LAYERS = (
    (
        "errors.py", "interrupts.py", "names.py", "locations.py", "hookspecs.py", "tables/csvtext.py", "spec.py",
        "pruning.py", "train/stopping.py", "train/__init__.py", "outcomes.py", "__init__.py",
    ),
    (
        "registry/catalog.py", "registry/discovery.py", "registry/child.py", "diagnostics.py", "records.py", "store.py",
        "tune/memo.py", "train/device.py", "train/returned.py",
    ),
    (
        "train/checkpoints.py", "train/snapshot.py", "train/feed.py", "train/augment.py", "train/penalties.py",
    ),
    ("registry/", "published.py", "download.py", "toml/", *SCHEMA),
    ("suite/",),
    ("plan/", "fitting.py", "sizes.py"),
    ("tune/", "strategies/", "details.py", "train/", "probe.py", "outline.py", "execute/"),
    ("sources.py", "coordinator.py"),
    ("tables/", "verdict/", "report/"),
    (
        "session.py", "outputs.py", "going_on.py", "looks.py", "environments.py", "recheck.py", "results.py",
        "studies.py", "progress.py", "testing/",
    ),
    ("cli/", "__main__.py"),
)  # fmt: skip
# Upward on purpose: the child answers by means of the training loop, which the coordinator itself never imports.
UPWARD = {
    ("registry/describe.py", "probe.py"),
    ("registry/describe.py", "outline.py"),
    ("registry/describe.py", "execute/server.py"),
    ("registry/describe.py", "testing/conformance.py"),
    ("__init__.py", "results.py"),
}


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith("/") and name.startswith(one)) for one in allowed)


def imports(tree: ast.AST, *, types: bool = False) -> set[str]:
    """Dotted names of what is imported anywhere in the file; what only a type checker sees is left out."""
    found: set[str] = set()
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and not types and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def home(dotted: str) -> str | None:
    """The file of harness that a dotted name lies in."""
    parts = dotted.split(".")
    if parts[0] != "harness":
        return None
    for end in range(len(parts), 0, -1):
        path = "/".join(parts[1:end])
        for name in (f"{path}.py", f"{path}/__init__.py" if path else "__init__.py"):
            if name in trees():
                return name
    raise AssertionError(f"{dotted} is nowhere in harness")


def layer(name: str) -> int:
    exact = [index for index, names in enumerate(LAYERS) if name in names]
    (found,) = exact or [index for index, names in enumerate(LAYERS) if within(name, names)]
    return found


def test_every_file_has_a_place_in_the_layers():
    for name in trees():
        assert isinstance(layer(name), int), name


# Each rule is asked of all files at once: one test for each rule and file took longer to report than to ask.

Found = dict[str, list[str]]
"""What is against a rule, by file."""


def against(rule: Callable[[str, ast.Module], Iterable[str]]) -> Found:
    """What the rule finds in the files of harness."""
    asked = {name: sorted(rule(name, tree)) for name, tree in trees().items()}
    return {name: found for name, found in asked.items() if found}


def tops(tree: ast.AST, *, types: bool = True) -> set[str]:
    """Top-level names of what is imported."""
    return {dotted.partition(".")[0] for dotted in imports(tree, types=types)}


@cache
def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a file, with what is called as it is written."""
    return [(ast.unparse(node.func), node) for node in ast.walk(trees()[name]) if isinstance(node, ast.Call)]


def called(name: str) -> set[str]:
    return {what for what, _ in calls(name)}


def test_imports_point_down_the_layers():
    def upward(name: str, tree: ast.Module) -> Iterator[str]:
        for dotted in imports(tree):
            target = home(dotted)
            if target is not None and (name, target) not in UPWARD and layer(target) > layer(name):
                yield dotted

    assert against(upward) == {}


def test_every_library_is_imported_where_it_is_allowed():
    standard = sys.stdlib_module_names | {"harness"}

    def foreign(name: str, tree: ast.Module) -> Iterator[str]:
        return (top for top in tops(tree, types=False) - standard if not within(name, ALLOWED.get(top, ())))

    assert against(foreign) == {}


def test_the_core_never_imports_the_built_in_plugins():
    def plugins(name: str, tree: ast.Module) -> Iterator[str]:
        yield from tops(tree) & {"harness_plugins", "plugins"}
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        # `discovery` knows the name under which the folder of the built-in plugins is imported, and imports nothing.
        if "harness_plugins" in strings and name != "registry/discovery.py":
            yield "'harness_plugins'"

    assert against(plugins) == {}


UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"}


def test_nothing_that_runs_data_is_imported():
    assert against(lambda name, tree: tops(tree) & UNSAFE_MODULES) == {}


UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}


def test_nothing_that_runs_data_is_called():
    def unsafe(name: str, tree: ast.Module) -> Iterator[str]:
        for what, node in calls(name):
            keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
            # Published weights are pickles, of which torch takes tensors and nothing else.
            tensors = (name, keywords.get("weights_only")) == ("strategies/weights.py", "True")
            flags = {keywords.get("shell", "False"), keywords.get("allow_pickle", "False")}
            if what in UNSAFE_CALLS or (what == "torch.load" and not tensors) or flags != {"False"}:
                yield ast.unparse(node)

    assert against(unsafe) == {}


PRINTS = ("cli/", "progress.py", "registry/describe.py")
"""`progress` writes to the stream that it is given, `describe` answers its parent."""
# Processes of their own, and the second Ctrl-C.
ENDS = ("registry/describe.py", "execute/worker.py", "execute/server.py", "interrupts.py")


def test_only_the_command_line_prints_and_ends_the_process():
    def rude(name: str, tree: ast.Module) -> Iterator[str]:
        if not within(name, PRINTS):
            yield from called(name) & {"print", "click.echo", "pprint"}
        if not within(name, ("cli/", "__main__.py")):
            yield from called(name) & {"sys.exit", "exit", "quit"}
        if name not in ENDS:
            yield from called(name) & {"os._exit"}

    assert against(rude) == {}


WRITERS = {"write_text", "write_bytes", "savefig", "to_csv", "to_parquet"}


def test_only_store_and_report_write_below_the_results_folder():
    def writers(name: str, tree: ast.Module) -> Iterator[str]:
        if not within(name, ("store.py", "report/", "tables/datapackage.py", "tables/csvtext.py")):
            attributes = {node.func.attr for _, node in calls(name) if isinstance(node.func, ast.Attribute)}
            yield from attributes & WRITERS

    assert against(writers) == {}


# Beside `store`, which writes whole files atomically: what is no part of the results, or cannot be written whole.
WRITES_BESIDE = {
    ("cli/__init__.py", "os.open"),  # the null device
    ("toml/__init__.py", "os.open"),  # reads
    ("published.py", "os.open"),  # reads
    ("registry/describe.py", "os.fdopen"),  # the channel to its parent
    ("execute/worker.py", "os.open"),  # the log of a run, which grows while it is written
    ("execute/process.py", "tempfile.mkdtemp"),  # the folder that a run works in, outside the results
}
WRITING = {"os.open", "os.replace", "os.rename", "os.renames", "os.link", "os.symlink", "os.truncate", "os.mkfifo"}


def writes(what: str, node: ast.Call) -> bool:
    """Whether the call makes or changes a file without going through `store`."""
    if what in WRITING or what.startswith(("tempfile.mk", "shutil.copy", "shutil.move")):
        return True
    if what == "open" or what.endswith((".open", "os.fdopen")):
        modes = [*node.args, *(one.value for one in node.keywords if one.arg == "mode")]
        return any(
            isinstance(m, ast.Constant) and re.fullmatch(r"[rwaxbt+]*[wax+][rwaxbt+]*", str(m.value)) for m in modes
        )
    return what.endswith((".symlink_to", ".hardlink_to", ".touch"))


def test_there_is_one_function_that_writes_files():
    found = against(lambda name, tree: {what for what, node in calls(name) if writes(what, node)})
    assert "os.replace" in found.pop("store.py")  # the check sees what it is to see
    assert {(name, what) for name, all_of_it in found.items() for what in all_of_it} <= WRITES_BESIDE


WAITING = (".communicate", "subprocess.run", ".recv", ".get_nowait")


def test_a_wait_has_a_time_out():
    def endless(name: str, tree: ast.Module) -> Iterator[str]:
        for what, node in calls(name):
            if what.endswith(WAITING) and not any(one.arg == "timeout" for one in node.keywords):
                yield ast.unparse(node)

    assert against(endless) == {}


def test_the_table_of_contributing_names_every_file():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    patterns = [
        word
        for row in text.splitlines()
        if row.startswith("| `")
        for word in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    missing = set()
    for name in trees().keys() - {"__init__.py", "__main__.py"}:
        top = name.split("/")[0] + "/" if "/" in name else name
        if not any(Path(top).match(pattern.rstrip("/")) for pattern in patterns):
            missing.add(top)
    assert missing == set()


@pytest.fixture
def finished_folder(request) -> Path:
    """The session's finished folder itself: nothing here writes into it."""
    return Path(request.getfixturevalue("_finished_once"))


HEAVY = (
    "distributed",
    "torch",
    "torchvision",
    "optuna",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "seaborn",
    "jinja2",
)
IN_A_CHILD = """
import sys
from harness.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print("MODULES", end.code or 0, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def modules_after(folder: Path, *words: str) -> set[str]:
    """Top-level modules in the process after `harness WORDS` ended well."""
    command = [sys.executable, "-c", IN_A_CHILD, *words]
    said = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    tag, code, *names = said.stdout.splitlines()[-1].split()
    assert (tag, code) == ("MODULES", "0"), said.stdout + said.stderr
    return set(names)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["--version"], ["run", "--help"],
        ["check", "suite.toml"], ["plan", "suite.toml"], ["status", "suite.toml"], ["list"], ["show", "adam"],
        ["run", "suite.toml"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_looking_loads_nothing_heavy(finished_folder, words):
    found = modules_after(finished_folder, *words)
    assert found.isdisjoint(HEAVY)
    if words[-1].startswith("--"):
        assert found.isdisjoint({"optuna", "pydantic", "numpy", "rich", "pluggy", "multiprocessing"})


def test_importing_harness_loads_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import harness; print(*(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    new = {name.partition(".")[0] for name in said.stdout.split()}
    assert new <= sys.stdlib_module_names | {"harness"}
