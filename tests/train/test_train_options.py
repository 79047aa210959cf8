"""Augmentation, penalties, schedules that follow a metric, and early stopping, inside the training loop."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from harness_plugins.augmentations import harness_augmentations
from harness_plugins.losses import mse
from harness_plugins.schedules import plateau
from torch import nn

from harness.hookspecs import Augmentation, Phase, Schedule, Splits, Strategy
from harness.spec import seed
from harness.train import feed, snapshot, training
from harness.train.augment import Augmenter
from harness.train.device import Clocks
from harness.train.returned import BadOutput
from tests.train.test_resume import resumed, stopped
from tests.train.test_train import (
    CPU,
    SEEDS,
    Kept,
    Logged,
    Rows,
    Waits,
    batches_of_epochs,
    by_hand,
    make_model,
    make_splits,
    parts,
    payload,
    run,
    same_state,
    scores,
    scripted,
)

torch.set_num_threads(1)

# Augmentation ---------------------------------------------------------------------------------------------------------

BUILT_IN = {part.name: part for part in harness_augmentations()}
NAMES = ("rotate", "crop")


def images(*, train=90, test=40):
    generator = torch.Generator().manual_seed(3)

    def some(n):
        labels = torch.arange(n) % 2
        return torch.randn(n, 1, 8, 8, generator=generator) + labels[:, None, None, None] * 0.5, labels

    return Splits(train=some(train), test=some(test), classes=2)


def conv(shape, outputs):
    return nn.Sequential(nn.Conv2d(shape[0], 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.25), nn.Linear(144, outputs))


def augmented(*names, model=conv, **changed):
    made = parts(model=model, **changed)
    return dataclasses.replace(made, augmentations=tuple(BUILT_IN[name] for name in names))


def listed(*names):
    return [{"use": name} for name in names]


def trained(spec, made, splits=None, **given):
    return training.run(spec, made, splits or images(), device=CPU, **given)["result"]


def test_training_images_are_those_of_the_augmenter_at_each_step_and_no_other_images_are_touched():
    seen = []

    class Watched(nn.Sequential):
        def forward(self, inputs):
            seen.append((self.training, inputs.clone()))
            return super().forward(inputs)

    def watched(shape, outputs):
        return Watched(*conv(shape, outputs))

    splits = images()
    trained(payload(augmentation=listed(*NAMES), epochs=2), augmented(*NAMES, model=watched), splits)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(SEEDS["split"]))
    x, vx = splits.train[0][order[30:80]], splits.train[0][order[:30]]
    augment = Augmenter([(BUILT_IN[name], {}) for name in NAMES], seed=SEEDS["augmentation"])
    batches = [batch for epoch in batches_of_epochs(2) for batch in epoch]
    found = [batch for training, batch in seen if training]
    assert len(found) == len(batches) == 8
    for step, (batch, index) in enumerate(zip(found, batches, strict=True)):
        assert torch.equal(batch, augment(x[index], index, step))
        assert not torch.equal(batch, x[index])
    assert all(any(torch.equal(batch, due) for batch in (b for t, b in seen if not t)) for due in (vx, splits.test[0]))


def test_augmentation_equals_a_plain_loop_bit_for_bit():
    kept, splits = Kept(conv), images()
    trained(payload(augmentation=listed(*NAMES), rule="last"), augmented(*NAMES, model=kept), splits)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(SEEDS["split"]))
    x, y = splits.train[0][order[30:80]], splits.train[1][order[30:80]]
    augment = Augmenter([(BUILT_IN[name], {}) for name in NAMES], seed=SEEDS["augmentation"])
    torch.manual_seed(SEEDS["init"])
    model = conv((1, 8, 8), 2)
    stepper, step = torch.optim.Adam(model.parameters(), lr=0.05), 0
    for epoch in batches_of_epochs(3):
        torch.manual_seed(seed(SEEDS["noise"], step))
        for batch in epoch:
            stepper.zero_grad()
            nn.functional.cross_entropy(model(augment(x[batch], batch, step)), y[batch]).backward()
            stepper.step()
            step += 1
    assert same_state(kept.models[0].state_dict(), model.state_dict())


@pytest.mark.parametrize(
    ("loaders", "budget"), [(0, {"epochs": 2}), (0, {"epochs": None, "steps": 7}), (2, {"epochs": 1})], ids=str
)
def test_no_number_of_loaders_changes_what_is_drawn(loaders, budget):
    whole = images()
    streamed = Splits(train=Rows(whole.train), test=Rows(whole.test), classes=2, fingerprints=("a", "b"))
    spec = payload(augmentation=listed(*NAMES), **budget)
    assert trained(spec, augmented(*NAMES), streamed, loaders=loaders) == trained(spec, augmented(*NAMES), whole)


@pytest.mark.parametrize("after", [1, 2])
def test_a_resumed_run_draws_what_it_would_have_drawn(tmp_path, after, monkeypatch):
    monkeypatch.setattr("tests.train.test_resume.make_splits", images)
    spec = payload(augmentation=listed(*NAMES))
    state = stopped(spec, lambda: augmented(*NAMES), tmp_path, after=after)
    assert resumed(spec, lambda: augmented(*NAMES), state) == trained(spec, augmented(*NAMES))


def test_the_augmentation_seed_changes_what_is_trained_and_nothing_else():
    spec = payload(augmentation=listed(*NAMES), rule="last")
    one, other = (trained({**spec, "seeds": {**SEEDS, "augmentation": number}}, augmented(*NAMES)) for number in (1, 2))
    assert one["init_hash"] == other["init_hash"]
    assert one["weights_hash"] != other["weights_hash"]


def test_an_augmentation_gets_its_options():
    given = []

    def note(images, draws, *, by=1.0):
        given.append(by)
        return images

    made = dataclasses.replace(parts(model=conv), augmentations=(Augmentation("note", apply=note),))
    plain = trained(payload(epochs=1), parts(model=conv))
    assert trained(payload(epochs=1, augmentation=[{"use": "note", "by": 2.5}]), made) == plain
    assert given == [2.5] * 4


def test_building_alone_tries_the_augmentations_on_the_data():
    spec = payload(augmentation=[{"use": "rotate", "degrees": 999}])
    with pytest.raises(ValueError, match="rotate: degrees must be from 0 to 180, got 999"):
        training.build_only(spec, augmented("rotate"), images(), device=CPU)
    with pytest.raises(BadOutput, match="augmentation needs images"):
        training.build_only(
            payload(augmentation=listed("crop")), augmented("crop", model=make_model), make_splits(), device=CPU
        )


# Penalties ------------------------------------------------------------------------------------------------------------


def test_penalties_of_nothing_change_no_bit():
    assert run(payload(regularisation={"l1": 0.0, "l2": 0.0})) == run(payload())


def test_l2_trains_as_weight_decay_of_twice_the_strength_and_leaves_the_recorded_loss_to_the_data():
    penalised, decayed = Kept(), Kept()
    spec = payload(rule="last", epochs=1, regularisation={"l1": 0.0, "l2": 0.05})
    one = run(spec, parts(model=penalised, optimizer=torch.optim.SGD))

    def weights_decay(groups, lr):
        return torch.optim.SGD([{"weight_decay": 0.1, **group} for group in groups], lr=lr)

    other = run(payload(rule="last", epochs=1), parts(model=decayed, optimizer=weights_decay))
    for (name, found), due in zip(penalised.models[0].named_parameters(), decayed.models[0].parameters(), strict=True):
        torch.testing.assert_close(found, due, msg=name)
    assert [row[1] for row in scores(one)] == pytest.approx([row[1] for row in scores(other)], abs=1e-6)


def test_penalties_act_on_what_trains_alone():
    kept = Kept()
    head_only = Strategy("head", phases=lambda t: [Phase(lambda p: 1.0 if p.head else None)])
    spec = payload(rule="last", epochs=1, regularisation={"l1": 0.5, "l2": 0.5})
    run(spec, parts(model=kept, strategy=head_only, optimizer=torch.optim.SGD))
    torch.manual_seed(SEEDS["init"])
    untouched = make_model((4,), 2).state_dict()
    assert torch.equal(kept.models[0][0].weight, untouched["0.weight"])
    assert not torch.equal(kept.models[0][4].weight, untouched["4.weight"])


def test_a_strong_absolute_penalty_brings_weights_to_nothing():
    def large(l1):
        kept = Kept()
        spec = payload(rule="last", epochs=10, regularisation={"l1": l1, "l2": 0.0})
        run(spec, parts(model=kept, optimizer=torch.optim.SGD))
        return float(kept.models[0][0].weight.detach().abs().mean())

    assert large(0.5) < 0.2 * large(0.0)


# Schedules that follow a metric ---------------------------------------------------------------------------------------


def following(values, metric="scripted", **options):
    """Parts whose schedule follows scripted validation values, and a spec that measures them."""
    Logged.rates = []
    made = parts(optimizer=Logged, scripted=scripted(values))
    made = dataclasses.replace(made, schedule=Schedule("plateau", build=plateau, watches="metric"))
    schedule = {"use": "plateau", "metric": metric, "factor": 0.5, "patience": 0, **options}
    return made, {"schedule": schedule, "metrics": ["scripted"], "epochs": len(values)}


def test_a_schedule_that_follows_a_metric_is_stepped_at_evaluations_with_validation_values():
    values = [0.2, 0.4, 0.3, 0.5, 0.5, 0.6]  # larger is better
    made, problem = following(values)
    run(payload(**problem), made)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    own = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, threshold_mode="abs"
    )
    due = []
    for value in values:
        due += [optimizer.param_groups[0]["lr"]] * 4
        own.step(value)
    assert Logged.rates == due
    assert due[-1] == 0.0125


def test_a_metric_that_is_minimised_is_followed_as_it_is():
    made, problem = following([0.5] * 4, metric="loss", patience=99)
    result = run(payload(**problem), made)
    told = []

    class Told(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, value):
            told.append(value)

    made = dataclasses.replace(
        parts(), schedule=Schedule("told", build=lambda o, s, e, metric: Told(o), watches="metric")
    )
    result = run(payload(schedule={"use": "told", "metric": "loss"}), made)
    assert told == [row[1] for row in scores(result, "validation")]


@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.parametrize("phases", [1, 2])
def test_a_schedule_that_follows_a_metric_goes_on_bit_for_bit(tmp_path, after, phases):
    shares = [Phase(lambda p: 1.0, share=share, name=str(share)) for share in range(1, phases + 1)]
    values = [0.5, 0.4, 0.6, 0.5, 0.5, 0.7, 0.1]

    def made(skipped=0):
        one, _ = following(values[skipped:])
        return dataclasses.replace(one, strategy=Strategy("phases", phases=lambda t: shares))

    spec = payload(**following(values)[1])
    state = stopped(spec, made, tmp_path, after=after)
    whole = run(spec, made())
    assert resumed(spec, lambda: made(after), state) == whole


def test_each_phase_begins_at_the_full_rate_with_a_schedule_of_its_own():
    made, problem = following([0.5, 0.4, 0.4, 0.5])  # the first phase sees it fall
    two = Strategy("two", phases=lambda t: [Phase(lambda p: 1.0), Phase(lambda p: 1.0)])
    run(payload(**problem), dataclasses.replace(made, strategy=two))
    assert Logged.rates == [0.05] * 16
    made, problem = following([0.5, 0.4, 0.4, 0.5])
    run(payload(**problem), made)
    assert Logged.rates == [0.05] * 8 + [0.025] * 4 + [0.0125] * 4


# Early stopping -------------------------------------------------------------------------------------------------------


def stopping(values, *, patience=2, min_delta=0.0, direction="maximize", phase="final", **changed):
    """Spec and parts of a run that is stopped by scripted validation values."""
    table = {"patience": patience, "metric": "scripted", "min_delta": min_delta}
    given = {"metric": "scripted", "direction": direction, "metrics": ["scripted"], "epochs": len(values)}
    spec = payload(phase=phase, early_stopping=table, **given)
    select = {"metric": "scripted", "direction": direction, "rule": "best_validation"}
    made = parts(scripted=scripted(values), **changed)
    made.metrics["scripted"] = dataclasses.replace(made.metrics["scripted"], direction=direction)
    return {**spec, "select": select}, made


@pytest.mark.parametrize(
    ("values", "options", "epochs", "chosen"),
    [
        ([0.2, 0.5, 0.4, 0.3, 0.9, 0.9], {}, 4, 2),
        ([0.2, 0.5, 0.4, 0.6, 0.5, 0.5, 0.9], {}, 6, 4),
        ([0.2, 0.5, 0.4, 0.3, 0.9], {"patience": 3}, 5, 5),
        ([0.5, 0.4, 0.6, 0.7, 0.1], {"direction": "minimize"}, 4, 2),
        ([0.5, 0.75, 0.75, 0.75, 0.9], {}, 4, 2),
        ([0.5, 0.625, 0.75, 0.9], {"min_delta": 0.25}, 3, 3),
    ],
    ids=["best, then worse", "better in time", "long patience", "smallest", "first of equals", "too small a step"],
)
def test_training_stops_when_validation_no_longer_improves_and_the_best_weights_are_restored(
    values, options, epochs, chosen
):
    kept = Kept()
    spec, made = stopping(values, model=kept, **options)
    result = run(spec, made)
    states, _ = by_hand(batches_of_epochs(epochs))
    assert (result["epochs"], result["steps"], result["selected_epoch"]) == (epochs, 4 * epochs, chosen)
    assert result.get("stopped_early", False) is (epochs < len(values))
    assert same_state(kept.models[0].state_dict(), states[chosen - 1])
    assert result["weights_hash"] == snapshot.weights_hash(kept.models[0])


def test_the_test_set_is_read_once_with_the_restored_weights():
    spec, made = stopping([0.2, 0.5, 0.4, 0.3, 0.9])
    result = run(spec, made)
    states, _ = by_hand(batches_of_epochs(2))
    model = make_model((4,), 2).eval()
    model.load_state_dict(states[1])
    x, y = make_splits().test
    with torch.no_grad():
        due = float(nn.functional.cross_entropy(model(x), y))
    assert [row[1] for row in scores(result, "test")] == [due]
    assert {(row[0], row[1]) for row in result["evaluations"] if row[3] == "test"} == {(2.0, 8)}


def test_a_tuning_run_stops_and_says_which_epoch_it_chose():
    spec, made = stopping([0.2, 0.5, 0.4, 0.3, 0.9], phase="tune")
    result = run(spec, made)
    assert (result["epochs"], result["selected_epoch"], result["stopped_early"]) == (4.0, 2.0, True)
    assert {row[3] for row in result["evaluations"]} == {"train", "validation"}


def test_a_run_that_is_never_stopped_trains_as_one_without_early_stopping():
    spec, made = stopping([0.1, 0.2, 0.3])
    plain = {key: value for key, value in spec["problem"].items() if key != "early_stopping"}
    assert run(spec, made) == run({**spec, "problem": plain}, stopping([0.1, 0.2, 0.3])[1])


def test_the_last_evaluation_of_the_budget_is_no_early_stop():
    spec, made = stopping([0.5, 0.4, 0.3])
    result = run(spec, made)
    assert "stopped_early" not in result
    assert (result["epochs"], result["selected_epoch"]) == (3.0, 1.0)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_was_waited_before_an_interruption_counts(tmp_path, after):
    values = [0.2, 0.5, 0.4, 0.3, 0.9, 0.9]
    spec, made = stopping(values)
    state = stopped(spec, lambda: made, tmp_path, after=after)
    whole = run(*stopping(values))
    assert resumed(spec, lambda: stopping(values[after:])[1], state) == whole
    assert whole["epochs"] == 4.0


def test_no_state_is_offered_by_a_run_that_is_over():
    offered = []
    spec, made = stopping([0.2, 0.5, 0.4, 0.3, 0.9])
    training.run(spec, made, make_splits(), device=CPU, keep=lambda step, state: offered.append(step))
    assert offered == [4, 8, 12]


def test_a_strategy_stops_in_whatever_phase_it_is_and_is_finished_with_what_it_kept():
    finished = []

    def phases(transfer):
        first = Phase(lambda p: 1.0 if p.head else None, name="head", keep=True)
        return [first, Phase(lambda p: 1.0, name="all", keep=True)]

    def finish(transfer):
        finished.append(sorted(transfer.kept))

    spec, made = stopping([0.5, 0.4, 0.3, 0.9, 0.9, 0.9], patience=1)
    result = run(spec, dataclasses.replace(made, strategy=Strategy("two", phases=phases, finish=finish)))
    assert (result["epochs"], result["selected_epoch"], result["trainable_parameters"]) == (2.0, 1.0, 18)
    assert finished == [["all", "head"]]


def pruned_at(values, thresholds, **options):
    spec, made = stopping(values, **options)
    prune = {"metric": "scripted", "direction": "maximize", "judge": "latest", "thresholds": thresholds}
    return run({**spec, "prune": prune}, made)


def test_a_poor_run_is_pruned_while_early_stopping_still_waits():
    result = pruned_at([0.2, 0.5, 0.4, 0.3, 0.9], [None, None, 0.45, None, None])
    assert (result["status"], result["epochs"]) == ("pruned", 3.0)
    assert "stopped_early" not in result


def test_a_run_that_stops_itself_keeps_its_value_however_poor():
    result = pruned_at([0.2, 0.5, 0.4, 0.3, 0.9], [None, None, None, 0.45, None])
    assert (result["status"], result["epochs"], result["stopped_early"]) == ("ok", 4.0, True)


# Nothing waits for the device -----------------------------------------------------------------------------------------


def test_nothing_of_these_waits_for_the_device_inside_a_stretch(monkeypatch):
    waits = Waits()
    real = Clocks.running

    class Watching:
        def __init__(self, *given):
            self.given = given

        def __enter__(self):
            self.inner = real(*self.given)
            self.inner.__enter__()
            if self.given[1] == "train":
                waits.__enter__()

        def __exit__(self, *error):
            if self.given[1] == "train":
                waits.__exit__(*error)
            return self.inner.__exit__(*error)

    monkeypatch.setattr(Clocks, "running", lambda *given: Watching(*given))
    problem = {"augmentation": listed("rotate", "scale", "crop"), "regularisation": {"l1": 0.1, "l2": 0.1}}
    made = augmented("rotate", "scale", "crop", optimizer=torch.optim.SGD, loss=mse)
    assert trained(payload(**problem), made)["status"] == "ok"
    assert set(waits.found) == set()


def test_batches_say_which_examples_they_hold():
    pair = (torch.arange(10.0)[:, None], torch.arange(10))
    indices = [torch.tensor([3, 1]), torch.tensor([9])]
    for examples in (feed.Resident(pair, CPU), feed.Streamed(Rows(pair), None, CPU)):
        found = list(examples.batches(indices, seed=0))
        assert [index.tolist() for _, _, index in found] == [[3, 1], [9]]
        assert all(torch.equal(targets, index) for _, targets, index in found)
