"""torch's optimizers by name: the class's own steps through the part, and training with each of them."""

import contextlib
import inspect
import math

import pytest
import torch
from harness_plugins import torch_optim
from harness_plugins.models import cnn
from torch import nn

from harness.hookspecs import Phase, Splits, Strategy
from harness.registry.catalog import Origin
from harness.registry.describe import describe
from harness.testing import NonConforming, check
from harness.train import snapshot, training
from harness.train.step import needs_closure
from tests.train.test_train import CPU, Kept, make_splits, parts, payload, run

torch.set_num_threads(1)

PARTS = {part.name: part for part in torch_optim.harness_optimizers()}
CLASSES = torch_optim.classes()
MISFITS = {"muon": "takes matrices", "sparse_adam": "takes tensors with sparse gradients"}
"""What no model with a bias can be trained by."""
FITTING = sorted(PARTS.keys() - MISFITS)


def info(name):
    return describe(PARTS[name], Origin("", "", "", "", ""))


def test_every_optimizer_of_torch_has_a_part_here_or_in_optimizers():
    from harness_plugins.optimizers import harness_optimizers

    own = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    assert own.keys() <= {part.name for part in harness_optimizers()}
    found = {
        kind
        for kind in vars(torch.optim).values()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    }
    assert found - {torch.optim.Optimizer} == set(CLASSES.values()) | set(own.values())


def test_names_are_those_that_people_write():
    due = "adadelta adafactor adagrad adamax asgd lbfgs muon nadam radam rmsprop rprop sparse_adam"
    assert set(due.split()) <= set(PARTS)
    assert torch_optim.KNOWN.keys() == set(due.split())


@pytest.mark.parametrize("name", PARTS)
def test_options_are_the_arguments_of_the_class_but_for_how_a_step_is_done(name):
    _, *arguments = inspect.signature(CLASSES[name]).parameters.values()
    plain = {one.name: one.default for one in arguments if one.name not in torch_optim.HOW}
    found = info(name)
    assert {
        option: tuple(value) if isinstance(value, list) else value for option, value in found.options.items()
    } == plain
    assert (found.open, found.required) == (False, ())


@pytest.mark.parametrize("name", PARTS)
def test_the_search_is_two_decades_around_the_rate_of_the_class(name):
    space, default = PARTS[name].space["lr"], info(name).options["lr"]
    assert list(PARTS[name].space) == ["lr"]
    assert space.log
    assert math.log10(space.high / space.low) == pytest.approx(2)
    assert default == pytest.approx(space.high if name == "lbfgs" else math.sqrt(space.high * space.low))


@pytest.mark.parametrize("name", PARTS)
def test_what_says_how_a_step_is_done_is_refused_as_any_unknown_option(name):
    for option in ("foreach", "maximize", "learning_rate"):
        with pytest.raises(TypeError, match=option):
            PARTS[name].build([{"params": [nn.Parameter(torch.zeros(2, 2))]}], **{option: True})


def walk(build):
    """Twelve steps on a crooked bowl; the weights before them and after each."""
    weights = [nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]])), nn.Parameter(torch.tensor([0.7]))]
    optimizer, found = build(weights), [torch.cat([weight.detach().flatten() for weight in weights])]

    def closure():
        optimizer.zero_grad()
        value = (torch.tensor([[1.0, 4.0], [0.3, 2.0]]) * weights[0] ** 2).sum() + (weights[1] - weights[0].sum()) ** 2
        value.backward()
        return value.detach()

    for _ in range(12):
        if needs_closure(optimizer):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        found.append(torch.cat([weight.detach().flatten() for weight in weights]))
    return torch.stack(found)


@pytest.mark.parametrize("name", FITTING)
def test_the_part_steps_bit_by_bit_as_the_class_does(name):
    options = {option: value for option, value in info(name).options.items() if value is not None}
    part = walk(lambda weights: PARTS[name].build([{"params": [weight]} for weight in weights], **options))
    plain = walk(CLASSES[name])
    assert torch.equal(part, plain)
    assert not torch.equal(part[0], part[-1])


@pytest.mark.parametrize("name", PARTS)
def test_each_of_them_conforms_or_says_what_it_is_for(name):
    if name in MISFITS:
        with pytest.raises(NonConforming, match=f"ValueError: {name}: {MISFITS[name]}.*has one of shape"):
            check(PARTS[name])
    else:
        check(PARTS[name])


# Whole quasi-Newton steps on batches that differ lead anywhere.
CAREFUL = {"lbfgs": {"lr": 0.05, "max_iter": 3, "history_size": 4}}


def spec(name, **problem):
    options = {"use": "optimizer", **info(name).options, **CAREFUL.get(name, {})}
    return payload(**{"optimizer": options, "epochs": 6, "batch_size": 25, **problem})


def losses(result, split="train"):
    return [row[5] for row in result["evaluations"] if row[3] == split and row[4] == "loss"]


@pytest.mark.parametrize("name", FITTING)
def test_training_gets_better_and_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path, name):
    kept = {}

    def keep(step, state):
        snapshot.save(tmp_path / f"{step}", state())
        kept[step] = tmp_path / f"{step}"

    used, splits = parts(optimizer=PARTS[name].build), make_splits()
    whole = training.run(spec(name), used, splits, device=CPU, keep=keep)["result"]
    assert whole["status"] == "ok", whole["reason"]
    assert losses(whole)[-1] < losses(whole)[0]
    for step, path in list(kept.items())[::2]:
        again = training.run(spec(name), used, splits, device=CPU, resume=snapshot.load(path))["result"]
        assert again == whole, f"after step {step}"


def test_l_bfgs_trains_as_written_by_hand():
    model, splits = Kept(lambda shape, outputs: nn.Linear(shape[0], outputs)), make_splits()
    problem = {"epochs": None, "steps": 10, "batch_size": 50}
    options = {"use": "optimizer", "lr": 0.5, "max_iter": 4}
    result = run(payload(**problem, optimizer=options, rule="last"), parts(model=model, optimizer=PARTS["lbfgs"].build))
    seeds = payload()["seeds"]
    order = torch.randperm(90, generator=torch.Generator().manual_seed(seeds["split"]))[30:80]
    inputs, targets = splits.train[0][order], splits.train[1][order]
    torch.manual_seed(seeds["init"])
    byhand = nn.Linear(4, 2)
    optimizer, before = torch.optim.LBFGS(byhand.parameters(), lr=0.5, max_iter=4), []

    def closure():
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(byhand(inputs), targets)
        value.backward()
        return value

    for _ in range(10):
        before.append(float(closure().detach()))
        optimizer.step(closure)
    # A batch is all 50 examples, in an order of its own; so sums are added up in another order.
    torch.testing.assert_close(model.models[0].weight, byhand.weight, rtol=1e-3, atol=1e-4)
    assert losses(result) == pytest.approx(before, rel=1e-4)


def test_l_bfgs_sees_the_penalty_of_a_strategy_in_loss_and_gradient():
    def penalty(t):
        return 3.0 * sum(parameter.tensor.square().sum() for parameter in t.parameters())

    seen = []

    class Watched(torch.optim.LBFGS):
        def step(self, closure):
            def watched():
                seen.append((float(closure()), self._gather_flat_grad().clone()))
                return torch.tensor(seen[-1][0])

            return super().step(watched)

    def build(params, **options):
        return Watched([tensor for group in params for tensor in group["params"]], max_iter=1)

    model = Kept(lambda shape, outputs: nn.Linear(shape[0], outputs, bias=False))
    strategy = Strategy("pulled", phases=lambda t: [Phase(lambda p: 1.0)], penalty=penalty)
    one = payload(epochs=None, steps=1, batch_size=50, rule="last", optimizer={"use": "optimizer"})
    result = run(one, parts(model=model, optimizer=build, strategy=strategy))
    seeds = one["seeds"]
    torch.manual_seed(seeds["init"])
    weight = nn.Linear(4, 2, bias=False).weight.detach().requires_grad_()
    rows = torch.randperm(90, generator=torch.Generator().manual_seed(seeds["split"]))[30:80]
    inputs, targets = (tensor[rows] for tensor in make_splits().train)
    plain = nn.functional.cross_entropy(inputs @ weight.T, targets)
    (plain + 3 * weight.square().sum()).backward()
    assert len(seen) == 1
    assert seen[0][0] == pytest.approx(float((plain + 3 * weight.square().sum()).detach()), rel=1e-5)
    torch.testing.assert_close(seen[0][1], weight.grad.flatten(), rtol=1e-4, atol=1e-5)
    assert losses(result) == pytest.approx([float(plain.detach())], rel=1e-5)


def test_l_bfgs_trains_convolutions_whose_images_are_channels_last():
    inputs = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    splits = Splits((inputs, torch.arange(60) % 3), (inputs[:9], torch.arange(9) % 3), classes=3)
    small = spec("lbfgs", epochs=2, batch_size=25, train_examples=50, validation_examples=10)
    model = lambda shape, outputs: cnn(shape, outputs, channels=[4, 4], hidden=8)  # noqa: E731
    result = run(small, parts(model=model, optimizer=PARTS["lbfgs"].build), splits)
    assert result["status"] == "ok", result["reason"]
    assert losses(result)[-1] < losses(result)[0]


def test_l_bfgs_refuses_rates_of_their_own():
    tensors = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": [tensor], "lr": lr} for tensor, lr in zip(tensors, (1.0, 0.1), strict=True)]
    with pytest.raises(
        ValueError, match=r"lbfgs: has one learning rate for all parameters, a strategy gives \[0.1, 1.0\]"
    ):
        PARTS["lbfgs"].build(groups)


def test_muon_trains_a_model_of_matrices():
    def matrices(shape, outputs):
        return nn.Sequential(nn.Linear(shape[0], 8, bias=False), nn.ReLU(), nn.Linear(8, outputs, bias=False))

    found = losses(run(spec("muon"), parts(model=matrices, optimizer=PARTS["muon"].build)))
    assert found[-1] < found[0]


class Words(nn.Module):
    """The mean of the vectors of a bag of words is the output; only rows of words that occur have a gradient."""

    def __init__(self, outputs):
        super().__init__()
        self.bag = nn.EmbeddingBag(20, outputs, sparse=True)

    def forward(self, inputs):
        return self.bag(inputs.long())


def test_sparse_adam_trains_a_model_of_sparse_gradients():
    labels = torch.arange(90) % 2
    words = torch.randint(0, 10, (90, 5), generator=torch.Generator().manual_seed(0)) + 10 * labels[:, None]
    splits = Splits((words.float(), labels), (words[:40].float(), labels[:40]), classes=2)
    model = lambda shape, outputs: Words(outputs)  # noqa: E731
    found = losses(run(spec("sparse_adam"), parts(model=model, optimizer=PARTS["sparse_adam"].build), splits))
    assert found[-1] < found[0]


@pytest.mark.parametrize("name", MISFITS)
def test_a_model_that_an_optimizer_does_not_fit_is_refused_before_anything_runs(project, name):
    result = project.write(suite={"arms.optimizer": ["sgd", name], "tuning": None}).run("plan", "suite.toml")
    assert result.code == 2
    assert f"arm '{name}' cannot be built: ValueError: {name}: {MISFITS[name]}" in result.err
    assert "has one of shape (8,); use another optimizer" in result.err
    assert "Traceback" not in result.err


def test_any_of_them_is_an_arm_without_a_line_of_code(project):
    arms = ["sgd", "nadam", {"use": "rprop", "etas": [0.4, 1.3]}, {"use": "adafactor", "lr": 0.05}, "lbfgs"]
    suite = {"arms": None, "arm": [{"name": f"a{n}", "optimizer": arm} for n, arm in enumerate(arms)]}
    project.write(suite={**suite, "compare.baseline": "a0", "compare.replicates": 1, "tuning": None})
    result = project.run("run", "suite.toml")
    assert result.code == 0, result.err
    assert "5 of 5 ok" in result.err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"betas": 0.9}, "takes a list, found 0.9"),
        ({"foreach": True}, "no option 'foreach'"),
        ({"lr": -1.0}, "takes lr above 0"),
        ({"betas": [0.9]}, "cannot be built: "),
        ({"betas": [0.9, 1.5]}, "Invalid beta parameter at index 1: 1.5"),
    ],
)
def test_a_bad_option_is_a_mistake_of_the_suite(project, option, says):
    arms = [{"name": "a", "optimizer": "sgd"}, {"name": "b", "optimizer": {"use": "nadam", **option}}]
    project.write(suite={"arms": None, "arm": arms, "compare.baseline": "a", "tuning": None})
    result = project.run("plan", "suite.toml")
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_an_unknown_optimizer_names_the_near_ones_and_not_all_of_them(project):
    result = project.write(suite={"arms.optimizer": ["sgd", "rmsprob"]}).run("check", "suite.toml")
    assert result.code == 2
    assert "did you mean 'rmsprop'?" in result.err
    assert "and 11 more; 'harness list optimizers' shows all" in result.err
    assert len(max(result.err.splitlines(), key=len)) < 200


def test_an_optimizer_that_needs_a_closure_is_told_from_one_that_takes_one():
    weights = [nn.Parameter(torch.zeros(2))]
    assert needs_closure(torch.optim.LBFGS(weights))
    assert not needs_closure(torch.optim.Adam(weights))
    with contextlib.suppress(AttributeError):
        assert not needs_closure(torch.optim.Muon([nn.Parameter(torch.zeros(2, 2))]))
    scheduled = torch.optim.LBFGS(weights)
    torch.optim.lr_scheduler.LambdaLR(scheduled, lambda step: 1.0)
    assert needs_closure(scheduled)
