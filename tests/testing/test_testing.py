"""Each conformance check passes a sound part and names the rule that a planted defect breaks."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from harness import testing
from harness.hookspecs import (
    Augmentation,
    Choice,
    Dataset,
    Float,
    Int,
    Loss,
    Metric,
    Model,
    NotApplicable,
    Optimizer,
    Phase,
    Schedule,
    Splits,
    Strategy,
)
from harness.testing import NonConforming, check

torch.set_num_threads(1)


def refused(part, rule, found="", **arguments):
    """Hold that the check refuses the part for exactly this rule."""
    with pytest.raises(NonConforming) as caught:
        check(part, **arguments)
    assert rule in caught.value.rule
    assert found in caught.value.found
    assert str(caught.value) == f"{part.kind} '{part.name}': {caught.value.rule}; found {caught.value.found}"
    assert isinstance(caught.value, AssertionError)


# Models


class Net(nn.Module):
    """A sound network; the planted ones change one thing."""

    def __init__(self, input_shape, outputs, *, width=8):
        super().__init__()
        self.body, self.drop = nn.Linear(math.prod(input_shape), width), nn.Dropout(0.5)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.drop(self.body(x.flatten(1)).relu()))


def planted(**methods):
    return type("Planted", (Net,), methods)


def extra_layer(self, *arguments, **options):
    Net.__init__(self, *arguments, **options)
    self.spare = nn.Linear(2, 2)


def seed_itself(self, *arguments, **options):
    torch.manual_seed(0)
    Net.__init__(self, *arguments, **options)


def draw_from_numpy(self, *arguments, **options):
    Net.__init__(self, *arguments, **options)
    self.body.weight.data += float(np.random.rand())


def draw_in_evaluation(self, x):
    return Net.forward(self, x) + torch.rand(1)


def mix_examples(self, x):
    outputs = Net.forward(self, x)
    return outputs - outputs.mean(0)


class Unsaved(Net):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.shift = torch.randn(1)

    def forward(self, x):
        return super().forward(x) + self.shift


def test_a_sound_model_conforms():
    check(Model("net", build=Net, head="head", space={"width": Int(1, 16)}))
    testing.check_model(Model("net", build=Net), input_shape=(5,), outputs=1, options={"width": 3})


@pytest.mark.parametrize(
    ("build", "rule", "found"),
    [
        (lambda input_shape, outputs: None, "build returns an nn.Module", "NoneType"),
        (lambda input_shape, outputs: 1 / 0, "is built for this input shape", "ZeroDivisionError: division by zero"),
        (planted(forward=lambda self, x: self.body(x)), "takes inputs (N, *input_shape)", "RuntimeError"),
        (planted(forward=lambda self, x: (x, x)), "returns one tensor in training mode", "tuple"),
        (planted(forward=lambda self, x: Net.forward(self, x)[:, :-1]), "gives outputs (N, K), here (4, 10)", "(4, 9)"),
        (planted(forward=lambda self, x: Net.forward(self, x) / 0), "outputs are finite numbers", "float32"),
        (planted(__init__=extra_layer), "a gradient reaches every parameter", "none at spare.weight"),
        (planted(__init__=seed_itself), "build does not seed the global generator", "the same state"),
        (planted(__init__=draw_from_numpy), "equal seeds give equal weights", "a difference of"),
        (planted(forward=draw_in_evaluation), "evaluation mode gives the same outputs twice", "a difference of"),
        (planted(forward=mix_examples), "in evaluation mode an output depends on its own example only", "a difference"),
        (Unsaved, "the state_dict holds all that the outputs depend on", "a difference of"),
    ],
)
def test_a_model_with_a_defect_is_refused(build, rule, found):
    refused(Model("planted", build=build), rule, found)


def test_a_model_that_draws_in_evaluation_is_refused_even_if_its_outputs_do_not_show_it():
    def forward(self, x):
        torch.rand(1)
        return Net.forward(self, x)

    refused(Model("planted", build=planted(forward=forward)), "evaluation mode draws no random numbers")


@pytest.mark.parametrize(("head", "found"), [("fc", "has no module 'fc'"), ("body", "8 from 'body'")])
def test_a_head_that_is_not_the_output_layer_is_refused(head, found):
    refused(Model("planted", build=Net, head=head), "the head", found)


def test_a_model_is_built_at_the_ends_of_its_space():
    refused(Model("planted", build=Net, space={"width": Int(-1, 8)}), "is built for this input shape", "RuntimeError")


# Optimizers


def subclass(**methods):
    """A builder of SGD with one thing changed."""
    cls = type("Planted", (torch.optim.SGD,), methods)
    return lambda params, *, lr=0.1, momentum=0.9: cls(params, lr=lr, momentum=momentum)


def climb(self, closure=None):
    for group in self.param_groups:
        group["maximize"] = True
    return torch.optim.SGD.step(self, closure)


def move_idle(self, closure=None):
    for group in self.param_groups:
        for tensor in group["params"]:
            tensor.data.mul_(0.9)
    return torch.optim.SGD.step(self, closure)


def need_closure(self, closure):
    return torch.optim.SGD.step(self, closure)


def hide_that_it_needs_one(self, closure=None):
    return torch.optim.SGD.step(self, lambda: closure())


def draw_from_python(self, closure=None):
    for group in self.param_groups:
        group["lr"] = 0.1 * random.random()
    return torch.optim.SGD.step(self, closure)


def one_rate(self, closure=None):
    for group in self.param_groups:
        group["lr"] = 0.1
    return torch.optim.SGD.step(self, closure)


def forget(self):
    return {"state": {}, "param_groups": torch.optim.SGD.state_dict(self)["param_groups"]}


def save_code(self):
    return {**torch.optim.SGD.state_dict(self), "rule": forget}


def whole_model(params, *, lr=0.1):
    return torch.optim.SGD([group["params"][0] for group in params][:1], lr=lr)


def test_a_sound_optimizer_conforms():
    check(Optimizer("sgd", build=subclass(), space={"lr": Float(1e-3, 1.0, log=True), "momentum": Choice(0.0, 0.9)}))


def test_an_optimizer_whose_step_has_a_closure_without_default_is_given_one():
    check(Optimizer("sgd", build=subclass(step=need_closure)))


def one_rate_or_none(error):
    def build(params, *, lr=0.1):
        if len({group["lr"] for group in params}) > 1:
            raise error("one rate for all")
        return torch.optim.SGD(params, lr=lr)

    return build


def test_rates_of_their_own_may_be_refused_by_a_value_error_and_no_other():
    check(Optimizer("sgd", build=one_rate_or_none(ValueError)))
    refused(Optimizer("sgd", build=one_rate_or_none(KeyError)), "is built from parameter groups", "one rate for all")


def test_a_required_hyperparameter_is_taken_from_inside_the_space():
    seen = []

    def build(params, *, lr, momentum):
        seen.append((lr, momentum))
        return torch.optim.SGD(params, lr=lr, momentum=momentum)

    check(Optimizer("sgd", build=build, space={"lr": Float(1e-3, 0.1, log=True), "momentum": Choice(0.5, 0.9)}))
    assert seen[0] == (pytest.approx(0.01), 0.5)
    assert {(1e-3, 0.5), (0.1, 0.5)} <= set(seen)


@pytest.mark.parametrize(
    ("build", "rule", "found"),
    [
        (lambda params, *, lr=0.1: None, "build returns a torch optimizer", "NoneType"),
        (whole_model, "holds the tensors that it was given", "1 tensors"),
        (subclass(step=climb), "50 steps on a quadratic lower it", " from 4"),
        (subclass(step=move_idle), "a tensor without a gradient stays as it is", "moved to"),
        (subclass(step=hide_that_it_needs_one), "steps without a closure", "TypeError"),
        (subclass(step=draw_from_python), "equal seeds give equal weights", "a difference of"),
        (subclass(step=one_rate), "a group with a thousandth of the lr moves less", "against"),
        (subclass(state_dict=forget), "goes on from its state_dict as if it had not stopped", "a difference of"),
        (subclass(state_dict=save_code), "the state_dict is plain data", "UnpicklingError"),
        (
            lambda params, *, lr=0.1, **rest: torch.optim.SGD(params, lr=lr),
            "an unknown hyperparameter is refused",
            "no_such_hyperparameter=1 was taken",
        ),
        (lambda params, *, lr: torch.optim.SGD(params, lr=lr), "every option has a default or a space", "none for lr"),
    ],
)
def test_an_optimizer_with_a_defect_is_refused(build, rule, found):
    refused(Optimizer("planted", build=build), rule, found)


def test_a_space_for_an_option_that_is_not_taken_is_refused():
    part = Optimizer("planted", build=subclass(), space={"learning_rate": Float(0, 1)})
    refused(part, "is plain data but for its callables", "build takes no option 'learning_rate'")


def test_an_optimizer_is_built_at_the_ends_of_its_space():
    part = Optimizer("planted", build=subclass(), space={"momentum": Float(-0.5, 0.9)})
    refused(part, "is built from parameter groups", "Invalid momentum value: -0.5")


# Losses


def summed():
    return nn.CrossEntropyLoss(reduction="sum")


def sum_over_root():
    return lambda outputs, targets: nn.functional.cross_entropy(outputs, targets) / len(targets) ** 0.5


def largest():
    return lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none").max()


def overflowing():
    return lambda outputs, targets: (outputs.exp().sum(1).log() - outputs.gather(1, targets[:, None])[:, 0]).mean()


def drawing():
    return lambda outputs, targets: nn.functional.cross_entropy(outputs, targets) + 0 * torch.rand(())


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs):
        return outputs.square().mean()

    @staticmethod
    def backward(ctx, gradient):
        return torch.ones(6, 10, dtype=torch.float64)


def test_a_sound_loss_conforms():
    check(Loss("cross_entropy", build=nn.CrossEntropyLoss))
    check(Loss("mse", build=lambda: lambda outputs, targets: (outputs[:, 0] - targets).square().mean()), classes=None)


@pytest.mark.parametrize(
    ("build", "rule", "found"),
    [
        (lambda: None, "takes outputs (N, K) and targets (N,)", "TypeError"),
        (lambda: lambda outputs, targets: 1.0, "returns a tensor ()", "1.0"),
        (lambda: nn.CrossEntropyLoss(reduction="none"), "returns a tensor ()", "Tensor (6,)"),
        (lambda: lambda outputs, targets: outputs.sum() / 0, "the loss of plain outputs is finite", "inf"),
        (overflowing, "the loss of outputs in the hundreds is finite", "inf"),
        (summed, "doubling the batch leaves the mean as it is", "a difference of"),
        (sum_over_root, "doubling the batch leaves the mean as it is", "a difference of"),
        (largest, "the loss is the mean over single examples", "a difference of"),
        (lambda: lambda o, t: WrongGradient.apply(o), "the gradient equals finite differences", "Jacobian mismatch"),
        (drawing, "draws nothing from torch's global generator", "another state"),
    ],
)
def test_a_loss_with_a_defect_is_refused(build, rule, found):
    refused(Loss("planted", build=build), rule, found)


def test_a_loss_is_built_at_the_ends_of_its_space():
    def build(*, label_smoothing=0.0):
        if label_smoothing > 0.5:
            raise ValueError("too smooth")
        return nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    part = Loss("planted", build=build, space={"label_smoothing": Float(0.0, 0.9)})
    refused(part, "is built at the ends of its space", "ValueError: too smooth")


# Metrics


def accuracy(predictions):
    return float((predictions.outputs.argmax(1) == predictions.targets).double().mean())


def metric(apply, **fields):
    return Metric("planted", apply=apply, **{"direction": "maximize", **fields})


def spoil(predictions):
    found = accuracy(predictions)
    predictions.outputs.zero_()
    return found


def early_count_more(predictions):
    hits = predictions.outputs.argmax(1) == predictions.targets
    return float((hits / torch.arange(1, len(hits) + 1)).sum())


def test_a_sound_metric_conforms():
    check(metric(accuracy, ceiling=1.0, floor="chance"))
    check(metric(lambda predictions: 100 - torch.tensor(100 * accuracy(predictions)), direction="minimize", floor=90.0))
    absolute = metric(lambda p: (p.outputs[:, 0] - p.targets).abs().mean(), direction="minimize")
    check(absolute, classes=None)


@pytest.mark.parametrize(
    ("part", "rule", "found"),
    [
        (metric(lambda p: 1 / 0), "measures a split", "ZeroDivisionError"),
        (metric(lambda p: "0.9"), "returns one number", "'0.9'"),
        (metric(lambda p: None), "returns one number", "None"),
        (metric(lambda p: True), "returns one number", "True"),
        (metric(lambda p: torch.zeros(2)), "returns one number", "Tensor (2,)"),
        (metric(lambda p: math.nan), "is finite for finite outputs", "nan"),
        (metric(lambda p: 100 * accuracy(p), ceiling=1.0), "is not above its ceiling, 1.0", "100.0"),
        (
            metric(accuracy, direction="minimize"),
            "right outputs are best, as direction 'minimize' says",
            "1.0 for right",
        ),
        (metric(lambda p: 0.5), "right outputs are best", "0.5 for right, 0.5 for random and 0.5 for wrong"),
        (metric(early_count_more), "the order of the examples does not matter", "a difference of"),
        (metric(spoil), "leaves the outputs as they are", "a difference of"),
        (metric(accuracy, floor=1.0), "the floor is worse than right outputs", "1.0 against 1.0"),
        (metric(lambda p: accuracy(p) + 0 * float(torch.rand(1))), "draws nothing from torch's", "another state"),
    ],
)
def test_a_metric_with_a_defect_is_refused(part, rule, found):
    refused(part, rule, found)


def test_chance_is_no_floor_without_classes():
    part = metric(lambda p: -(p.outputs[:, 0] - p.targets).abs().mean(), floor="chance")
    refused(part, "a floor of chance needs classes", "a regression", classes=None)


# Schedules


def by(multiplier):
    def build(optimizer, steps, steps_per_epoch):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: multiplier(t, steps))

    return build


def absolute_rate(optimizer, steps, steps_per_epoch):
    class Planted(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [0.1 for _ in self.optimizer.param_groups]

    return Planted(optimizer)


def plateau(optimizer, steps, steps_per_epoch):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)


def test_a_sound_schedule_conforms():
    check(Schedule("linear", build=by(lambda t, steps: 1 - t / steps)))
    check(Schedule("constant", build=lambda optimizer, steps, steps_per_epoch: None))


@pytest.mark.parametrize(
    ("build", "rule", "found"),
    [
        (by(lambda t, steps: t / (steps - 1)), "is built for 1 steps", "ZeroDivisionError"),
        (by(lambda t, steps: 1 - 2 * t / steps), "multipliers are not negative", "-0."),
        (by(lambda t, steps: math.nan if t else 1.0), "multipliers are finite", "nan"),
        (by(lambda t, steps: 0.0), "some step has a rate above 0", "0 at all steps"),
        (by(lambda t, steps: random.random()), "two runs have the same rates", "a difference of"),
        (absolute_rate, "groups of different lr keep their ratio", "a difference of"),
        (plateau, "is stepped without arguments after every training step", "TypeError"),
    ],
)
def test_a_schedule_with_a_defect_is_refused(build, rule, found):
    refused(Schedule("planted", build=build), rule, found)


def test_a_schedule_is_tried_at_the_ends_of_its_space():
    def build(optimizer, steps, steps_per_epoch, *, final=0.0):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 - (1 - final) * t / steps)

    part = Schedule("planted", build=build, space={"final": Float(-1.0, 1.0)})
    refused(part, "multipliers are not negative", "-0.8")


def followed(optimizer, steps, steps_per_epoch, *, metric="loss"):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)


def slipping(optimizer, steps, steps_per_epoch, *, metric="loss"):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.2)


def deaf(optimizer, steps, steps_per_epoch, *, metric="loss"):
    class Planted(torch.optim.lr_scheduler.LRScheduler):
        def step(self):
            pass

    return Planted(optimizer)


def test_a_sound_schedule_that_watches_a_metric_conforms():
    check(Schedule("followed", build=followed, watches="metric"))


@pytest.mark.parametrize(
    ("build", "watches", "rule", "found"),
    [
        (
            followed,
            "measure",
            "is plain data but for its callables",
            "it watches 'measure', which is none of its options",
        ),
        (followed, None, "is stepped without arguments after every training step", "TypeError"),
        (slipping, "metric", "groups of different lr keep their ratio", "a difference of"),
        (deaf, "metric", "is stepped with a value after every evaluation", "TypeError"),
    ],
)
def test_a_schedule_that_watches_with_a_defect_is_refused(build, watches, rule, found):
    refused(Schedule("planted", build=build, watches=watches), rule, found)


# Augmentations


def shifted(images, draws, *, by=1.0):
    return images + by * draws[:, :1, None, None]


def spoil_images(images, draws):
    return images.mul_(0.5)


def spoil_draws(images, draws):
    draws.zero_()
    return images + 0


def mixed_up(images, draws):
    return images - images.mean(0)


def by_place(images, draws):
    return images + torch.arange(len(images))[:, None, None, None]


def test_a_sound_augmentation_conforms():
    check(Augmentation("shifted", apply=shifted))
    check(Augmentation("halved", apply=lambda images, draws: images / 2, draws=0))
    testing.check_augmentation(Augmentation("shifted", apply=shifted), options={"by": 3.0})


@pytest.mark.parametrize(
    ("apply", "rule", "found"),
    [
        (lambda images, draws: 1 / 0, "takes images (B, C, H, W) and draws (B, K)", "ZeroDivisionError"),
        (lambda images: images, "takes images (B, C, H, W) and draws (B, K)", "TypeError"),
        (lambda images, draws: None, "gives images of the same shape and type", "NoneType"),
        (
            lambda images, draws: images[..., 1:],
            "gives images of the same shape and type",
            "(6, 3, 8, 9) torch.float32",
        ),
        (lambda images, draws: images.double(), "gives images of the same shape and type", "torch.float64"),
        (lambda images, draws: images / 0, "images are finite", "torch.float32"),
        (lambda images, draws: images / (1 - 2.0**24 * (1 - draws[:, :1, None, None])), "images are finite", "float32"),
        (spoil_images, "leaves the images that it is given as they are", "a difference of"),
        (spoil_draws, "leaves the draws as they are", "a difference of"),
        (lambda images, draws: images + torch.randn(1), "equal draws give equal images", "a difference of"),
        (mixed_up, "an image depends on its own pixels and draws only", "a difference of"),
        (by_place, "an image depends on its own pixels and draws only", "a difference of"),
        (lambda images, draws: images + 0 * torch.rand(1), "draws nothing from torch's global", "another state"),
        (lambda images, draws: images[:, [2, 1, 0]], "takes images (B, C, H, W) and draws (B, K)", "IndexError"),
    ],
)
def test_an_augmentation_with_a_defect_is_refused(apply, rule, found):
    refused(Augmentation("planted", apply=apply), rule, found)


# Tasks


def test_a_part_for_a_regression_is_checked_on_values():
    check(Loss("half", build=lambda: lambda o, t: (o[:, 0] - t).square().mean() / 2, task="regression"))
    absolute = lambda p: (p.outputs[:, 0] - p.targets).abs().mean()  # noqa: E731
    check(Metric("mae", apply=absolute, direction="minimize", task="regression"))


# Data sets


def splits(*, dtype=torch.float32, labels=torch.int64, change=lambda inputs, targets: None, **fields):
    generator = torch.Generator().manual_seed(0)

    def split(examples):
        inputs = torch.randn(examples, 3, generator=generator).to(dtype)
        targets = (torch.arange(examples) % 4).to(labels)
        change(inputs, targets)
        return inputs, targets

    return Splits(split(20), split(8), **{"classes": 4, **fields})


def dataset(**changes):
    return Dataset("planted", load=lambda root: splits(**changes))


def with_nan(inputs, targets):
    inputs[5, 1] = math.nan


def with_five(inputs, targets):
    targets[3] = 4


def without_zero(inputs, targets):
    targets[targets == 0] = 1


def test_a_sound_data_set_conforms(tmp_path):
    check(dataset(class_names=("a", "b", "c", "d")), root=tmp_path)
    check(dataset(classes=None, labels=torch.float32))


@pytest.mark.parametrize(
    ("part", "rule", "found"),
    [
        (Dataset("planted", load=lambda root: 1 / 0), "is loaded", "ZeroDivisionError"),
        (Dataset("planted", load=lambda root: None), "keeps the contract of Splits", "NoneType"),
        (dataset(change=with_nan), "keeps the contract of Splits", "the input of row 5 is not finite"),
        (dataset(change=with_five), "keeps the contract of Splits", "the label of row 3 is 4, allowed are 0 to 3"),
        (dataset(change=without_zero), "keeps the contract of Splits", "class 0 of 4 has no example"),
        (dataset(labels=torch.int32), "keeps the contract of Splits", "labels must be int64 (N,), got torch.int32"),
        (dataset(dtype=torch.float64), "inputs are float32", "torch.float64"),
        (dataset(class_names=("a", "b")), "there is a name for each class, or none", "('a', 'b') for 4"),
        (
            dataset(change=lambda inputs, targets: inputs.add_(random.random())),
            "two loads are equal",
            "a difference of",
        ),
        (
            dataset(change=lambda inputs, targets: inputs.add_(0 * torch.rand(1))),
            "draws nothing from torch's global generator",
            "another state",
        ),
    ],
)
def test_a_data_set_with_a_defect_is_refused(part, rule, found):
    refused(part, rule, found)


def test_what_a_library_draws_when_it_is_first_imported_is_not_the_data_sets_doing():
    imported = []

    def load(root):
        if not imported:
            imported.append(random.random() + np.random.rand())
        return splits()

    python, numpy = random.getstate(), np.random.get_state()[1].tolist()
    check(Dataset("planted", load=load))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (python, numpy)
    drawn = Dataset("planted", load=lambda root: splits(change=lambda inputs, targets: random.random()))
    refused(drawn, "leaves the generators of Python and NumPy alone", "another state")


# Strategies


def head_only(t):
    return [Phase(lambda p: 1.0 if p.head else None)]


def refuse(t):
    raise NotApplicable("there is nothing to adapt")


def thaw_by_hand(t):
    for p in t.parameters():
        p.tensor.data.mul_(0.99)
    return torch.zeros((), requires_grad=True)


def widen_outputs(t):
    t.model.append(nn.ZeroPad1d(1))


def test_a_sound_strategy_conforms():
    check(Strategy("probe", phases=head_only))
    two = [Phase(lambda p: 1.0 if p.depth < 2 else None, 1.0, "first"), Phase(lambda p: 0.1, 2.0, "second")]
    check(Strategy("two", phases=lambda t: two, space={"share": Float(0.1, 0.9)}, defaults={"share": 0.5}))
    decay = Strategy("decay", phases=head_only, penalty=lambda t: sum(p.tensor.square().sum() for p in t.parameters()))
    check(decay)


def test_a_penalty_may_be_a_constant_in_some_phases():
    def late(t):
        return t.model[0].weight.square().sum() if t.memo.setdefault("steps", iter(range(99))).__next__() > 12 else zero

    zero = torch.zeros(())
    check(Strategy("late", phases=lambda t: [Phase(lambda p: 1.0)] * 2, penalty=late))


def test_a_strategy_that_is_not_applicable_conforms():
    check(Strategy("adapt", phases=refuse))


def test_a_check_returns_the_rules_that_it_held_a_part_against():
    kept = check(Strategy("probe", phases=head_only))
    assert {"is prepared", "what is frozen stays as it is", "what no phase trains is as it came"} <= set(kept)
    assert len(set(kept)) == len(kept)
    assert "the penalty depends on what trains, in one step at least" not in kept  # it has none
    pulled = check(Strategy("pulled", phases=head_only, penalty=lambda t: t.model[-1].weight.square().sum()))
    assert "the penalty depends on what trains, in one step at least" in pulled


def one(value):
    return lambda t: [Phase(lambda p: value)]


def spread(t):
    return [Phase(lambda p: random.uniform(0.5, 1))]


def spoil_head(t):
    t.model[-1].bias.data.fill_(math.nan)


def draw_globally(t):
    t.memo["noise"] = torch.rand(1)


def move_a_held_norm(t):
    t.model[1].running_mean.add_(1)
    return torch.zeros((), requires_grad=True)


def leave_a_parametrization(t):
    nn.utils.parametrizations.weight_norm(t.model[0])


def move_what_is_frozen(t):
    t.model[0].weight.data.mul_(2)
    return head_only(t)


def keep_only_a_new_head(t):
    return [Phase(lambda p: 1.0 if p.head and t.new_head else None)]


RATE = {"defaults": {"rate": 1.0}, "space": {"rate": Float(-1.0, 1.0)}}


@pytest.mark.parametrize(
    ("phases", "fields", "rule", "found"),
    [
        (lambda t: [], {}, "is prepared", "at least one harness.Phase"),
        (one(None), {}, "is prepared", "nothing would train"),
        (one(0.0), {}, "is prepared", "the multiplier of 0.weight is 0"),
        (lambda t: one(t.options.rate)(t), RATE, "is prepared", "must be above 0 and finite, got -1.0"),
        (head_only, {"penalty": lambda t: 1.0}, "the penalty is a finite scalar tensor", "got float"),
        (head_only, {"penalty": lambda t: torch.zeros(())}, "the penalty depends on what trains", "a constant"),
        (head_only, {"penalty": thaw_by_hand}, "what is frozen stays as it is, here 0.weight", "a difference of"),
        (spread, {}, "two runs are equal", "a difference of"),
        (
            head_only,
            {"penalty": move_a_held_norm},
            "what is frozen stays as it is, here 1.running_mean",
            "a difference",
        ),
        (head_only, {"prepare": draw_globally}, "draws from transfer.generator and not from torch's global one", ""),
        (head_only, {"finish": draw_globally}, "draws from transfer.generator and not from torch's global one", ""),
        (head_only, {"prepare": leave_a_parametrization}, "is merged or removed by finish", "no 0.weight"),
        (keep_only_a_new_head, {}, "is prepared", "nothing would train"),
        (move_what_is_frozen, {}, "what no phase trains is as it came, here 0.weight", "a difference of"),
        (head_only, {"finish": lambda t: 1 / 0}, "finishes", "ZeroDivisionError"),
        (head_only, {"finish": widen_outputs}, "the network keeps the shape of its outputs", "(8, 5)"),
        (head_only, {"finish": spoil_head}, "outputs are finite after training", "nan"),
    ],
)
def test_a_strategy_with_a_defect_is_refused(phases, fields, rule, found):
    refused(Strategy("planted", phases=phases, **fields), rule, found)


# What no part may touch


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda: torch.set_num_threads(2), "leaves the number of threads as it is"),
        (lambda: torch.set_default_dtype(torch.float64), "leaves the default dtype as it is"),
        (lambda: torch.set_grad_enabled(False) and None, "leaves the recording of gradients as it is"),
        (lambda: torch.use_deterministic_algorithms(True), "leaves the choice of deterministic algorithms as it is"),
        (lambda: random.seed(987654321), "leaves the generators of Python and NumPy alone"),
        (lambda: np.random.seed(987654321), "leaves the generators of Python and NumPy alone"),
    ],
)
def test_a_part_that_changes_a_global_setting_is_refused_and_the_setting_put_back(spoil, rule):
    random.random()
    before = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    python, numpy, chance = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    refused(Schedule("planted", build=lambda optimizer, steps, per_epoch: spoil()), rule)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == numpy
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_check_of_a_sound_part_leaves_the_generators_as_they_were():
    chance, python = torch.get_rng_state(), random.getstate()
    check(Model("net", build=Net))
    check(Strategy("probe", phases=head_only))
    assert torch.equal(torch.get_rng_state(), chance)
    assert random.getstate() == python
