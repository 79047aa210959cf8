"""Features of a frozen network are kept between evaluations, and no record tells."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from harness.hookspecs import Strategy
from harness.strategies.prefix import Prefix
from harness.train import training
from tests.strategies.test_transfer_measures import (
    FREEZE,
    FT_LP,
    FULL,
    LP_FT,
    PROBE,
    images,
    make_cnn,
    make_line,
    make_net,
    spec_of,
)
from tests.train import test_train
from tests.train.test_train import CPU

torch.set_num_threads(1)


class Counted(nn.Module):
    """A net that counts the examples that it is shown for evaluation, and whether it was asked to keep them."""

    def __init__(self, net, after=lambda outputs: outputs):
        super().__init__()
        self.net, self.after, self.shown = net, after, 0

    def forward(self, inputs):
        self.shown += 0 if self.training else len(inputs)
        return self.after(self.net(inputs))


def trained(strategy, build=make_net, after=lambda outputs: outputs, **changed):
    """The result of a run with 10 evaluations on 20 examples, and how often they went through the whole net."""
    made = []

    def counted(shape, outputs):
        made.append(Counted(build(shape, outputs), after))
        return made[-1]

    spec = {**spec_of(**changed), "phase": "tune"}
    del spec["select"]
    parts = test_train.parts(strategy=strategy, model=counted)
    result = training.run(spec, parts, images(1), device=CPU)["result"]
    # One example is for the map of blocks, which looks twice where numbers are drawn.
    return result, (made[0].shown - (2 if after is noisy else 1)) / 20


def never(phase):
    return None


@pytest.mark.parametrize("build", [make_net, make_cnn, make_line], ids=lambda b: b.__name__)
@pytest.mark.parametrize(
    ("strategy", "passes"),
    [(PROBE, 1), (LP_FT, 1 + 5), (FT_LP, 5 + 1), (FREEZE, 10)],
    ids=lambda x: getattr(x, "name", ""),
)
def test_a_record_is_the_same_whether_features_are_kept_or_not(monkeypatch, build, strategy, passes):
    kept = trained(strategy, build)
    monkeypatch.setattr(Prefix, "of", never)
    plain = trained(strategy, build)
    assert kept[0] == plain[0]
    assert (kept[1], plain[1]) == (passes, 10)


def clamped(outputs):
    return outputs.clamp(-100, 100)


def clamped_in_place(outputs):
    return outputs.clamp_(-100, 100)


def noisy(outputs):
    torch.rand(())
    return outputs


@pytest.mark.parametrize("after", [clamped, clamped_in_place, noisy], ids=lambda f: f.__name__)
def test_nothing_is_kept_where_the_head_is_not_all_that_follows(monkeypatch, after):
    kept = trained(PROBE, after=after)
    monkeypatch.setattr(Prefix, "of", never)
    assert kept == trained(PROBE, after=after)
    assert kept[1] == 10


def test_a_head_with_hooks_of_its_own_keeps_nothing():
    hooked = Strategy(
        "hooked", phases=PROBE.phases, prepare=lambda t: t.model.net[10].register_forward_pre_hook(double)
    )
    assert trained(hooked)[1] == 10


def double(module, inputs):
    return tuple(2 * one for one in inputs)


def test_norms_that_take_notes_while_frozen_keep_nothing():
    """The same net with norms in training mode, as `norm = "train"` has them: their statistics move."""
    assert trained(PROBE, norm="train")[1] == 10


class Mirrored(nn.Module):
    """A network that has the weights of its head in it a second time, or that asks for their type alone."""

    def __init__(self, shape, outputs, *, twice=True):
        super().__init__()
        self.body, self.head, self.twice = nn.Linear(36, outputs + 3), nn.Linear(outputs + 3, outputs), twice

    def forward(self, inputs):
        hidden = torch.tanh(self.body(inputs.flatten(1).to(self.head.weight.dtype)))
        return self.head(hidden + hidden @ self.head.weight.T @ self.head.weight if self.twice else hidden)


def test_nothing_is_kept_where_the_weights_of_the_head_are_read_before_it(monkeypatch):
    """What goes into such a head is another thing after every step."""
    kept = trained(PROBE, Mirrored)
    monkeypatch.setattr(Prefix, "of", never)
    assert kept == trained(PROBE, Mirrored)
    assert kept[1] == 10


def test_what_asks_the_head_for_its_type_reads_no_weights():
    assert trained(PROBE, partial(Mirrored, twice=False))[1] == 1


@pytest.mark.parametrize("strategy", [FULL, FREEZE], ids=lambda s: s.name)
def test_nothing_is_kept_where_more_than_the_head_trains(strategy):
    assert trained(strategy)[1] == 10
