"""What fine-tuning runs record, each number by another route: by hand, numpy, scikit-learn."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
from functools import cache

import numpy as np
import pytest
import torch
from harness_plugins.models import cnn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from torch import nn
from torch.nn.utils import parametrize

from harness import strategies
from harness.execute import work
from harness.hookspecs import Phase, Splits, Strategy
from harness.strategies import forgetting, measures
from harness.strategies.source import Source
from harness.train import snapshot, training
from harness.train.device import Laps
from harness.train.feed import Resident
from harness.train.loop import NotRestored
from harness.train.returned import BadOutput
from tests.train import test_resume, test_train
from tests.train.test_train import CPU, Kept

torch.set_num_threads(1)
HEAD = "10"
NORMS = ("1", "5")


def make_net(shape=(1, 6, 6), outputs=3):
    """Blocks 0.weight+bias with its norm, 4 with its norm, and the head, 10."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1),
        nn.Linear(6, outputs),
    )  # fmt: skip


def images(seed, *, train=60, test=40):
    """Three classes, each brightest in rows of its own."""
    generator = torch.Generator().manual_seed(seed)

    def split(n):
        labels = torch.arange(n) % 3
        pictures = torch.randn(n, 1, 6, 6, generator=generator)
        for label in range(3):
            pictures[labels == label, :, 2 * label : 2 * label + 2] += 0.4
        return pictures, labels

    return Splits(train=split(train), test=split(test), classes=3)


@cache
def a_source():
    """A net trained for some steps on images of its own."""
    torch.manual_seed(3)
    net, splits = make_net(), images(0, test=90)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(splits.train[0]), splits.train[1]).backward()
        optimizer.step()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    train_, test = (Resident(pair, CPU) for pair in (splits.train, splits.test))
    return Source(state, 3, train_, test, run_id="ab" * 32, sha256="cd" * 32)


def loaded(shape=(1, 6, 6), outputs=3):
    net = make_net(shape, outputs)
    net.load_state_dict(a_source().state)
    return net


def only(select):
    return [Phase(select)]


FULL = Strategy("full", phases=lambda t: only(lambda p: 1.0))
PROBE = Strategy("probe", phases=lambda t: only(lambda p: 1.0 if p.head else None))
FREEZE = Strategy("freeze", phases=lambda t: only(lambda p: 1.0 if p.depth < 2 else None))
BITFIT = Strategy("bitfit", phases=lambda t: only(lambda p: 1.0 if p.bias or p.head else None))
LP_FT = Strategy(
    "lp_ft",
    phases=lambda t: [
        Phase(lambda p: 1.0 if p.head else None, name="probe"),
        Phase(lambda p: 1.0 if p.head else 0.1, name="all"),
    ],
)
FT_LP = Strategy(
    "ft_lp",
    phases=lambda t: [Phase(lambda p: 0.5, name="all"), Phase(lambda p: 1.0 if p.head else None, name="probe")],
)


class Low(nn.Module):
    """A weight plus the product of two small matrices."""

    def __init__(self, weight):
        super().__init__()
        self.a = nn.Parameter(torch.full((2, weight[0].numel()), 0.1))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], 2))

    def forward(self, weight):
        return weight + (self.b @ self.a).view_as(weight)


def merge(t):
    for module in t.model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")


LORA = Strategy(
    "lora",
    prepare=lambda t: parametrize.register_parametrization(t.model[4], "weight", Low(t.model[4].weight)),
    phases=lambda t: only(lambda p: 1.0 if p.head or p.added else None),
    finish=merge,
)


def spec_of(**changed):
    made = {"train_examples": 32, "validation_examples": 20, "batch_size": 8, "head_init": "normal:0.01"}
    return test_train.payload(rule="last", **{**made, "epochs": None, "steps": 24, **changed})


def trained(strategy=FULL, *, source=None, spec=None, build=make_net, optimizer=torch.optim.SGD, splits=None, **extra):
    """The result of a run, the model that it leaves, and a copy of the state that it began with."""
    kept = Kept(build)
    torch.manual_seed(0)
    parts = test_train.parts(strategy=strategy, model=kept, optimizer=optimizer)
    outcome = training.run(
        spec or spec_of(), parts, splits or images(1), device=CPU, source=source or a_source(), **extra
    )
    return outcome["result"], kept.models[0]


def measured(strategy=FULL, **how):
    return trained(strategy, **how)[0]["transfer"]


def start():
    return a_source().state


def sizes(*names):
    return sum(start()[name].numel() * start()[name].element_size() for name in names)


# Where it is recorded ------------------------------------------------------------------------------------------------


def test_a_final_run_with_a_source_records_just_what_is_documented():
    found = measured(LP_FT)
    assert list(found) == [
        "source_run", "source_sha256", "selection", "trainable_share", *measures.MEASURED, "phases",
    ]  # fmt: skip
    assert (found["source_run"], found["source_sha256"]) == ("ab" * 32, "cd" * 32)
    assert found["phases"] == [["probe", 0, 12], ["all", 12, 24]]
    assert [name for name, value in found.items() if value is None] == ["start_accuracy"]


def test_a_run_without_a_source_records_nothing_more():
    outcome = training.run(spec_of(), test_train.parts(model=loaded), images(1), device=CPU)
    assert "transfer" not in outcome["result"]


def test_measuring_changes_no_bit_of_the_run():
    parts = test_train.parts(strategy=LP_FT, model=loaded, optimizer=torch.optim.AdamW)
    plain = training.run(spec_of(), parts, images(1), device=CPU)["result"]
    result, _ = trained(LP_FT, optimizer=torch.optim.AdamW, spec=spec_of(head_init="keep"))
    assert {name: value for name, value in result.items() if name != "transfer"} == plain


def test_a_tuning_run_records_what_it_trained_and_no_more():
    spec = {**spec_of(), "phase": "tune"}
    del spec["select"]
    found = measured(LP_FT, spec=spec)
    assert {name for name, value in found.items() if value is not None} == {
        "source_run", "source_sha256", "selection", "trainable_share", "phases",
    }  # fmt: skip
    assert (found["selection"], found["trainable_share"]) == (measured(LP_FT)["selection"], 1.0)


def test_a_diverged_run_has_no_measures():
    result, _ = trained(spec=spec_of(optimizer={"use": "optimizer", "lr": 1e30}))
    assert result["status"] == "diverged"
    assert result["transfer"]["drift"] is result["transfer"]["saved_bytes"] is None
    assert result["transfer"]["phases"] == [["", 0, 24]]


# What moved ----------------------------------------------------------------------------------------------------------


def distance(model, names):
    now = {name: tensor.detach().numpy().astype(float) for name, tensor in model.state_dict().items()}
    before = {name: tensor.numpy().astype(float) for name, tensor in start().items()}
    change = math.sqrt(sum(np.linalg.norm(now[name] - before[name]) ** 2 for name in names))
    return change / math.sqrt(sum(np.linalg.norm(before[name]) ** 2 for name in names))


BLOCKS = [
    ["0.weight", "0.bias", "1.weight", "1.bias"],
    ["4.weight", "4.bias", "5.weight", "5.bias"],
]


@pytest.mark.parametrize("strategy", [FULL, FREEZE, LORA, LP_FT], ids=lambda s: s.name)
def test_drift_is_the_distance_from_the_start_over_the_length_of_the_start(strategy):
    result, model = trained(strategy)
    found = result["transfer"]
    assert found["drift"] == pytest.approx(distance(model, [*BLOCKS[0], *BLOCKS[1]]), rel=1e-12)
    assert [row["drift"] for row in found["blocks"][:-1]] == pytest.approx(
        [distance(model, names) for names in BLOCKS], rel=1e-12
    )
    assert found["drift"] > 0


def test_what_is_frozen_has_a_drift_of_exactly_0():
    assert measured(PROBE)["drift"] == 0.0
    assert measured(FREEZE)["blocks"][0]["drift"] == 0.0


def test_of_complex_weights_both_parts_drift():
    """From 3 + 4i to 3 + 5i it is 1 of 5."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn, self.head = nn.Parameter(torch.tensor([[3 + 4j]])), nn.Linear(1, 2)

        def forward(self, inputs):
            return self.head((inputs.to(torch.complex64) @ self.turn).abs())

    model = Turned()
    transfer = strategies.prepare(
        FULL, model, input_example=torch.ones(1, 1), steps=4, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        model.turn += 1j
    (turn,) = [parameter for parameter in transfer.parameters() if parameter.name == "turn"]
    assert measures.relative([measures._moved(transfer, turn)]) == pytest.approx(0.2, rel=1e-6)


def test_a_new_head_has_no_drift_and_one_that_was_kept_has():
    result, model = trained(spec=spec_of(head_init="keep"))
    assert measured(FULL)["blocks"][-1]["drift"] is None
    assert result["transfer"]["blocks"][-1]["drift"] == pytest.approx(distance(model, ["10.weight", "10.bias"]))


def test_blocks_tell_sizes_and_multipliers_by_phase():
    rows = [{**row, "drift": None} for row in measured(LP_FT)["blocks"]]
    assert rows == [
        {"block": 0, "parameters": 48, "trained": 48, "multipliers": [None, 0.1], "drift": None},
        {"block": 1, "parameters": 234, "trained": 234, "multipliers": [None, 0.1], "drift": None},
        {"block": 2, "parameters": 21, "trained": 21, "multipliers": [1.0, 1.0], "drift": None},
    ]
    low = measured(LORA)["blocks"][1]
    assert (low["parameters"], low["trained"]) == (234 + 84, 84)  # 2 x 36 and 6 x 2


@pytest.mark.parametrize(
    ("strategy", "share"), [(FULL, 1.0), (PROBE, 21 / 303), (FT_LP, 1.0), (LORA, (21 + 84) / (303 + 84))],
    ids=lambda x: getattr(x, "name", ""),
)  # fmt: skip
def test_the_trainable_share_is_the_most_over_the_phases_and_counts_what_was_added(strategy, share):
    assert measured(strategy)["trainable_share"] == share


# What it costs -------------------------------------------------------------------------------------------------------


def test_stored_are_the_tensors_that_changed_with_the_buffers_of_norms_that_trained():
    head = sizes("10.weight", "10.bias")
    assert measured(PROBE)["stored_bytes"] == head == 21 * 4
    buffers = [f"{norm}.{name}" for norm in NORMS for name in ("running_mean", "running_var", "num_batches_tracked")]
    # A bias before a norm that trains has no gradient but rounding, which may be too little for a change.
    for strategy, names in ((BITFIT, ["1.bias", "5.bias"]), (FULL, [*BLOCKS[0], *BLOCKS[1]])):
        result, model = trained(strategy)
        doubtful = [name for name in ("0.bias", "4.bias") if not torch.equal(model.state_dict()[name], start()[name])]
        moved = {*names, *doubtful} - ({"0.bias", "4.bias"} - set(doubtful))
        assert result["transfer"]["stored_bytes"] == sizes(*moved, *buffers) + head


def test_stored_is_what_a_strategy_added_before_it_was_merged():
    assert measured(LORA)["stored_bytes"] == 84 * 4 + sizes("10.weight", "10.bias")


def make_line(shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, outputs))


def line_source(net=None):
    torch.manual_seed(0)
    net = net or make_line((1, 6, 6), 3)
    return Source(net.state_dict(), 3)


SOFTMAX = 8 * 3 * 4 + 8 * 8 + 4
"""Logarithms of shares and labels of 8 examples, and the sum of their weights."""


@pytest.mark.parametrize(
    ("strategy", "size"),
    [(FULL, 8 * 36 * 4 + 8 * 8 * 4 + SOFTMAX), (PROBE, 8 * 8 * 4 + SOFTMAX), (LP_FT, 8 * 44 * 4 + SOFTMAX)],
    ids=lambda x: getattr(x, "name", ""),
)
def test_saved_bytes_of_linear_layers_are_the_inputs_of_those_that_train(strategy, size):
    """The output of ReLU is the input of the next layer: one storage."""
    assert measured(strategy, build=make_line, source=line_source())["saved_bytes"] == size


def test_an_odd_last_batch_at_the_start_of_a_phase_is_not_taken_for_the_rule():
    """33 examples in batches of 8 are 5 steps an epoch, the last of 1 example; phase 2 begins there."""
    late = Strategy("late", phases=lambda t: [Phase(PROBE.phases(t)[0].select, share=4), Phase(lambda p: 1.0, share=6)])
    found = measured(late, build=make_line, source=line_source(), spec=spec_of(train_examples=33, steps=None, epochs=2))
    assert found["phases"] == [["", 0, 4], ["", 4, 10]]
    assert found["saved_bytes"] == 8 * 44 * 4 + SOFTMAX


def test_a_penalty_counts_by_itself_since_it_is_differentiated_after_the_loss():
    def penalty(t):
        return t.model[1].weight.square().sum()

    def wide(t):
        (weight,) = (p.tensor for p in t.parameters() if p.name == "1.weight")
        return sum((weight + at).square().sum() for at in range(5))

    by_hand = 5 * 8 * 36 * 4
    assert by_hand > 8 * 44 * 4 + SOFTMAX
    penalised, widely = (dataclasses.replace(FULL, penalty=one) for one in (penalty, wide))
    how = {"build": make_line, "source": line_source()}
    assert measured(penalised, **how)["saved_bytes"] == 8 * 44 * 4 + SOFTMAX
    assert measured(widely, **how)["saved_bytes"] == by_hand


def make_cnn(shape, outputs):
    return cnn(shape, outputs, channels=(4,), hidden=8)


def test_what_trains_less_saves_less():
    torch.manual_seed(0)
    how = {"build": make_cnn, "source": Source(make_cnn((1, 6, 6), 3).state_dict(), 3)}
    saved = [measured(strategy, **how)["saved_bytes"] for strategy in (PROBE, FREEZE, BITFIT, FULL)]
    assert saved == sorted(set(saved))


@pytest.mark.parametrize(
    ("optimizer", "options", "of"),
    [
        (torch.optim.SGD, {}, lambda n, tensors: 0),
        (torch.optim.SGD, {"momentum": 0.9}, lambda n, tensors: 4 * n),
        (torch.optim.AdamW, {}, lambda n, tensors: 2 * 4 * n + 4 * tensors),
    ],
    ids=["sgd", "momentum", "adamw"],
)
def test_optimizer_state_is_the_most_over_the_phases(optimizer, options, of):
    spec = spec_of(optimizer={"use": "optimizer", "lr": 0.01, **options})
    assert measured(PROBE, spec=spec, optimizer=optimizer)["optimizer_state_bytes"] == of(21, 2)
    for strategy in (FT_LP, LP_FT):
        assert measured(strategy, spec=spec, optimizer=optimizer)["optimizer_state_bytes"] == of(303, 10)


def test_steps_are_timed_beside_the_result():
    class Waiting(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            deadline = Laps(CPU)
            while deadline.mark() or sum(deadline.milliseconds()) < 4:
                pass

    def timed(steps):
        parts = test_train.parts(optimizer=Waiting)
        spec = test_train.payload(epochs=None, steps=steps)
        return training.run(spec, parts, test_train.make_splits(), device=CPU)["timings"]["step_milliseconds"]

    assert 4 <= timed(9) < 40
    assert timed(5) is None


# How fast it learned, and how evenly ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "direction", "step", "area"),
    [
        ([0.5, 0.94, 0.95, 1.0], "maximize", 30, 0.8475),
        ([0.95, 0.2, 0.4, 1.0], "maximize", 10, 0.6375),
        ([0.4, 0.2, 0.1, 0.1], "minimize", 30, 0.2),
        ([-8.0, -4.1, -4.0, -4.0], "maximize", 20, -5.025),
        ([0.0, 0.0, 0.0, 0.0], "maximize", 10, 0.0),
    ],
)
def test_the_curve_is_summed_up(values, direction, step, area):
    curve = list(zip((10, 20, 30, 40), values, strict=True))
    found = measures.curve_summary(curve, direction=direction)
    assert found == {"steps_to_95": step, "curve_area": pytest.approx(area)}


def test_the_curve_is_that_of_the_compared_metric_on_validation():
    result, _ = trained()
    curve = {row[1]: row[5] for row in result["evaluations"] if row[3] == "validation" and row[4] == "accuracy"}
    assert result["transfer"]["curve_area"] == pytest.approx(np.mean(list(curve.values())))
    good = [step for step, value in curve.items() if value >= 0.95 * curve[24]]
    assert result["transfer"]["steps_to_95"] == min(good)


def predictions(model, examples):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(inputs) for inputs, _ in examples.chunks()]).numpy().argmax(axis=1)


def test_the_worst_class_is_that_of_the_least_recall():
    result, model = trained(FREEZE)
    inputs, targets = images(1).test
    recalls = recall_score(targets, predictions(model, Resident((inputs, targets), CPU)), average=None)
    assert result["transfer"]["worst_class_accuracy"] == pytest.approx(min(recalls))
    assert min(recalls) < max(recalls)


def test_classes_without_examples_and_regressions_have_no_worst_class():
    counts = {"task": "classification", "right": [3, 0, 1], "support": [4, 0, 2]}
    assert measures.worst_class_accuracy(counts) == 0.5
    assert measures.worst_class_accuracy({"task": "regression"}) is None
    assert measures.worst_class_accuracy(None) is None


# What was frozen stayed ----------------------------------------------------------------------------------------------


def tampering(strategy, change):
    def penalty(t):
        with torch.no_grad():
            change(t.model)
        return next(p.tensor for p in t.parameters() if p.tensor.requires_grad).sum() * 0

    return dataclasses.replace(strategy, penalty=penalty)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda m: m[0].weight.add_(1e-3), "0.weight"),
        (lambda m: m[1].running_var.mul_(1.01), "1.running_var"),
        (lambda m: m[1].num_batches_tracked.add_(1), "1.num_batches_tracked"),
    ],
    ids=["weight", "variance", "count"],
)  # fmt: skip
def test_a_frozen_tensor_that_changed_fails_the_run_by_name(change, name):
    with pytest.raises(BadOutput) as caught:
        trained(tampering(FREEZE, change), spec=spec_of())
    assert str(caught.value) == f"frozen_changed: {name}"
    failure = work._failure_of(caught.value)
    assert (failure["status"], failure["reason"]) == ("bad_output", f"frozen_changed: {name}")


def test_an_original_under_a_parametrisation_is_known_by_its_first_name():
    with pytest.raises(BadOutput, match=r"^frozen_changed: 4\.weight$"):
        trained(tampering(LORA, lambda m: m[4].parametrizations.weight.original.add_(1)))


def test_what_finish_changes_is_not_held_against_the_strategy():
    def finish(t):
        with torch.no_grad():
            t.model[0].weight.mul_(2)

    found = measured(dataclasses.replace(PROBE, finish=finish))
    assert found["frozen_intact"] is True
    assert found["stored_bytes"] == sizes("10.weight", "10.bias")
    assert found["blocks"][0]["drift"] == pytest.approx(
        start()["0.weight"].norm() / torch.cat([start()[n].flatten() for n in BLOCKS[0]]).norm()
    )


def test_a_norm_that_trained_in_an_earlier_phase_may_have_changed():
    assert measured(FT_LP)["frozen_intact"] is True


# Forgetting ----------------------------------------------------------------------------------------------------------


def test_a_probe_forgets_nothing():
    found = measured(PROBE)
    assert found["forgetting_kept"] == found["forgetting_refit"] == 0.0


def with_source_head(model):
    state = {**model.state_dict(), **{name: start()[name] for name in ("10.weight", "10.bias")}}
    net = make_net()
    net.load_state_dict(state)
    return net


@pytest.mark.parametrize("strategy", [FULL, LORA], ids=lambda s: s.name)
def test_kept_forgetting_is_the_loss_of_accuracy_with_the_sources_head(strategy):
    result, model = trained(strategy, spec=spec_of(optimizer={"use": "optimizer", "lr": 0.1}))
    head = {name: tensor.clone() for name, tensor in model[10].state_dict().items()}
    test = a_source().test
    labels = test.targets.numpy()
    before, after = ((predictions(net, test) == labels).sum() for net in (loaded(), with_source_head(model)))
    assert result["transfer"]["forgetting_kept"] == (before - after) / 90
    assert before != after
    assert snapshot.equal(model[10].state_dict(), head)
    assert result["weights_hash"] == snapshot.weights_hash(model)


class Listed(nn.Module):
    """A network that calls its layers from a list of its own."""

    def __init__(self, shape=(1, 6, 6), outputs=3):
        super().__init__()
        self.body, self.head = nn.Linear(36, 6), nn.Linear(6, outputs)
        self.chain = [nn.Flatten(), self.body, torch.tanh, self.head]

    def forward(self, inputs):
        for call in self.chain:
            inputs = call(inputs)
        return inputs


def test_the_sources_head_is_called_from_wherever_the_network_calls_its_head():
    net = Listed()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    source = dataclasses.replace(a_source(), state=state)
    result, model = trained(spec=spec_of(optimizer={"use": "optimizer", "lr": 0.5}), source=source, build=Listed)
    head = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    assert result["weights_hash"] == snapshot.weights_hash(model)
    labels = source.test.targets.numpy()
    before = (predictions(net, source.test) == labels).sum()
    net.body.load_state_dict(model.body.state_dict())
    after = (predictions(net, source.test) == labels).sum()
    assert result["transfer"]["forgetting_kept"] == (before - after) / 90
    assert before != after
    assert snapshot.equal(model.head.state_dict(), head)


def by_sklearn(net, source):
    """Correct ones of the source's test set by scikit-learn on features of the net."""
    net.eval()
    with torch.no_grad():
        train_, test = (net[:-1](split.inputs).double().numpy() for split in (source.train, source.test))
    scale = train_.mean(), train_.std()
    fitted = LogisticRegression(C=1 / forgetting.PENALTY, tol=1e-8, max_iter=10_000)
    fitted.fit((train_ - scale[0]) / scale[1], source.train.targets.numpy())
    return (fitted.predict((test - scale[0]) / scale[1]) == source.test.targets.numpy()).sum()


def test_refitted_forgetting_is_that_of_scikit_learn():
    result, model = trained(spec=spec_of(optimizer={"use": "optimizer", "lr": 0.2}))
    before, after = (by_sklearn(net, a_source()) for net in (loaded(), model))
    assert result["transfer"]["forgetting_refit"] == (before - after) / 90
    assert before != after


@pytest.mark.parametrize(("n", "width", "classes"), [(60, 5, 3), (200, 30, 4), (50, 80, 2)])
def test_the_refitted_head_is_that_of_scikit_learn(n, width, classes):
    generator = torch.Generator().manual_seed(n)
    targets = torch.arange(n) % classes
    features = 3 + 2 * torch.randn(n, width, generator=generator, dtype=torch.float64)
    features[:, 0] += targets
    reading = forgetting.Reading(torch.zeros(n, classes), features, targets)
    found = forgetting.refit(reading, classes=classes)
    scaled = ((features - features.mean()) / features.std(correction=0)).numpy()
    due = LogisticRegression(C=1.0, tol=1e-9, max_iter=10_000).fit(scaled, targets.numpy())
    shares = found.outputs(features).softmax(dim=1).numpy()
    if classes > 2:
        assert np.abs(found.weights.T.numpy() - due.coef_).max() < 2e-3
        assert np.abs(shares - due.predict_proba(scaled)).max() < 1e-3
    slope = scaled.T @ (shares - np.eye(classes)[targets]) + found.weights.numpy()
    assert np.abs(slope / n).max() <= forgetting.TOLERANCE


def test_forgetting_has_no_meaning_for_scratch_and_for_published_weights():
    scratch = measured(dataclasses.replace(FULL, start="random"))
    published = measured(FULL, source=dataclasses.replace(a_source(), train=None, test=None, run_id=None))
    for found in (scratch, published):
        assert found["forgetting_kept"] is found["forgetting_refit"] is found["start_accuracy"] is None
        assert found["drift"] > 0
    assert published["source_run"] is None


def test_the_start_is_tested_where_its_head_is_kept():
    found = measured(spec=spec_of(head_init="keep"))
    inputs, targets = images(1).test
    right = predictions(loaded(), Resident((inputs, targets), CPU)) == targets.numpy()
    assert found["start_accuracy"] == right.mean()
    assert 0 < right.mean() < 1


def test_features_of_convolutions_and_of_positions_are_means_over_places():
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3)
    convolution, linear = nn.Conv2d(3, 2, 1), nn.Linear(3, 2)
    assert np.allclose(forgetting.flat(maps, convolution), maps.double().numpy().mean(axis=(2, 3)))
    assert np.allclose(forgetting.flat(tokens, linear), tokens.double().numpy().mean(axis=1))
    assert torch.equal(forgetting.flat(tokens[:, 0], linear), tokens[:, 0].double())


def test_a_new_head_of_another_size_is_set_aside_while_the_source_is_looked_at():
    splits = images(1)
    two = Splits(*(tuple(part[pair[1] < 2] for part in pair) for pair in (splits.train, splits.test)), classes=2)
    result, model = trained(splits=two, spec=spec_of(train_examples=24, validation_examples=10))
    assert model[10].weight.shape == (2, 6)
    state = {**model.state_dict(), **{name: start()[name] for name in ("10.weight", "10.bias")}}
    net = make_net()
    net.load_state_dict(state)
    test = a_source().test
    before, after = ((predictions(one, test) == test.targets.numpy()).sum() for one in (loaded(), net))
    assert result["transfer"]["forgetting_kept"] == (before - after) / 90


def test_a_head_that_stands_in_two_places_is_set_aside_in_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = nn.Linear(4, 5), nn.Linear(5, 3)
            self.layers = nn.ModuleList([self.body, self.out])

        def forward(self, inputs):
            return self.layers[1](self.layers[0](inputs).relu())

    model, original = Twice(), Twice()
    transfer = types.SimpleNamespace(model=model, head="out")
    own, inputs = model.out, torch.randn(6, 4)
    with forgetting._with_head_of(original, transfer) as tuned:
        assert torch.equal(tuned(inputs), original.out(model.body(inputs).relu()))
    assert model.out is model.layers[1] is own


# A resumed run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [FT_LP, LP_FT], ids=lambda s: s.name)
@pytest.mark.parametrize("after", [2, 5, 8])
def test_a_resumed_run_records_the_same(tmp_path, strategy, after):
    left = [after]

    def keep(step, state):
        left[0] -= 1
        if left[0] == 0:
            snapshot.save(tmp_path / "state.safetensors", state())
            raise test_resume.Stop

    with contextlib.suppress(test_resume.Stop):
        trained(strategy, keep=keep, optimizer=torch.optim.AdamW)
    state = snapshot.load(tmp_path / "state.safetensors")
    whole, _ = trained(strategy, optimizer=torch.optim.AdamW)
    assert trained(strategy, resume=state, optimizer=torch.optim.AdamW)[0] == whole


def test_a_state_of_an_earlier_harness_is_not_gone_on_from():
    with pytest.raises(NotRestored, match="earlier harness"):
        trained(resume={"step": 3})
