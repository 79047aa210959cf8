"""A run that goes on from a state ends with the bits of one that never stopped."""

from __future__ import annotations

import json
import time

import psutil
import pytest
import torch

from harness import registry
from harness.hookspecs import Phase, Strategy
from harness.registry import describe, discovery, load_part
from harness.registry.catalog import Catalog, PartInfo
from harness.train import snapshot, training
from harness.train.loop import NotRestored
from harness.train.parts import Parts
from tests.conftest import TINY
from tests.train.test_train import CPU, FULL, make_splits, parts, payload

TOPICS = ("optimizers", "schedules", "strategies")


def catalog() -> Catalog:
    """Built-in parts of these topics, described in this process: tests are named after them before there is a cache."""
    wanted = tuple(f"harness_plugins.{topic}" for topic in TOPICS)
    questions = [registry._question(source) for source in discovery.find() if source.module.startswith(wanted)]
    return Catalog(tuple(PartInfo.from_plain(part) for question in questions for part in describe.answer(question)))


CATALOG = catalog()
TWO_PHASES = Strategy(
    "two",
    phases=lambda t: [
        Phase(lambda p: 1.0 if p.head else None, share=1, name="head", keep=True),
        Phase(lambda p: 0.5, share=2, name="all"),
    ],
    finish=lambda t: mix(t, 0.25),
)


def mix(t, share):
    """Towards the state that was kept after the first phase."""
    with torch.no_grad():
        for name, tensor in t.model.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(t.kept["head"][name], share)


def noted(t):
    """A strategy that counts its penalties in its notes, and draws from its generator in each."""
    t.memo["times"] = t.memo.get("times", torch.zeros(())) + 1
    drawn = torch.rand((), generator=t.generator)
    return 1e-3 * t.memo["times"] * drawn * sum(p.tensor.square().sum() for p in t.parameters())


NOTED = Strategy("noted", phases=lambda t: [Phase(lambda p: 1.0)], penalty=noted)


def refer(t):
    """Notes that are tensors of the model, by themselves and beside what is the strategy's own."""
    t.memo["weights"] = [p.tensor for p in t.parameters()]
    t.memo["pairs"] = {p.name: (p.tensor.detach(), torch.zeros_like(p.tensor)) for p in t.parameters()}


def pull_to_mean(t):
    """Pulls the weights to a running mean of theirs."""
    for tensor, mean in t.memo["pairs"].values():
        mean.lerp_(tensor, 0.1)
    own = zip(t.memo["weights"], t.memo["pairs"].values(), strict=True)
    return sum((weight - mean).square().sum() for weight, (_, mean) in own)


def look_up(t):
    """Finds the weights when they are first needed."""
    if "weights" not in t.memo:
        t.memo["weights"] = tuple(p.tensor for p in t.parameters())
    return 0.3 * sum(tensor.square().sum() for tensor in t.memo["weights"])


def hold_on(t):
    """A hook that adds to notes which it holds on to itself."""
    seen = t.memo["seen"] = {"examples": torch.zeros(()), "sizes": []}

    def note(module, inputs):
        if module.training:
            seen["examples"] += len(inputs[0])
            seen["sizes"].append(len(inputs[0]))

    t.model.register_forward_pre_hook(note)


def by_examples(t):
    seen = t.memo["seen"]
    return 1e-3 * (seen["examples"] + sum(seen["sizes"])) * sum(p.tensor.square().sum() for p in t.parameters())


def everything(t):
    return [Phase(lambda p: 1.0)]


OF_MODEL = [
    Strategy("refers", phases=everything, prepare=refer, penalty=pull_to_mean),
    Strategy("looks_up", phases=everything, penalty=look_up),
    Strategy("holds_on", phases=everything, prepare=hold_on, penalty=by_examples),
]


class Stop(Exception):
    pass


def uninterrupted(spec, made):
    return training.run(spec, made(), make_splits(), device=CPU)["result"]


def stopped(spec, made, tmp_path, *, after):
    """The state after that many evaluations, through the file that it is kept in."""
    left = [after]

    def keep(step, state):
        left[0] -= 1
        if left[0] == 0:
            snapshot.save(tmp_path / f"{step}.safetensors", state())
            raise Stop

    with pytest.raises(Stop):
        training.run(spec, made(), make_splits(), device=CPU, keep=keep)
    (file,) = tmp_path.glob("*.safetensors")
    return snapshot.load(file)


def resumed(spec, made, state):
    return training.run(spec, made(), make_splits(), device=CPU, resume=state)["result"]


def with_built_ins(optimizer, strategy, schedule):
    """The parts of a run, the built-in ones imported as a run imports them."""

    def part(kind, name):
        return load_part(kind, name, CATALOG.find(kind, name).origin)

    def made():
        found = parts()
        chosen = {"optimizer": part("optimizer", optimizer), "schedule": part("schedule", schedule)}
        chosen["strategy"] = part("strategy", strategy)
        return Parts(**{**found.__dict__, **chosen})

    return made


def spec_of(optimizer, strategy, schedule, **changed):
    options = {name: dict(CATALOG.find(kind, name).options) for kind, name in
               (("optimizer", optimizer), ("strategy", strategy), ("schedule", schedule))}  # fmt: skip
    return payload(
        optimizer={"use": optimizer, **options[optimizer]},
        strategy={"use": strategy, **options[strategy]},
        schedule={"use": schedule, **options[schedule]},
        **changed,
    )


# The others of torch.optim go on in tests/plugins/test_builtin_torch_optim.py.
OWN = [part.name for part in CATALOG.of("optimizer") if part.origin.module == "harness_plugins.optimizers"]


AFTER = (1, 2, 3)
GOING_ON = [
    # Each strategy with each optimizer once, stopped at other places in turn; all places with all of them are slow.
    pytest.param(optimizer, strategy, after, marks=[] if (i + j) % len(AFTER) == k else pytest.mark.slow)
    for i, optimizer in enumerate(OWN)
    for j, strategy in enumerate(CATALOG.names("strategy"))
    for k, after in enumerate(AFTER)
]


@pytest.mark.parametrize(("optimizer", "strategy", "after"), GOING_ON)
def test_every_built_in_optimizer_and_strategy_goes_on_bit_for_bit(tmp_path, optimizer, strategy, after):
    schedule = CATALOG.names("schedule")[after % len(CATALOG.names("schedule"))]
    spec = spec_of(optimizer, strategy, schedule, epochs=4)
    made = with_built_ins(optimizer, strategy, schedule)
    state = stopped(spec, made, tmp_path, after=after)
    assert state["step"] == 4 * after
    assert resumed(spec, made, state) == uninterrupted(spec, made)


@pytest.mark.parametrize("strategy", [FULL, TWO_PHASES, NOTED], ids=lambda s: s.name)
@pytest.mark.parametrize("rule", ["best_validation", "last"])
@pytest.mark.parametrize("after", range(1, 6))
def test_phases_kept_states_penalties_and_notes_go_on_too(tmp_path, strategy, rule, after):
    """With 30 steps and 10 evaluations, phases of 10 and 20 steps: a state inside each, and one on the border."""

    def made():
        return parts(strategy=strategy)

    spec = payload(epochs=None, steps=30, rule=rule)
    state = stopped(spec, made, tmp_path, after=after)
    assert resumed(spec, made, state) == uninterrupted(spec, made)


@pytest.mark.parametrize("strategy", OF_MODEL, ids=lambda s: s.name)
def test_notes_of_a_resumed_run_are_of_its_model_and_where_they_were(tmp_path, strategy):
    """A copy of a weight would be pulled to nothing, and a copy of a note would not be the one that a hook adds to."""

    def made():
        return parts(strategy=strategy)

    state = stopped(payload(), made, tmp_path, after=1)
    assert resumed(payload(), made, state) == uninterrupted(payload(), made)


def test_a_state_on_another_epoch_than_the_best_keeps_the_best_weights(tmp_path):
    """The first epoch is the best: its weights travel with the state and are those that the test set is read with."""

    def fading(predictions):
        return -float(predictions.outputs.abs().mean())

    spec = payload(epochs=4, metric="fading", metrics=["fading"])

    def made():
        return parts(fading=fading)

    state = stopped(spec, made, tmp_path, after=3)
    whole = uninterrupted(spec, made)
    assert whole["selected_epoch"] < 3
    assert resumed(spec, made, state) == whole


class Forgetful(torch.optim.Adam):
    """Does not take its state back."""

    def load_state_dict(self, state_dict):
        super().load_state_dict({**state_dict, "state": {}})


class Secretive(torch.optim.SGD):
    """Its state holds an object."""

    def state_dict(self):
        return {**super().state_dict(), "secret": object()}


def test_an_optimizer_that_does_not_take_its_state_back_is_noticed(tmp_path):
    def made():
        return parts(optimizer=Forgetful)

    state = stopped(payload(), made, tmp_path, after=1)
    with pytest.raises(NotRestored, match="the optimizer has another state after load_state_dict"):
        resumed(payload(), made, state)


def test_an_optimizer_whose_state_is_no_plain_data_is_named(tmp_path):
    with pytest.raises(snapshot.NotPlain, match=r"state.optimizer.secret is object"):
        stopped(payload(), lambda: parts(optimizer=Secretive), tmp_path, after=1)


def test_a_state_is_offered_after_every_evaluation_but_the_last():
    offered = []
    training.run(payload(epochs=3), parts(), make_splits(), device=CPU, keep=lambda step, state: offered.append(step))
    assert offered == [4, 8]


def test_timings_go_on_where_they_were(tmp_path):
    state = stopped(payload(), parts, tmp_path, after=2)
    timings = training.run(payload(), parts(), make_splits(), device=CPU, resume=state)["timings"]
    assert [epoch for epoch, _ in timings["epochs"]] == [1.0, 2.0, 3.0]
    assert timings["train_seconds"] > state["clocks"]["train"] > 0


# Through the command line --------------------------------------------------------------------------------------------

SLOW = TINY.replace(
    "import harness\n",
    """import harness
import sys
import time
from pathlib import Path


class Waiting(torch.optim.SGD):
    \"\"\"Waits at its 11th step for a file beside the plugin, so that a test can stop it there.\"\"\"

    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, lr=lr, momentum=momentum)
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        priced = sys.argv[0].endswith("describe.py")
        while self.steps == 11 and not priced and not (Path(__file__).parent / "go").exists():
            time.sleep(0.02)
        super().step(closure)


@harness.hookimpl
def harness_optimizers():
    return [harness.Optimizer("waiting", build=Waiting)]
""",
)
WAITING = {
    "arms.optimizer": ["waiting", "sgd"], "compare.baseline": "sgd", "tuning": None, "compare.replicates": 1,
    "problem.epochs": 4, "execution": {"executor": "process", "workers": 1, "checkpoint_seconds": 0, "time_limit": 60},
}  # fmt: skip


def test_a_suite_killed_in_the_middle_of_a_run_goes_on_from_its_checkpoint(project):
    project.plugin("tiny", SLOW).write(suite=WAITING)
    assert project.run("plan", "suite.toml").code == 0  # its answers are kept: the next command starts no child
    process = project.start("run", "suite.toml", "--quiet", start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((project.folder / "results/suite/checkpoints").glob("*/8.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=30)
    ended, alive = psutil.wait_procs(children, timeout=10)
    assert (len(ended) >= 2, alive) == (True, [])
    (project.folder / "plugins" / "go").touch()
    result = project.run("run", "suite.toml")
    assert result.code == 0, result.err
    records = [json.loads(path.read_text()) for path in (project.folder / "results/suite/runs").glob("*/*.json")]
    assert sorted(record["observed"].get("resumed_after_step", 0) for record in records) == [0, 8]
    assert list((project.folder / "results/suite/checkpoints").glob("*/*")) == []
    project.run("run", "suite.toml", "--executor", "serial", "--results", "uninterrupted")
    for table in ("runs", "evaluations"):
        assert project.read(f"uninterrupted/tables/{table}.csv") == project.read(f"results/suite/tables/{table}.csv")
