"""The built-in schedules against their closed form and torch's own."""

import math

import pytest
import torch
from harness_plugins.schedules import constant, cosine, multistep, plateau, step
from torch import nn

torch.set_num_threads(1)


lr_scheduler = torch.optim.lr_scheduler


def rates(build, steps, lr=0.5, **options):
    """The learning rate before each step, and after the last."""
    tensor = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([tensor], lr=lr)
    scheduler = build(optimizer, steps, 5, **options)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_constant_leaves_the_rate_alone():
    assert rates(constant, 4) == [0.5] * 5


def test_cosine_equals_torchs_own():
    def own(optimizer, steps, steps_per_epoch):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=0.05)

    assert rates(cosine, 40, final=0.1) == pytest.approx(rates(own, 40), rel=1e-9)


def test_cosine_is_at_half_in_the_middle_and_at_final_after_the_last_step():
    found = rates(cosine, 10, lr=1.0)
    assert found[0] == 1.0
    assert found[5] == pytest.approx(0.5)
    assert found[9] == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)
    assert found[10] == pytest.approx(0.0)


def test_warm_up_rises_by_equal_steps_to_the_full_rate():
    found = rates(cosine, 10, lr=1.0, warmup=0.4)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[7] == pytest.approx((1 + math.cos(math.pi * 3 / 6)) / 2)
    assert found[10] == pytest.approx(0.0)


def test_warm_up_alone_rises_over_all_steps():
    assert rates(cosine, 3, lr=1.0, warmup=1.0) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_final_of_one_is_constant():
    assert rates(cosine, 7, final=1.0) == pytest.approx([0.5] * 8)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_few_steps_all_have_a_rate_above_zero(steps, warmup):
    assert all(rate > 0 for rate in rates(cosine, steps, warmup=warmup)[:steps])


@pytest.mark.parametrize("options", [{"warmup": 1.1}, {"warmup": -0.1}, {"final": 2}, {"final": math.nan}])
def test_share_outside_zero_to_one_is_refused(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"cosine: {name} must be a share from 0 to 1, got"):
        rates(cosine, 4, **options)


def test_warm_up_equals_torchs_own_linear_rise():
    def own(optimizer, steps, steps_per_epoch):
        return lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, end_factor=1.0, total_iters=4)

    assert rates(cosine, 10, warmup=0.4)[:5] == pytest.approx(rates(own, 10)[:5], rel=1e-9)


def test_warm_up_and_cosine_equal_torchs_own_in_sequence():
    def own(optimizer, steps, steps_per_epoch):
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 11, end_factor=1.0, total_iters=10)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0.05)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])

    assert rates(cosine, 40, warmup=0.25, final=0.1) == pytest.approx(rates(own, 40), rel=1e-9)


# `rates` has 5 steps an epoch.
@pytest.mark.parametrize(
    ("options", "size"),
    [({}, 5), ({"every": 2}, 10), ({"every": 3, "unit": "steps"}, 3), ({"every": 100}, 500)],
    ids=["each epoch", "two epochs", "steps", "longer than the run"],
)
def test_step_equals_torchs_own(options, size):
    def own(optimizer, steps, steps_per_epoch):
        return lr_scheduler.StepLR(optimizer, step_size=size, gamma=0.3)

    assert rates(step, 37, gamma=0.3, **options) == pytest.approx(rates(own, 37), rel=1e-9)


def test_step_divides_by_ten_every_thousand_iterations():
    found = rates(step, 2500, lr=1.0, every=1000, unit="steps")
    assert [found[0], found[999], found[1000], found[2000]] == pytest.approx([1.0, 1.0, 0.1, 0.01])


@pytest.mark.parametrize(
    ("options", "milestones"),
    [({}, [5, 10]), ({"milestones": [1, 4]}, [5, 20]), ({"milestones": [2, 3, 30], "unit": "steps"}, [2, 3, 30])],
    ids=["default", "epochs", "steps"],
)
def test_multistep_equals_torchs_own(options, milestones):
    def own(optimizer, steps, steps_per_epoch):
        return lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.2)

    assert rates(multistep, 37, gamma=0.2, **options) == pytest.approx(rates(own, 37), rel=1e-9)


@pytest.mark.parametrize(
    ("build", "options", "says"),
    [
        (step, {"gamma": 0.0}, "step: gamma must be above 0 and at most 1, got 0.0"),
        (step, {"gamma": math.nan}, "step: gamma must be above 0"),
        (multistep, {"gamma": 1.5}, "multistep: gamma must be above 0 and at most 1, got 1.5"),
        (step, {"every": 0}, r"step: every must be whole numbers of at least 1, got \[0\]"),
        (multistep, {"milestones": [1, 2.5]}, "multistep: milestones must be whole numbers of at least 1"),
        (multistep, {"milestones": [3, 2]}, r"multistep: milestones must rise, got \[3, 2\]"),
        (multistep, {"milestones": [2, 2]}, "multistep: milestones must rise"),
        (step, {"unit": "minutes"}, "step: unit must be one of epochs, steps, got 'minutes'"),
        (plateau, {"factor": 1.0}, "plateau: factor must be above 0 and below 1, got 1.0"),
        (plateau, {"patience": -1}, "plateau: patience must be a finite number of at least 0, got -1"),
        (plateau, {"threshold": math.inf}, "plateau: threshold must be a finite number"),
    ],
)
def test_options_out_of_range_are_refused(build, options, says):
    with pytest.raises(ValueError, match=says):
        rates(build, 4, **options)


VALUES = [0.9, 0.5, 0.5, 0.49, 0.51, 0.6, 0.3, 0.4, 0.4, 0.4, 0.4, 0.29, 0.3, 0.3, 0.3, 0.3, 0.3]


@pytest.mark.parametrize("options", [{}, {"patience": 0}, {"threshold": 0.05}, {"cooldown": 2, "patience": 1}])
def test_plateau_told_the_negative_equals_torchs_own_that_looks_for_the_largest(options):
    def followed(build, sign):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler, found = build(optimizer), []
        for value in VALUES:
            scheduler.step(sign * value)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    def own(optimizer):
        given = {"patience": 2, "threshold": 1e-4, **options}
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, threshold_mode="abs", **given)

    found = followed(lambda optimizer: plateau(optimizer, 99, 5, factor=0.5, **options), -1.0)
    assert found == followed(own, 1.0)
    assert found[-1] < 1.0


def test_plateau_lets_so_many_evaluations_pass_and_then_lowers_the_rate():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = plateau(optimizer, 99, 5, factor=0.5, patience=2), []
    for value in [1.0, 1.0, 1.0, 1.0, 1.0]:
        scheduler.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [1.0, 1.0, 1.0, 0.5, 0.5]
