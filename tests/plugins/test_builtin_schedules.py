"""The built-in schedules against their closed form and torch's own."""

import math

import pytest
import torch
from harness_plugins.schedules import constant, cosine
from torch import nn

torch.set_num_threads(1)


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
