"""A head fitted to its optimum: against scikit-learn, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn
from torch.nn import functional as F  # noqa: N812

from harness.errors import PluginError
from harness.hookspecs import NotApplicable, Phase, Strategy
from harness.strategies import exact
from harness.strategies.forgetting import Reader
from harness.train.feed import Resident
from harness.train.returned import Diverged
from tests import transfers

GENERATOR = torch.Generator().manual_seed(3)
INPUTS = torch.randn(60, 1, 6, 6, generator=GENERATOR)
LABELS = torch.randint(0, 3, (60,), generator=GENERATOR)


def head_only(t):
    return [Phase(lambda p: 1.0 if p.head else None)]


def solved(model, targets=LABELS, *, l2=1.0, loss=F.cross_entropy, outputs=3):
    """The transfer after its head was fitted, and the features (60, D) that it was fitted on."""
    strategy = Strategy("exact", phases=head_only, exact=lambda t: l2)
    transfer = transfers.prepared(strategy, lambda: model, outputs=outputs)
    reader = Reader(transfer.head, contextlib.nullcontext)
    found = exact.solve(
        transfer, Resident((INPUTS, targets), torch.device("cpu")), loss=loss, penalty=transfer.exact(), reader=reader
    )
    return transfer, reader.read(model, Resident((INPUTS, targets), torch.device("cpu"))), found


@pytest.mark.parametrize("l2", [0.05, 1.0, 30.0])
def test_of_cross_entropy_it_is_the_logistic_regression_of_scikit_learn(l2):
    _, reading, found = solved(transfers.conv_bn_net(), l2=l2)
    features = reading.features.numpy()
    peer = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    peer.fit((features - features.mean()) / features.std(), LABELS.numpy())
    expected = peer.predict_proba((features - features.mean()) / features.std())
    shares = reading.outputs.softmax(dim=1).numpy()
    assert abs(shares - expected).max() < 2e-5
    assert found.loss == pytest.approx(float(F.cross_entropy(reading.outputs, LABELS)), rel=1e-5)
    assert found.evaluations > 1


def test_of_a_squared_error_it_is_the_ridge_regression_of_scikit_learn():
    targets = torch.randn(60, 2, generator=torch.Generator().manual_seed(5))
    _, reading, _ = solved(transfers.plain_net(), targets, l2=4.0, loss=nn.MSELoss(reduction="mean"), outputs=2)
    features = reading.features.numpy()
    scaled = (features - features.mean()) / features.std()
    # The mean is over both outputs, so that each sum of squares counts half: (1 / 2) |r|^2 + (4 / 2) |w|^2.
    expected = Ridge(alpha=4.0).fit(scaled, targets.numpy()).predict(scaled)
    assert abs(reading.outputs.numpy() - expected).max() < 1e-5


def test_nothing_but_the_head_changes_and_where_it_began_makes_no_difference():
    one, _, _ = solved(transfers.conv_bn_net())
    model = transfers.conv_bn_net()
    strategy = Strategy("exact", phases=head_only, exact=lambda t: 1.0)
    other = transfers.prepared(strategy, lambda: model, init="default")
    exact.solve(
        other,
        Resident((INPUTS, LABELS), torch.device("cpu")),
        loss=F.cross_entropy,
        penalty=1.0,
        reader=Reader(other.head, contextlib.nullcontext),
    )
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name
        if not name.startswith(one.head):
            assert torch.equal(tensor, one.start[name]), name


def test_a_head_without_bias_is_fitted_through_the_origin():
    net = transfers.plain_net()
    net[-1] = nn.Linear(8, 5, bias=False)
    _, reading, _ = solved(net)
    features = reading.features.numpy() / reading.features.numpy().std()
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000, fit_intercept=False).fit(features, LABELS.numpy())
    assert abs(reading.outputs.softmax(dim=1).numpy() - peer.predict_proba(features)).max() < 2e-5


def test_a_network_that_goes_on_after_its_head_is_not_applicable():
    class Squashed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(36, 8), nn.Linear(8, 5)

        def forward(self, inputs):
            return torch.tanh(self.head(torch.relu(self.body(inputs.flatten(1)))) + 1.0)

    with pytest.raises(NotApplicable, match="the network does more with what its head 'head' gives"):
        solved(Squashed())


def test_a_network_that_reads_the_weights_of_its_head_elsewhere_is_not_applicable():
    class Mirrored(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(36, 8), nn.Linear(8, 5)

        def forward(self, inputs):
            hidden = torch.relu(self.body(inputs.flatten(1)))
            return self.head(hidden @ self.head.weight.T @ self.head.weight)

    with pytest.raises(NotApplicable, match="reads the weights of its head 'head' on the way to it, too"):
        solved(Mirrored())


def test_an_optimum_that_is_nowhere_is_said():
    features = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    head = nn.Linear(1, 1).double()
    with pytest.raises(Diverged, match="the head's optimum was not reached"):
        exact._minimise(head, features, torch.zeros(2), loss=lambda outputs, _: outputs.mean(), penalty=0.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"phases": lambda t: [Phase(lambda p: 1.0)]}, "the head alone trains, and not 0.bias"),
        ({"phases": lambda t: head_only(t) * 2}, "one phase, in which the head alone trains, got 2 phases"),
        ({"penalty": lambda t: torch.zeros(())}, "no penalty of its own"),
    ],
)
def test_a_strategy_that_is_not_the_head_alone_is_refused(fields, says):
    strategy = Strategy("mine", **{"phases": head_only, "exact": lambda t: 1.0, **fields})
    with pytest.raises(PluginError, match=f"strategy 'mine': with exact it has .*{says}"):
        transfers.prepared(strategy)


@pytest.mark.parametrize("value", [-1.0, float("nan"), "1", True])
def test_a_penalty_that_is_no_strength_is_refused(value):
    transfer = transfers.prepared(Strategy("mine", phases=head_only, exact=lambda t: value))
    with pytest.raises(PluginError, match="exact must return a finite number of at least 0, got"):
        transfer.exact()
